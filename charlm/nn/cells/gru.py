"""The gated recurrent unit, with its reset gate in either of the two positions in use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from charlm.arrays import Array, Shape
from charlm.nn.activations import sigmoid
from charlm.nn.cells.cell import Cell, Saved, States
from charlm.nn.parameters import Params


class GRUAfter(Cell):
    """A GRU whose reset gate acts after the recurrent product.

    ::

        a = x_t Wx + b;  u = h_{t-1} Wh              [3, B, H], gates r z n
        r, z = sigmoid(a_r + u_r, a_z + u_z)
        n = tanh(a_n + r * (u_n + bn))
        h_t = (1 - z) * n + z * h_{t-1}

    The form of cuDNN and PyTorch: one recurrent product a step. `bn [H]` is a bias inside the
    reset. The formula of `h_t` is that of Cho et al. 2014; texts that write
    `h_t = (1 - z) * h_{t-1} + z * n` call the complement of this `z` by the same name.
    """

    gates, states = ("r", "z", "n"), ("h",)

    def shapes(self, hidden: int) -> dict[str, Shape]:
        """See `Cell.shapes`; with `bn [H]` besides."""
        return {**super().shapes(hidden), "bn": (hidden,)}

    def step(self, params: Params, a: Array, state: States) -> tuple[States, Saved]:
        """See `Cell.step`."""
        (h_before,), (a_r, a_z, a_n) = state, a
        u_r, u_z, u_n = h_before @ params["Wh"]
        r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
        inner = u_n + params["bn"]
        n = np.tanh(a_n + r * inner)
        h = (1 - z) * n + z * h_before
        return (h,), (h_before, r, z, n, inner)

    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """See `Cell.step_backward`."""
        (dh,), (h_before, r, z, n, inner) = dstate, saved
        # forward was h_t = (1 - z) * n + z * h_{t-1}
        dn, dz, dh_before = dh * (1 - z), dh * (h_before - n), dh * z
        # forward was n = tanh(a_n + r * inner);  r, z = sigmoid(…)
        da_n = dn * (1 - n**2)
        dr, dinner = da_n * inner, da_n * r
        da_r, da_z = dr * r * (1 - r), dz * z * (1 - z)
        # forward was inner = u_n + bn;  u = h_{t-1} Wh
        du = np.stack([da_r, da_z, dinner])
        grads["bn"][...] += dinner.sum(axis=0)
        grads["Wh"][...] += h_before.T @ du
        dh_before = dh_before + (du @ params["Wh"].swapaxes(1, 2)).sum(axis=0)
        return np.stack([da_r, da_z, da_n]), (dh_before,)

    def activations(self, saved: Saved) -> Sequence[Array]:
        """See `Cell.activations`."""
        _, r, z, n, _ = saved
        return r, z, n


class GRUBefore(Cell):
    """A GRU whose reset gate acts before the recurrent product.

    ::

        a = x_t Wx + b                               [3, B, H], gates r z n
        r, z = sigmoid(a_r + h_{t-1} Wh_r, a_z + h_{t-1} Wh_z)
        n = tanh(a_n + (r * h_{t-1}) Wh_n)
        h_t = (1 - z) * n + z * h_{t-1}

    Cho et al. 2014, the usual form of textbooks: two recurrent products a step. For `z` see
    `GRUAfter`.
    """

    gates, states = ("r", "z", "n"), ("h",)

    def step(self, params: Params, a: Array, state: States) -> tuple[States, Saved]:
        """See `Cell.step`."""
        (h_before,), (a_r, a_z, a_n) = state, a
        Wh_r, Wh_z, Wh_n = params["Wh"]
        r, z = sigmoid(a_r + h_before @ Wh_r), sigmoid(a_z + h_before @ Wh_z)
        kept = r * h_before
        n = np.tanh(a_n + kept @ Wh_n)
        h = (1 - z) * n + z * h_before
        return (h,), (h_before, r, z, n, kept)

    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """See `Cell.step_backward`."""
        (dh,), (h_before, r, z, n, kept) = dstate, saved
        (Wh_r, Wh_z, Wh_n), (dWh_r, dWh_z, dWh_n) = params["Wh"], grads["Wh"]
        # forward was h_t = (1 - z) * n + z * h_{t-1}
        dn, dz, dh_before = dh * (1 - z), dh * (h_before - n), dh * z
        # forward was n = tanh(a_n + kept Wh_n);  kept = r * h_{t-1}
        da_n = dn * (1 - n**2)
        dWh_n += kept.T @ da_n
        dkept = da_n @ Wh_n.T
        dr, dh_before = dkept * h_before, dh_before + dkept * r
        # forward was r, z = sigmoid(a + h_{t-1} Wh)
        da_r, da_z = dr * r * (1 - r), dz * z * (1 - z)
        dWh_r += h_before.T @ da_r
        dWh_z += h_before.T @ da_z
        dh_before = dh_before + da_r @ Wh_r.T + da_z @ Wh_z.T
        return np.stack([da_r, da_z, da_n]), (dh_before,)

    def activations(self, saved: Saved) -> Sequence[Array]:
        """See `Cell.activations`."""
        _, r, z, n, _ = saved
        return r, z, n
