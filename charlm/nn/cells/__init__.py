"""The registry of recurrent cells: a new cell is a new file beside these, and one line here.

The registry names modules instead of importing them, so that reading a configuration needs no
NumPy.
"""

from __future__ import annotations

import importlib
from collections.abc import KeysView
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.nn.cells.cell import Cell

# name in the configuration -> form -> module:class; a cell with one form has the form ""
_REGISTRY: dict[str, dict[str, str]] = {
    "rnn": {"": "charlm.nn.cells.rnn:RNN"},
    "lstm": {"": "charlm.nn.cells.lstm:LSTM"},
    "gru": {"after": "charlm.nn.cells.gru:GRUAfter", "before": "charlm.nn.cells.gru:GRUBefore"},
}

CELL_NAMES: KeysView[str] = _REGISTRY.keys()
"""Values of `model.cell`; a view, so it includes cells that are registered later."""


def register(name: str, location: str) -> None:
    """Add a cell: `model.cell: name` is then the class at `module:Class`.

    Raises `ValueError` if the name is taken.
    """
    if name in _REGISTRY:
        raise ValueError(f"there is a cell called {name}")
    _REGISTRY[name] = {"": location}


def forms() -> list[tuple[str, str]]:
    """Every cell in each of its forms: the name, and the form ("" where there is one)."""
    return [(name, form) for name, locations in _REGISTRY.items() for form in locations]


def make_cell(name: str, form: str = "after") -> Cell:
    """The cell called `name` in the configuration; `form` matters only where there are several."""
    locations = _REGISTRY[name]
    module, _, kind = (locations.get(form) or locations[""]).partition(":")
    made: Cell = getattr(importlib.import_module(module), kind)()
    return made
