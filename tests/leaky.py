"""A cell of one's own: what a user writes, and nothing else."""

from __future__ import annotations

import numpy as np

from charlm.arrays import Array, Shape
from charlm.nn.cells.cell import Cell, Saved, States
from charlm.nn.parameters import Params


class LeakyRNN(Cell):
    """`h_t = (1 - k) h_{t-1} + k tanh(x_t Wx + h_{t-1} Wh + b)`, `k = tanh(leak)²` for each unit."""

    gates, states = ("s",), ("h",)

    def shapes(self, inputs: int, hidden: int) -> dict[str, Shape]:
        """Shapes of the parameters: `Wx`, `Wh`, `b`, and `leak [H]`."""
        return {**super().shapes(inputs, hidden), "leak": (hidden,)}

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """See `Cell.initialise`; k is about one half."""
        super().initialise(params, rng, init)
        params["leak"][...] = 1.0

    def step(self, params: Params, x: Array, state: States) -> tuple[States, Saved]:
        """One step forward: `x [B, I]`, `state` is `h_prev [B, H]`."""
        (Wx,), (Wh,), (b,), k = params["Wx"], params["Wh"], params["b"], np.tanh(params["leak"]) ** 2
        (h_prev,) = state
        s = np.tanh(x @ Wx + h_prev @ Wh + b)
        h = (1 - k) * h_prev + k * s
        return (h,), (x, h_prev, s)

    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """One step backward: returns `dx` and `dh_prev`, and adds to every gradient."""
        (Wx,), (Wh,), leak = params["Wx"], params["Wh"], np.tanh(params["leak"])
        (dWx,), (dWh,), (db,), dleak = grads["Wx"], grads["Wh"], grads["b"], grads["leak"]
        x, h_prev, s = saved
        (dh,) = dstate
        # forward: h = (1 - k) * h_prev + k * s,  k = leak²
        ds = dh * leak**2
        dh_prev = dh * (1 - leak**2)
        dleak += (dh * (s - h_prev)).sum(axis=0) * 2 * leak * (1 - leak**2)
        # forward: s = tanh(a),  a = x Wx + h_prev Wh + b
        da = ds * (1 - s**2)
        dWx += x.T @ da
        dWh += h_prev.T @ da
        db += da.sum(axis=0)
        return da @ Wx.T, (dh_prev + da @ Wh.T,)
