"""Kernels: a whole window at once, fused and tiled. A cell without one runs as a textbook writes it."""

from __future__ import annotations

from collections.abc import Callable

from charlm.nn.cells.cell import Cell
from charlm.nn.cells.gru import GRUAfter, GRUBefore
from charlm.nn.cells.lstm import LSTM
from charlm.nn.cells.rnn import RNN
from charlm.nn.kernels.gru import GRUAfterKernel, GRUBeforeKernel
from charlm.nn.kernels.kernel import AnyKernel
from charlm.nn.kernels.lstm import LSTMKernel
from charlm.nn.kernels.rnn import RNNKernel
from charlm.nn.kernels.textbook import Textbook

_FUSED: dict[type[Cell], Callable[[], AnyKernel]] = {
    RNN: RNNKernel,
    LSTM: LSTMKernel,
    GRUAfter: GRUAfterKernel,
    GRUBefore: GRUBeforeKernel,
}


def make_kernel(cell: Cell, kind: str) -> AnyKernel:
    """The kernel of a cell: `fused` where there is one of its own, else `textbook`."""
    fused = _FUSED.get(type(cell))
    return fused() if fused and kind == "fused" else Textbook(cell)
