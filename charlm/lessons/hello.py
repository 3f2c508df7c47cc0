"""The lecture's example: small networks of every cell that have learned to spell "hello"."""

from __future__ import annotations

from itertools import islice

import numpy as np

from charlm import plain
from charlm.config.reading import resolve
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.nn.parameters import Parameters
from charlm.runs.checkpoint import NOT_TRAINED, Checkpoint
from charlm.web.assembly import CELLS

TEXT = "hello"

HIDDEN = 6
"""Units: few enough that every number of a step can be shown."""

_UPDATES, _SEED = 60, 1
"""Updates of one window, `hell` with the targets `ello`; the seed of the parameters.

After more updates all probabilities are near 0 or 1, and all gradients near 0.
"""


def networks() -> list[Checkpoint]:
    """A network of each cell that the page has, trained here and now, the same every time.

    Each predicts `llo` after `he`. The training is the whole of it: `charlm/plain.py`.
    """
    return [_trained(cell) for cell in CELLS]


def _trained(cell: str) -> Checkpoint:
    """A trained network; `cell` is a key of `CELLS`."""
    name, _, reset = cell.partition("-")
    vocabulary = Vocabulary(map(ord, TEXT), Units())
    ids = vocabulary.encode(np.array([ord(character) for character in TEXT], np.uint32), "the text")
    settings = {
        "model.cell": name,
        "model.gru_reset": reset or "after",
        "model.hidden": HIDDEN,
        "model.layers": 1,
    }
    config = resolve(settings, "hello")
    loaded = Checkpoint(config, vocabulary, Parameters({}), {}, dict(NOT_TRAINED))
    model = loaded.model
    params = plain.initial(model.cell, len(vocabulary), HIDDEN, np.random.default_rng(_SEED))
    updates = plain.train(model.cell, params, ids, B=1, T=len(ids) - 1, lr=0.02)
    for _ in islice(updates, _UPDATES):
        pass
    parameters = Parameters(model.shapes())
    names = {"Wy": "output.W", "by": "output.b"}
    for name, array in params.items():
        parameters[names.get(name, f"layers.0.{name}")][...] = array
    about = {"digest": "", "characters": len(ids), "train": len(ids)}
    return Checkpoint(config, vocabulary, parameters, about, {**NOT_TRAINED, "step": _UPDATES})
