"""Models of every kind, to be exported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from conftest import ENVIRONMENT, ROOT

from charlm.config.build import build_model, build_pipeline, build_text
from charlm.config.reading import resolve
from charlm.data.corpus import read_corpus
from charlm.data.sources import Source
from charlm.inference.generate import Sampling, generate
from charlm.inference.score import score
from charlm.nn.parameters import Parameters
from charlm.runs.checkpoint import Checkpoint

TALES, KOREAN = ((ROOT / "data" / name).read_text()[:12_000] for name in ("tales.txt", "tales-ko.txt"))
WORDS = "\n".join(dict.fromkeys(re.findall("[a-z]+", TALES.lower()))) + "\n"

KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "char": (TALES, {}, "The old man"),
    "jamo": (KOREAN, {"corpus.normalize": "nfd"}, "할머니는 가"),
    "byte": (KOREAN, {"corpus.unit": "byte"}, "할머니는 "),
    "lines": (WORDS, {"corpus.mode": "lines"}, "ma"),
    # letters in parts and in lowercase, whatever line breaks there are, and rare ones unknown
    "mixed": (
        TALES.replace("\n", "\r\n") + "Ünïcödé ﬁnally ΣΊΣΥΦΟΣ.\r" * 4,
        {
            "corpus.normalize": "nfkd",
            "corpus.lowercase": True,
            "corpus.newlines": "lf",
            "corpus.min_count": 4,
        },
        "ÜBER den ΣΊΣΥΦΟΣ,\nfinal",
    ),
}
"""For each way of reading a text: the text, the settings, and a prime."""


def make(
    directory: Path,
    form: str = "lstm",
    kind: str = "char",
    layers: int = 1,
    hidden: int = 16,
    text: str = "",
    change: Callable[[Parameters], object] = lambda parameters: None,
    **settings: Any,
) -> Checkpoint:
    """A network that has learned nothing, but does not repeat itself at once; its text is a file."""
    usual_text, own, _ = KINDS[kind]
    source = directory / "text.txt"
    source.write_bytes((text or usual_text).encode())
    cell, _, reset = form.partition(" ")
    values = {
        "corpus.path": str(source),
        "model.cell": cell,
        "model.gru_reset": reset or "after",
        "model.layers": layers,
        "model.hidden": hidden,
    }
    values |= own | {name.replace("__", "."): value for name, value in settings.items()}
    config = resolve(values, name="made")
    corpus = read_corpus([Source(str(source))], build_pipeline(config.corpus), config.corpus.split)
    model = build_model(config.model, len(corpus.vocabulary))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        parameters = model.initialise(rng, "orthogonal")
        parameters.flat += 0.3 * rng.standard_normal(parameters.flat.size, np.float32)
        parameters["output.W"][...] *= 3  # so that some units are much likelier than others
        ids = list(islice(generate(model, parameters, np.zeros(1, int), Sampling(greedy=True), rng), 100))
        if len(set(pairwise(ids))) > 15:
            break
    change(parameters)
    progress = {"step": 1, "epoch": 1.0, "validation": 1.5, "best": 1.4, "best_step": 1}
    progress |= {"best_of": "validation" if corpus.usable("validation") else "training"}
    described = {
        "digest": corpus.digest,
        "characters": len(corpus.ids),
        "train": corpus.part("train").units,
    }
    return Checkpoint(config, corpus.vocabulary, parameters, described, progress)


def nats(made: Checkpoint, text: str) -> float:
    """What `charlm eval perplexity` prints."""
    encoded = build_text(made.config.corpus, made.vocabulary, text)
    return score(made.model, made.parameters, encoded).nats_per_char


def hidden_package(package: str, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a directory, where a package seems not to be installed."""
    code = f"import sys; sys.modules[{package!r}] = None; from charlm.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


def page_data(file: Path) -> Any:
    """The data that a page holds for its script."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*)</script>\n', file.read_text())
    return json.loads(found)


def contrast(one: str | list[float], other: str | list[float]) -> float:
    """The contrast (WCAG 2.2) of two colours: `#rrggbb`, `rgb(r, g, b)`, or numbers up to 255."""

    def luminance(colour: str | list[float]) -> float:
        if isinstance(colour, str):
            digits = re.findall("[0-9a-f]{2}" if colour.startswith("#") else r"\d+", colour)[:3]
            colour = [int(part, 16 if colour.startswith("#") else 10) for part in digits]
        parts = np.array(colour) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
