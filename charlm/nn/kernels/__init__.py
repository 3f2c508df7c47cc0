"""Kernels: a whole window at once, fused and tiled. A cell without a fused kernel runs step by step."""

from __future__ import annotations

from charlm.nn.cells.cell import Cell
from charlm.nn.cells.gru import GRUAfter, GRUBefore
from charlm.nn.cells.lstm import LSTM
from charlm.nn.cells.rnn import RNN
from charlm.nn.kernels.gru import GRUAfterWindow, GRUBeforeWindow
from charlm.nn.kernels.kernel import Fused, Kernel, Window
from charlm.nn.kernels.lstm import LSTMWindow
from charlm.nn.kernels.rnn import RNNWindow
from charlm.nn.kernels.textbook import Textbook
from charlm.nn.layers.linear import Linear
from charlm.nn.layers.one_hot_linear import OneHotLinear

_FUSED: dict[type[Cell], type[Window]] = {
    RNN: RNNWindow,
    LSTM: LSTMWindow,
    GRUAfter: GRUAfterWindow,
    GRUBefore: GRUBeforeWindow,
}


def make_kernel(cell: Cell, kind: str, inputs: int, hidden: int, one_hot: bool) -> Kernel:
    """The kernel of a layer of `hidden` units: `fused` if the cell has one, else `textbook`.

    The input is ids below `inputs` if it is `one_hot`, else rows of that many numbers.
    """
    window = _FUSED.get(type(cell))
    if window is None or kind != "fused":
        return Textbook(cell, inputs if one_hot else None)
    product = OneHotLinear() if one_hot else Linear(inputs, hidden, len(cell.gates), "Wx")
    return Fused(cell, window, product)
