"""A cell of one's own: what a user writes, and nothing else."""

from __future__ import annotations

import numpy as np

from charlm.arrays import Array, Shape
from charlm.nn.cells.cell import Cell, Saved, States
from charlm.nn.parameters import Params


class LeakyRNN(Cell):
    """`h_t = (1 - k) h_{t-1} + k tanh(x_t Wx + h_{t-1} Wh + b)`, `k = tanh(leak)²` for each unit."""

    gates, states = ("h",), ("h",)

    def shapes(self, hidden: int) -> dict[str, Shape]:
        """See `Cell.shapes`; with `leak [H]` besides."""
        return {**super().shapes(hidden), "leak": (hidden,)}

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """See `Cell.initialise`; k is about one half."""
        super().initialise(params, rng, init)
        params["leak"][...] = 1.0

    def step(self, params: Params, a: Array, state: States) -> tuple[States, Saved]:
        """See `Cell.step`."""
        (h_before,), k = state, np.tanh(params["leak"]) ** 2
        s = np.tanh(a[0] + h_before @ params["Wh"][0])
        return ((1 - k) * h_before + k * s,), (h_before, s)

    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """See `Cell.step_backward`."""
        (dh,), (h_before, s), leak = dstate, saved, np.tanh(params["leak"])
        da = dh * leak**2 * (1 - s**2)
        grads["Wh"][0] += h_before.T @ da
        grads["leak"][...] += (dh * (s - h_before)).sum(axis=0) * 2 * leak * (1 - leak**2)
        return da[None], (dh * (1 - leak**2) + da @ params["Wh"][0].T,)
