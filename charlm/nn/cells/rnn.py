"""The vanilla (Elman) recurrent network."""

from typing import NamedTuple

import numpy as np

from charlm.arrays import Array
from charlm.nn.cells.cell import Cell, Saved, States
from charlm.nn.parameters import Params


class RNNStep(NamedTuple):
    """One step of an RNN: `x [B, I]`, the others `[B, H]`."""

    x: Array
    h_prev: Array
    h: Array


class RNN(Cell):
    """The vanilla recurrent network (Elman 1990).

    ::

        forward                                    backward
        a = x Wx + h_prev Wh + b                   da = dh (1 - h²)
        h = tanh(a)                                dx = da Wxᵀ;  dh_prev = da Whᵀ
                                                   dWx += xᵀ da;  dWh += h_prevᵀ da;  db += Σ da
    """

    gates, states = ("h",), ("h",)

    def step(self, params: Params, x: Array, state: States) -> tuple[States, Saved]:
        """One step forward: `x [B, I]`, `state` is `h_prev [B, H]`."""
        (Wx,), (Wh,), (b,) = params["Wx"], params["Wh"], params["b"]
        (h_prev,) = state
        a = x @ Wx + h_prev @ Wh + b  # [B, H]
        h = np.tanh(a)  # [B, H]
        return (h,), RNNStep(x, h_prev, h)

    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """One step backward: `dstate` is `dh [B, H]`; returns `dx` and `dh_prev`."""
        (Wx,), (Wh,) = params["Wx"], params["Wh"]
        (dWx,), (dWh,), (db,) = grads["Wx"], grads["Wh"], grads["b"]
        x, h_prev, h = saved
        (dh,) = dstate
        # forward: h = tanh(a)
        da = dh * (1 - h**2)  # [B, H]
        # forward: a = x Wx + h_prev Wh + b
        dWx += x.T @ da  # [I, H]
        dWh += h_prev.T @ da  # [H, H]
        db += da.sum(axis=0)  # [H]
        dx = da @ Wx.T  # [B, I]
        dh_prev = da @ Wh.T  # [B, H]
        return dx, (dh_prev,)
