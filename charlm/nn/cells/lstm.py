"""The long short-term memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from charlm.arrays import Array
from charlm.nn.activations import sigmoid
from charlm.nn.cells.cell import Cell, Saved, States
from charlm.nn.parameters import Params


class LSTM(Cell):
    """An LSTM with forget gates and without peepholes.

    ::

        a_t = x_t Wx + h_{t-1} Wh + b                [4, B, H], gates i f o g
        i, f, o = sigmoid(a_i, a_f, a_o);  g = tanh(a_g)
        c_t = f * c_{t-1} + i * g;         h_t = o * tanh(c_t)

    Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000. The bias of the forget gate
    starts at 1, so that the memory is kept until something is learned (Jozefowicz et al. 2015).
    """

    gates, states = ("i", "f", "o", "g"), ("h", "c")

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """See `Cell.initialise`; the bias of the forget gate is 1."""
        super().initialise(params, rng, init)
        params["b"][self.gates.index("f")] = 1.0

    def step(self, params: Params, a: Array, state: States) -> tuple[States, Saved]:
        """See `Cell.step`."""
        h_before, c_before = state
        a_i, a_f, a_o, a_g = a + h_before @ params["Wh"]
        i, f, o, g = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o), np.tanh(a_g)
        c = f * c_before + i * g
        tanh_c = np.tanh(c)
        h = o * tanh_c
        return (h, c), (h_before, c_before, i, f, o, g, tanh_c)

    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """See `Cell.step_backward`."""
        dh, dc = self.arriving(saved, dstate)
        h_before, c_before, i, f, o, g, tanh_c = saved
        # forward was h_t = o * tanh(c_t)
        do = dh * tanh_c
        # forward was c_t = f * c_{t-1} + i * g
        di, df, dg, dc_before = dc * g, dc * c_before, dc * i, dc * f
        # forward was i, f, o = sigmoid(…), whose slope is s (1 - s), and g = tanh(…)
        da = np.stack([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)])
        # forward was … = a_t + h_{t-1} Wh
        grads["Wh"][...] += h_before.T @ da
        dh_before = (da @ params["Wh"].swapaxes(1, 2)).sum(axis=0)
        return da, (dh_before, dc_before)

    def activations(self, saved: Saved) -> Sequence[Array]:
        """See `Cell.activations`."""
        _, _, i, f, o, g, _ = saved
        return i, f, o, g

    def arriving(self, saved: Saved, dstate: States) -> States:
        """See `Cell.arriving`: h is made from c."""
        dh, dc = dstate
        *_, o, _, tanh_c = saved
        # forward was h_t = o * tanh(c_t)
        return dh, dc + dh * o * (1 - tanh_c**2)
