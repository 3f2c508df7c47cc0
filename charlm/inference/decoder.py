"""The network one character at a time, for generating.

What `Model.forward` computes for a window of one step and one stream, with everything but the
step itself made ready once: at this size the arithmetic takes no longer than the calls around it.
"""

from __future__ import annotations

import numpy as np

from charlm.arrays import Array
from charlm.nn.model import Model, States
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace


class Decoder:
    """One stream's carried state, and the step that advances it."""

    def __init__(self, model: Model, parameters: Parameters, state: States) -> None:
        """Begin from `state`, arrays `[1, H]`."""
        dtype, shape = parameters.flat.dtype, (model.cell.gates, 1, 1, model.hidden)
        self._layers = []
        for layer, before in enumerate(state):
            own, projected = parameters.under(f"layers.{layer}"), np.empty(shape, dtype)
            tape, step = model.cell.window(own, projected, Workspace())
            for array, array_before in zip(tape.states, before, strict=True):
                array[0] = array_before
            self._layers.append((own["Wx"], own["b"][:, None], projected[:, 0], tape.states, step))
        self._W, self._b = parameters["output.W"], parameters["output.b"]

    def step(self, character: int) -> Array:
        """The logits `[V]` behind one more character's id."""
        h = self._b  # [1, H] of the layer below; the first has none and does not look
        for layer, (Wx, b, projected, states, step) in enumerate(self._layers):
            # projected [G, 1, H] = x Wx + b
            if layer == 0:
                np.add(Wx[:, character, None], b, projected)
            else:
                np.matmul(h, Wx, projected)
                np.add(projected, b, projected)
            step(0)
            for array in states:  # [2, 1, H], before and after
                array[0] = array[1]
            h = states[0][0]
        logits: Array = (h @ self._W + self._b)[0]
        return logits
