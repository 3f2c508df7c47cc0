"""The network one character at a time, for generating.

What `Model.forward` computes for a window of one step and one stream, without what only windows
need: at this size the arithmetic takes no longer than the calls around it.
"""

from __future__ import annotations

import numpy as np

from charlm.nn.model import Model, States
from charlm.nn.parameters import Array, Parameters
from charlm.nn.workspace import Workspace


class Stepper:
    """One stream's carried state, and the step that advances it."""

    def __init__(self, model: Model, parameters: Parameters, state: States) -> None:
        """Begin from `state`, arrays `[1, H]`."""
        dtype, shape = parameters.flat.dtype, (model.cell.gates, 1, 1, model.hidden)
        workspace = Workspace()
        self._cell = model.cell
        self._state = list(state)
        self._layers = [
            (
                parameters.under(f"layers.{layer}"),
                np.empty(shape, dtype),
                workspace.within(f"layers.{layer}"),
            )
            for layer in range(model.layers)
        ]
        self._W, self._b = parameters["output.W"], parameters["output.b"]

    def step(self, character: int) -> Array:
        """The logits `[V]` behind one more character's id."""
        h = self._b[None]  # [1, H] of the layer below; the first has none and does not look
        for layer, (own, projected, place) in enumerate(self._layers):
            gates = projected[:, 0]  # [G, 1, H]
            if layer == 0:
                np.add(own["Wx"][:, character], own["b"], gates[:, 0])
            else:
                np.matmul(h, own["Wx"], gates)
                np.add(gates, own["b"][:, None], gates)
            outputs, self._state[layer], _ = self._cell.forward(own, projected, self._state[layer], place)
            h = outputs[0]
        logits: Array = (h @ self._W + self._b)[0]
        return logits
