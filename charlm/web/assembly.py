"""What web pages are put together from: one file each, which loads nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from charlm.runs.checkpoint import Checkpoint
from charlm.system.files import write_file
from charlm.system.version import __version__

CELLS = {"rnn": "RNN", "lstm": "LSTM", "gru after": "GRU", "gru before": "GRU (reset before)"}
"""What readers call the cells of the package."""

_POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""The Content-Security-Policy: nothing is loaded, and nothing runs but what is written here."""


def page(template: str, loaded: Checkpoint, style: str, script: str, **parts: str) -> str:
    """A page about a model: a template with its style, its script and its other parts."""
    return Template(template).substitute(
        policy=_POLICY.format(script=_hash(script), style=_hash(style)),
        version=__version__,
        name=as_html(name(loaded)),
        style=style,
        script=script,
        **parts,
    )


def write(path: Path, text: str) -> None:
    """Write a page whole or not at all; raises `CharlmError` naming file and cause."""
    contents = text.encode()
    write_file(path, lambda stream: stream.write(contents))


def part(package: str, file: str) -> str:
    """The text of a file in a folder of the package."""
    return (resources.files("charlm") / package / file).read_text("utf-8")


def as_json(data: Any) -> str:
    """Data as JSON that can stand in a page: a text can hold `</script>`."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def as_html(text: str) -> str:
    """A name as HTML: marked up by nothing, and steering nothing."""
    return html.escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def name(loaded: Checkpoint) -> str:
    """What a model is called: as the directory of its run."""
    return Path(loaded.config.run.dir).name or "charlm"


def cell(loaded: Checkpoint) -> str:
    """The name of its cell, and of a GRU where it resets, as in `CELLS`."""
    model = loaded.config.model
    return f"{model.cell} {model.gru_reset}" if model.cell == "gru" else model.cell


def unit(loaded: Checkpoint) -> str:
    """What a unit is called; of characters in their parts, such as jamo, there is no one word."""
    units = loaded.vocabulary.units
    return "byte" if units.is_byte else "unit" if units.composes else "character"


def account(loaded: Checkpoint) -> str:
    """What a model is, in a sentence."""
    model, what = loaded.config.model, unit(loaded)
    layers = f"{model.layers} layers of " if model.layers > 1 else ""
    account = (
        f"{CELLS.get(cell(loaded), model.cell)}, {layers}{model.hidden:,} units, "
        f"{loaded.parameters.flat.size:,} parameters"
    )
    if loaded.corpus["train"]:  # on a text that is known
        account += f", trained on {loaded.corpus['train']:,} {what}s"
    nats = loaded.progress["validation"]
    if nats is None or loaded.progress["best_of"] == "training":
        return account
    return f"{account}; {nats / math.log(2):.2f} bits per {what} on text that was held back"


def _hash(text: str) -> str:
    """What a Content-Security-Policy calls a script or a style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
