"""A web page that generates text with a trained model: one file, which loads nothing.

Its parts are the files in `charlm/export/web`: the form (`page.html`, `page.css`, `page.js`), the
network (`network.js`), and what leads from text to network and back (`text.js`, `sampling.js`,
`random.js`). The model is put into them here.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from importlib import resources
from itertools import islice
from pathlib import Path
from string import Template

import numpy as np

from charlm.arrays import Ids
from charlm.errors import CharlmError, ConfigError
from charlm.export.description import describe
from charlm.inference.generate import Sampling, generate
from charlm.inference.sampling import TextSampler
from charlm.nn.parameters import Parameters
from charlm.runs.checkpoint import Checkpoint
from charlm.system.files import reason, write_whole
from charlm.system.version import __version__

CHECKED = 500
"""Units of the greedy text that must stay as it is when the parameters are rounded to float16."""

_CELLS = {"rnn": "RNN", "lstm": "LSTM", "gru after": "GRU", "gru before": "GRU (reset before)"}
"""The cells that `network.js` has, and what readers call them."""

_SCRIPTS = ("network.js", "text.js", "random.js", "sampling.js", "page.js")
"""In the order in which they are read."""

_POLICY = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""The Content-Security-Policy: nothing is loaded, and nothing runs but what is written here."""


def write(path: Path, loaded: Checkpoint, float32: bool = False) -> list[str]:
    """Write the page; returns what to do with it.

    The parameters are rounded to float16, which halves the file, unless `float32` forbids it, a
    parameter is beyond float16, or the first `CHECKED` units of the greedy text would change.

    Raises `ConfigError` for a cell that the page does not have, and `CharlmError` if the file
    cannot be written.
    """
    cell = _cell(loaded)
    objection = "" if float32 else _against_float16(loaded)
    page = _page(loaded, cell, rounds=not float32 and not objection).encode()
    try:
        write_whole(path, lambda stream: stream.write(page))
    except OSError as error:
        raise CharlmError(f"{path} cannot be written: {reason(error)}") from error
    said = [f"Written as float32: {objection}."] if objection else []
    return [*said, "Open it in a browser. It needs no network."]


def rounded(parameters: Parameters) -> Parameters:
    """The parameters rounded to float16, again as float32; infinite where they are beyond it."""
    with np.errstate(over="ignore"):
        return Parameters(parameters.shapes, flat=parameters.flat.astype(np.float16).astype(np.float32))


def _cell(loaded: Checkpoint) -> str:
    """The name of the cell in `network.js`."""
    model = loaded.config.model
    cell = f"{model.cell} {model.gru_reset}" if model.cell == "gru" else model.cell
    if cell not in _CELLS:
        raise ConfigError(f"model.cell: {cell} is not one of rnn, lstm, gru, which a page can hold")
    return cell


def _against_float16(loaded: Checkpoint) -> str:
    """What speaks against float16; empty if nothing does."""
    near = rounded(loaded.parameters)
    if not np.isfinite(near.flat).all():
        return f"a parameter of {np.abs(loaded.parameters.flat).max():,.0f} is beyond float16"
    texts = [_greedy(loaded, parameters) for parameters in (loaded.parameters, near)]
    different = np.flatnonzero(texts[0] != texts[1])
    if not len(different):
        return ""
    return f"rounded to float16, the greedy text changes from character {different[0] + 1} on"


def _greedy(loaded: Checkpoint, parameters: Parameters) -> Ids:
    """The first ids `[CHECKED]` of the greedy text without a prime."""
    sampler = TextSampler.of(loaded.config.corpus, loaded.model, parameters, loaded.vocabulary)
    context = sampler.context(np.zeros(0, np.uint32))
    choice, rng = Sampling(greedy=True), np.random.default_rng(0)
    ids = generate(loaded.model, parameters, context, choice, rng, loaded.vocabulary.unknown)
    return np.fromiter(islice(ids, CHECKED), np.int64, CHECKED)


def _page(loaded: Checkpoint, cell: str, rounds: bool) -> str:
    """The whole file; the same for the same checkpoint, byte for byte."""
    model, parameters = loaded.model, loaded.parameters
    flat = parameters.flat.astype("<f2" if rounds else "<f4")
    description = {
        **describe(loaded),
        "cell": cell,
        "gates": model.cell.gates,
        "states": model.cell.states,
        "unit": _unit(loaded),
        "parameters": {"type": "float16" if rounds else "float32", "shapes": parameters.shapes},
    }
    style, script = _part("page.css"), "\n".join(map(_part, _SCRIPTS))
    return Template(_part("page.html")).substitute(
        policy=_POLICY.format(script=_hash(script), style=_hash(style)),
        version=__version__,
        name=_shown(Path(loaded.config.run.dir).name or "charlm"),
        account=_account(loaded, cell),
        unit=_unit(loaded),
        what="line" if loaded.config.corpus.mode == "lines" else "text",
        style=style,
        script=script,
        # a text can hold </script>
        description=json.dumps(description).replace("<", "\\u003c"),
        parameters=base64.b64encode(flat.tobytes()).decode("ascii"),
    )


def _account(loaded: Checkpoint, cell: str) -> str:
    """What the model is, in a sentence."""
    model, unit = loaded.config.model, _unit(loaded)
    layers = f"{model.layers} layers of " if model.layers > 1 else ""
    account = f"{_CELLS[cell]}, {layers}{model.hidden:,} units, {loaded.parameters.flat.size:,} parameters"
    characters = loaded.corpus["characters"]
    if characters:  # of a text that is known
        account += f", trained on {characters:,} {unit}s"
    nats, corpus = loaded.progress.get("validation"), loaded.config.corpus
    if nats is None or not (corpus.split[1] or corpus.validation):
        return account
    return f"{account}; {nats / math.log(2):.2f} bits per {unit} on text that was held back"


def _unit(loaded: Checkpoint) -> str:
    """What a unit is called; of characters in their parts, such as jamo, there is no one word."""
    units = loaded.vocabulary.units
    return "byte" if units.is_byte else "unit" if units.composes else "character"


def _shown(name: str) -> str:
    """A name as HTML: marked up by nothing, and steering nothing."""
    return html.escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name))


def _part(name: str) -> str:
    return (resources.files("charlm.export") / "web" / name).read_text("utf-8")


def _hash(text: str) -> str:
    """What a Content-Security-Policy calls a script or a style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
