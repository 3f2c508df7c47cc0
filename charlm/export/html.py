"""A web page that generates text with a trained model.

The files in `charlm/export/web` are the form (`page.html`, `page.css`, `page.js`) and what draws a text
(`sampling.js`, `random.js`). The network (`network.js`) and the way from a text to its ids and back
(`text.js`) are in `charlm/web`.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from charlm.arrays import Ids
from charlm.inference.generate import Sampling, TextSampler, generate
from charlm.nn.parameters import Parameters
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.description import describe
from charlm.web import assembly

CHECKED = 500
"""Units of the greedy text that must not change when the parameters are rounded to float16."""

SCRIPTS = (
    *("web/network.js", "web/text.js"),
    *("export/web/random.js", "export/web/sampling.js", "export/web/page.js"),
)
"""The scripts of the page, in the order in which they run."""


def write(path: Path, loaded: Checkpoint, float32: bool = False) -> list[str]:
    """Write the page; returns advice for its use.

    The parameters are rounded to float16, which halves the file, unless `float32` forbids it, a
    parameter is beyond float16, or the first `CHECKED` units of the greedy text would change.

    Raises `ConfigError` for a cell that the page does not have, and `CharlmError` if the file
    cannot be written.
    """
    cell, unit = assembly.checked_cell(loaded), assembly.unit(loaded)
    objection = "" if float32 else _against_float16(loaded)
    of_lines = loaded.config.corpus.mode == "lines"
    dtype = "float32" if float32 or objection else "float16"
    html = assembly.page(
        assembly.about(loaded),
        "export/web/page",
        SCRIPTS,
        data={
            **describe(loaded),
            "cell": cell,
            "unit": unit,
            "parameters": {
                "type": dtype,
                "shapes": loaded.parameters.shapes,
                "packed": assembly.packed(loaded.parameters.flat, np.dtype(dtype).newbyteorder("<").str),
            },
        },
        unit=unit,
        what="line" if of_lines else "text",
        prompt="some letters, or nothing" if of_lines else "some words, or nothing",
        length=f"A whole number: the most {unit}s of a line" if of_lines else f"A whole number of {unit}s",
        of_lines="" if of_lines else " hidden",
    )
    assembly.write(path, html)
    remarks = [f"Written as float32: {objection}."] if objection else []
    return [*remarks, "Open it in a browser. It needs no network."]


def rounded(parameters: Parameters) -> Parameters:
    """The parameters rounded to float16, again as float32; infinite where they are beyond it."""
    with np.errstate(over="ignore"):
        return Parameters(parameters.shapes, flat=parameters.flat.astype(np.float16).astype(np.float32))


def _against_float16(loaded: Checkpoint) -> str:
    """The reason against float16; empty if there is none."""
    near = rounded(loaded.parameters)
    if not np.isfinite(near.flat).all():
        return f"a parameter of {np.abs(loaded.parameters.flat).max():,.0f} is beyond float16"
    exact, approximate = _greedy(loaded, loaded.parameters), _greedy(loaded, near)
    different = np.flatnonzero(exact != approximate)
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
