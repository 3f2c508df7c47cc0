"""The vanilla (Elman) recurrent network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from charlm.arrays import Array
from charlm.nn.cells.cell import Cell, Saved, States
from charlm.nn.parameters import Params


class RNN(Cell):
    """`h_t = tanh(x_t Wx + h_{t-1} Wh + b)`. Elman 1990."""

    gates, states = ("h",), ("h",)

    def step(self, params: Params, a: Array, state: States) -> tuple[States, Saved]:
        """See `Cell.step`."""
        (h_before,), Wh = state, params["Wh"][0]
        # h_t = tanh(a_t + h_{t-1} Wh)
        h = np.tanh(a[0] + h_before @ Wh)
        return (h,), (h_before, h)

    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """See `Cell.step_backward`."""
        (dh,), (h_before, h) = dstate, saved
        Wh, dWh = params["Wh"][0], grads["Wh"][0]
        # forward was h_t = tanh(…), whose slope is 1 - h_t²
        da = dh * (1 - h**2)
        # forward was … = a_t + h_{t-1} Wh
        dWh += h_before.T @ da
        return da[None], (da @ Wh.T,)

    def activations(self, saved: Saved) -> Sequence[Array]:
        """See `Cell.activations`."""
        _, h = saved
        return (h,)
