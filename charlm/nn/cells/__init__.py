"""The registry of recurrent cells: a new cell is a new file beside these, and one line here.

The registry names modules instead of importing them, so that reading a configuration needs no
NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.nn.cells.contract import Cell

# name in the configuration -> form -> module and class; a cell with one form has the form ""
_REGISTRY: dict[str, dict[str, tuple[str, str]]] = {
    "rnn": {"": ("rnn", "RNN")},
    "lstm": {"": ("lstm", "LSTM")},
    "gru": {"after": ("gru", "GRUAfter"), "before": ("gru", "GRUBefore")},
}

CELL_NAMES = tuple(_REGISTRY)


def make_cell(name: str, gru_reset: str = "after") -> Cell:
    """Return the cell called `name` in the configuration; `gru_reset` matters to the GRU alone."""
    forms = _REGISTRY[name]
    module, cell = forms.get(gru_reset) or forms[""]
    made: Cell = getattr(importlib.import_module(f"{__name__}.{module}"), cell)()
    return made
