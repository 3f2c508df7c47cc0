"""A web page that generates text with a trained model: one file, which loads nothing.

Its parts are the files in `charlm/export/web`: the form (`page.html`, `page.css`, `page.js`), the
network (`network.js`), and what leads from text to network and back (`text.js`, `sampling.js`,
`random.js`). The model is put into them here.
"""

from __future__ import annotations

import base64
from itertools import islice
from pathlib import Path

import numpy as np

from charlm.arrays import Ids
from charlm.errors import ConfigError
from charlm.inference.generate import Sampling, generate
from charlm.inference.sampling import TextSampler
from charlm.nn.parameters import Parameters
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.description import describe
from charlm.web import assembly

CHECKED = 500
"""Units of the greedy text that must stay as it is when the parameters are rounded to float16."""

_SCRIPTS = ("network.js", "text.js", "random.js", "sampling.js", "page.js")
"""In the order in which they are read."""


def write(path: Path, loaded: Checkpoint, float32: bool = False) -> list[str]:
    """Write the page; returns what to do with it.

    The parameters are rounded to float16, which halves the file, unless `float32` forbids it, a
    parameter is beyond float16, or the first `CHECKED` units of the greedy text would change.

    Raises `ConfigError` for a cell that the page does not have, and `CharlmError` if the file
    cannot be written.
    """
    cell = _cell(loaded)
    objection = "" if float32 else _against_float16(loaded)
    assembly.write(path, _page(loaded, cell, rounds=not float32 and not objection))
    said = [f"Written as float32: {objection}."] if objection else []
    return [*said, "Open it in a browser. It needs no network."]


def rounded(parameters: Parameters) -> Parameters:
    """The parameters rounded to float16, again as float32; infinite where they are beyond it."""
    with np.errstate(over="ignore"):
        return Parameters(parameters.shapes, flat=parameters.flat.astype(np.float16).astype(np.float32))


def _cell(loaded: Checkpoint) -> str:
    """The name of the cell in `network.js`."""
    cell = assembly.cell(loaded)
    if cell not in assembly.CELLS:
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
        "unit": assembly.unit(loaded),
        "parameters": {"type": "float16" if rounds else "float32", "shapes": parameters.shapes},
    }
    return assembly.page(
        _part("page.html"),
        loaded,
        style=assembly.part("web", "base.css") + _part("page.css"),
        script="\n".join(map(_part, _SCRIPTS)),
        account=assembly.account(loaded),
        unit=assembly.unit(loaded),
        **_words(loaded),
        description=assembly.as_json(description),
        parameters=base64.b64encode(flat.tobytes()).decode("ascii"),
    )


def _words(loaded: Checkpoint) -> dict[str, str]:
    """What the form says of a text, or of lines, and whether it asks for their number."""
    units = f"{assembly.unit(loaded)}s"
    if loaded.config.corpus.mode == "lines":
        length = f"A whole number: the most {units} of a line"
        return {"what": "line", "prompt": "some letters, or nothing", "length": length, "of_lines": ""}
    length = f"A whole number of {units}"
    return {"what": "text", "prompt": "some words, or nothing", "length": length, "of_lines": " hidden"}


def _part(name: str) -> str:
    return assembly.part("export/web", name)
