"""Parameters in PyTorch's layout, and back.

PyTorch keeps the matrices of all gates of a layer as one, transposed, and two biases, of which the
second stands beside the recurrent product (the documentation of `torch.nn.RNN`, `LSTM` and `GRU`)::

    a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh

    ours                         PyTorch's
    layers.L.Wx [G, in, H]       rnn.weight_ih_lL [G·H, in]
    layers.L.Wh [G, H, H]        rnn.weight_hh_lL [G·H, H]
    layers.L.b  [G, H]           rnn.bias_ih_lL [G·H]
    layers.L.bn [H]              gate n of the GRU in rnn.bias_hh_lL [G·H]
    output.W [H, V], output.b    output.weight [V, H], output.bias

The gates of an LSTM are in another order: ours are i f o g, PyTorch's i f g o.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from charlm.arrays import Array

GATES = {"rnn": ("h",), "lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}
"""The gates of each cell in PyTorch's order, by our names."""

CLASSES = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
"""The classes in `torch.nn`."""


def transposed(
    parameters: Mapping[str, Array], layer: int, gates: Sequence[str], order: Sequence[str]
) -> tuple[Array, Array, Array, Array]:
    """W_ih `[G, H, in]`, W_hh `[G, H, H]`, b_ih and b_hh `[G, H]` of one of our layers, gates in `order`."""
    own, rows = f"layers.{layer}.", [gates.index(gate) for gate in order]
    inner = np.zeros_like(parameters[own + "b"])
    if own + "bn" in parameters:
        inner[gates.index("n")] = parameters[own + "bn"]
    W_ih, W_hh = (parameters[own + name].swapaxes(1, 2)[rows] for name in ("Wx", "Wh"))
    return W_ih, W_hh, parameters[own + "b"][rows], inner[rows]


def to_pytorch(
    parameters: Mapping[str, Array], cell: str, gates: tuple[str, ...], layers: int
) -> dict[str, Array]:
    """Our parameters by PyTorch's names, contiguous; `gates` are the cell's, in our order."""
    tensors = {"output.weight": parameters["output.W"].T, "output.bias": parameters["output.b"]}
    for layer in range(layers):
        arrays = transposed(parameters, layer, gates, GATES[cell])
        for name, array in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), arrays, strict=True):
            tensors[f"rnn.{name}_l{layer}"] = np.concatenate(array)
    # safetensors 0.8 writes the numbers of a transposed array in the wrong order
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def from_pytorch(
    tensors: Mapping[str, Array], cell: str, gates: tuple[str, ...], layers: int
) -> dict[str, Array]:
    """The reverse of `to_pytorch`.

    The two biases of a gate are added, except the inner one of the GRU, which is `bn`.
    """
    order = [GATES[cell].index(gate) for gate in gates]
    parameters = {"output.W": tensors["output.weight"].T, "output.b": tensors["output.bias"]}
    for layer in range(layers):
        W_ih, W_hh, b_ih, b_hh = (
            np.stack(np.split(tensors[f"rnn.{name}_l{layer}"], len(gates)))[order]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        own = f"layers.{layer}."
        parameters |= {own + "Wx": W_ih.swapaxes(1, 2), own + "Wh": W_hh.swapaxes(1, 2)}
        if cell == "gru":
            n = gates.index("n")
            parameters[own + "bn"] = b_hh[n].copy()
            b_hh[n] = 0.0
        # where there is nothing to add, the sign of a zero is kept
        parameters[own + "b"] = np.where(b_hh == 0, b_ih, b_ih + b_hh)
    return parameters
