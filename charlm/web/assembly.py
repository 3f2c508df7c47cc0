"""Web pages about a model: one file each, which loads nothing.

A page is `charlm/web/frame.html` around a body, a style and scripts, which are files of its kind.
"""

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import ConfigError
from charlm.system.files import write_file
from charlm.system.version import __version__

CELLS = {"rnn": "RNN", "lstm": "LSTM", "gru-after": "GRU", "gru-before": "GRU (reset before)"}
"""The names of the package's cells for readers."""

_POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""The Content-Security-Policy: the page loads nothing, and runs only the script that it holds."""


WITHOUT_SCRIPT = "This page needs JavaScript, which is switched off."
"""The sentence of a page whose script does not run."""


def page(
    about: tuple[str, str],
    kind: str,
    scripts: Sequence[str],
    data: Mapping[str, Any],
    language: str = "en",
    without_script: str = WITHOUT_SCRIPT,
    **values: str,
) -> str:
    """A page about models, the same for the same input, byte for byte.

    Parameters
    ----------
    about
        The title, and a sentence below it; for one model see `about`.
    kind
        The path of the body and the style in the package, without `.html` and `.css`.
    scripts
        The paths of the scripts, in the order in which they run.
    data
        What the scripts read, as JSON values.
    language
        The code of the language of the page.
    without_script
        The sentence of the page whose script does not run.
    values
        The HTML for each name in the body.
    """
    style = part("web/base.css") + part(f"{kind}.css")
    script = "\n".join(map(part, ("web/base.js", *scripts)))
    return Template(part("web/frame.html")).substitute(
        policy=_POLICY.format(script=_hash(script), style=_hash(style)),
        version=__version__,
        language=language,
        without_script=as_html(without_script),
        title=as_html(about[0]),
        account=as_html(about[1]),
        style=style,
        script=script,
        body=Template(part(f"{kind}.html")).substitute(values),
        # a text may hold `</script>`
        data=json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    )


def write(path: Path, text: str) -> None:
    """Write a page whole or not at all; raises `CharlmError` naming file and cause."""
    contents = text.encode()
    write_file(path, lambda stream: stream.write(contents))


def part(path: str) -> str:
    """The text of a file of the package."""
    return (resources.files("charlm") / path).read_text("utf-8")


def packed(array: npt.NDArray[Any], kind: str) -> str:
    """The bytes of an array as numbers of a `kind`, such as `<f4`, in Base64."""
    return base64.b64encode(np.ascontiguousarray(array).astype(kind).tobytes()).decode("ascii")


def as_html(text: str) -> str:
    """A name as HTML, without markup and control characters."""
    return html.escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def about(loaded: Checkpoint) -> tuple[str, str]:
    """The title of a page about a model, and the sentence below it."""
    return name(loaded), f"{account(loaded)}."


def name(loaded: Checkpoint) -> str:
    """The name of the model: the name of its run's directory."""
    return Path(loaded.config.run.dir).name or "charlm"


def cell(loaded: Checkpoint) -> str:
    """The key of the model's cell in `CELLS`; of a cell that is not there its name."""
    model = loaded.config.model
    return f"{model.cell}-{model.gru_reset}" if model.cell == "gru" else model.cell


def checked_cell(loaded: Checkpoint) -> str:
    """The key of the model's cell in `CELLS`; raises `ConfigError` if it is not there."""
    found = cell(loaded)
    if found not in CELLS:
        raise ConfigError(f"model.cell: {found} is not one of rnn, lstm, gru, which a page can hold")
    return found


def unit(loaded: Checkpoint) -> str:
    """The word for a unit of the text: `byte`, `character`, or `unit` for parts of characters."""
    units = loaded.vocabulary.units
    return "byte" if units.is_byte else "unit" if units.composes else "character"


def account(loaded: Checkpoint) -> str:
    """The model in a sentence: its cell, its size, its training text and its loss."""
    model, what = loaded.config.model, unit(loaded)
    layers = f"{model.layers} layers of " if model.layers > 1 else ""
    sentence = (
        f"{CELLS.get(cell(loaded), model.cell)}, {layers}{model.hidden:,} units, "
        f"{loaded.parameters.flat.size:,} parameters"
    )
    if loaded.corpus["train"]:  # 0 where the text is not known
        sentence += f", trained on {loaded.corpus['train']:,} {what}s"
    nats = loaded.progress["validation"]
    if nats is None or loaded.progress["best_of"] == "training":
        return sentence
    return f"{sentence}; {nats / math.log(2):.2f} bits per {what} on text that was held back"


def _hash(text: str) -> str:
    """The name of a script or a style in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
