"""Kernels: what runs a recurrent layer. A cell without a fused kernel runs step by step."""

from charlm.nn.cells.cell import Cell
from charlm.nn.cells.gru import GRUAfter, GRUBefore
from charlm.nn.cells.lstm import LSTM
from charlm.nn.cells.rnn import RNN
from charlm.nn.kernels.fused import Fused, Window
from charlm.nn.kernels.gru import GRUAfterWindow, GRUBeforeWindow
from charlm.nn.kernels.lstm import LSTMWindow
from charlm.nn.kernels.rnn import RNNWindow
from charlm.nn.kernels.textbook import Textbook
from charlm.nn.layers.recurrent import Recurrent
from charlm.nn.tuning import Tuning

_WINDOWS: dict[type[Cell], type[Window]] = {
    RNN: RNNWindow,
    LSTM: LSTMWindow,
    GRUAfter: GRUAfterWindow,
    GRUBefore: GRUBeforeWindow,
}


def make_recurrent(
    kernel: str, tuning: Tuning, cell: Cell, inputs: int, hidden: int, one_hot: bool, weight_drop: float
) -> Recurrent:
    """A recurrent layer whose kernel is `fused` if the cell has one, else `textbook`; see `Recurrent`."""
    window = _WINDOWS.get(type(cell))
    if window is None or kernel != "fused":
        return Textbook(cell, inputs, hidden, one_hot, weight_drop)
    return Fused(cell, inputs, hidden, one_hot, weight_drop, window, tuning)
