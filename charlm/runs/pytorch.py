"""Parameters in PyTorch's layout, and back.

PyTorch keeps the matrices of all gates of a layer as one, transposed, and two biases, of which the
second stands beside the recurrent product (the documentation of `torch.nn.RNN`, `LSTM` and `GRU`)::

    a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh

    ours                         PyTorch's
    layers.L.Wx [G, in, H]       rnn.weight_ih_lL [G·H, in]
    layers.L.Wh [G, H, H]        rnn.weight_hh_lL [G·H, H]
    layers.L.b  [G, H]           rnn.bias_ih_lL [G·H]
    layers.L.bn [H]              the part of rnn.bias_hh_lL [G·H] that is the GRU's gate n
    output.W [H, V], output.b    output.weight [V, H], output.bias

The gates of an LSTM are in another order: ours are i f o g, PyTorch's i f g o.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from charlm.arrays import Array

GATES = {"rnn": ("h",), "lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}
"""The gates of each cell in PyTorch's order, by our names."""

CLASSES = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
"""The classes in `torch.nn`."""


def to_pytorch(
    parameters: Mapping[str, Array], cell: str, gates: tuple[str, ...], layers: int
) -> dict[str, Array]:
    """Our parameters by PyTorch's names, contiguous; `gates` are the cell's own, in our order."""
    order = [gates.index(gate) for gate in GATES[cell]]
    tensors = {}
    for layer in range(layers):
        own = f"layers.{layer}."
        inner = np.zeros_like(parameters[own + "b"])
        if own + "bn" in parameters:
            inner[gates.index("n")] = parameters[own + "bn"]
        for name, array in {
            "weight_ih": parameters[own + "Wx"].swapaxes(1, 2),
            "weight_hh": parameters[own + "Wh"].swapaxes(1, 2),
            "bias_ih": parameters[own + "b"],
            "bias_hh": inner,
        }.items():
            tensors[f"rnn.{name}_l{layer}"] = np.concatenate(array[order])
    tensors["output.weight"] = parameters["output.W"].T
    tensors["output.bias"] = parameters["output.b"]
    # safetensors 0.8 writes the numbers of a transposed array in the wrong order
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def from_pytorch(
    tensors: Mapping[str, Array], cell: str, gates: tuple[str, ...], layers: int
) -> dict[str, Array]:
    """The reverse of `to_pytorch`.

    The biases of a gate are added, but for the inner one of the GRU, which is `bn`.
    """
    order = [GATES[cell].index(gate) for gate in gates]
    parameters = {}
    for layer in range(layers):
        own = f"layers.{layer}."
        blocks = {
            name: tensors[f"rnn.{name}_l{layer}"].reshape(
                len(gates), -1, *tensors[f"rnn.{name}_l{layer}"].shape[1:]
            )[order]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        parameters[own + "Wx"] = blocks["weight_ih"].swapaxes(1, 2)
        parameters[own + "Wh"] = blocks["weight_hh"].swapaxes(1, 2)
        inner = blocks["bias_hh"].copy()
        if cell == "gru":
            n = gates.index("n")
            parameters[own + "bn"] = inner[n].copy()
            inner[n] = 0.0
        # where there is nothing to add, the sign of a zero is kept
        parameters[own + "b"] = np.where(inner == 0, blocks["bias_ih"], blocks["bias_ih"] + inner)
    parameters["output.W"] = tensors["output.weight"].T
    parameters["output.b"] = tensors["output.bias"]
    return parameters
