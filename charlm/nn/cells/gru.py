"""The gated recurrent unit, with its reset gate in either of the two positions in use."""

from typing import NamedTuple

import numpy as np

from charlm.arrays import Array, Shape
from charlm.nn.activations import sigmoid
from charlm.nn.cells.cell import Cell, Saved, States
from charlm.nn.parameters import Params


class GRUAfterStep(NamedTuple):
    """One step of a GRU whose reset gate acts after the product: `x [B, I]`, the others `[B, H]`."""

    x: Array
    h_prev: Array
    r: Array
    z: Array
    n: Array
    u: Array
    """`h_prev Wh_n + bn`."""


class GRUAfter(Cell):
    """A GRU whose reset gate acts after the recurrent product: the form of cuDNN and PyTorch.

    ::

        forward                                    backward
        r = σ(x Wx_r + h_prev Wh_r + b_r)          da_r = dr r (1 - r)
        z = σ(x Wx_z + h_prev Wh_z + b_z)          da_z = dz z (1 - z)
        u = h_prev Wh_n + bn                       dWh_n += h_prevᵀ du;  dbn += Σ du
        n = tanh(x Wx_n + b_n + r u)               da_n = dn (1 - n²);  dr = da_n u;  du = da_n r
        h = (1 - z) n + z h_prev                   dn = dh (1 - z);  dz = dh (h_prev - n)
                                                   dh_prev = dh z + da_r Wh_rᵀ + da_z Wh_zᵀ + du Wh_nᵀ

    `bn [H]` is a second bias of the candidate, inside the reset. The formula of `h` is the one of
    Cho et al. 2014. Texts that write `h = (1 - z) h_prev + z n` call the complement of this `z` by
    the same name.
    """

    gates, states = ("r", "z", "n"), ("h",)

    def shapes(self, inputs: int, hidden: int) -> dict[str, Shape]:
        """Shapes of the parameters: `Wx [3, I, H]`, `Wh [3, H, H]`, `b [3, H]` and `bn [H]`."""
        return {**super().shapes(inputs, hidden), "bn": (hidden,)}

    def step(self, params: Params, x: Array, state: States) -> tuple[States, Saved]:
        """One step forward: `x [B, I]`, `state` is `h_prev [B, H]`."""
        Wx_r, Wx_z, Wx_n = params["Wx"]  # [I, H] each
        Wh_r, Wh_z, Wh_n = params["Wh"]  # [H, H] each
        b_r, b_z, b_n = params["b"]  # [H] each
        (h_prev,) = state
        r = sigmoid(x @ Wx_r + h_prev @ Wh_r + b_r)  # [B, H]
        z = sigmoid(x @ Wx_z + h_prev @ Wh_z + b_z)  # [B, H]
        u = h_prev @ Wh_n + params["bn"]  # [B, H]
        n = np.tanh(x @ Wx_n + b_n + r * u)  # [B, H]
        h = (1 - z) * n + z * h_prev  # [B, H]
        return (h,), GRUAfterStep(x, h_prev, r, z, n, u)

    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """One step backward: `dstate` is `dh [B, H]`; returns `dx` and `dh_prev`."""
        Wx_r, Wx_z, Wx_n = params["Wx"]
        Wh_r, Wh_z, Wh_n = params["Wh"]
        dWx_r, dWx_z, dWx_n = grads["Wx"]
        dWh_r, dWh_z, dWh_n = grads["Wh"]
        db_r, db_z, db_n = grads["b"]
        dbn = grads["bn"]
        x, h_prev, r, z, n, u = saved
        (dh,) = dstate
        # forward: h = (1 - z) * n + z * h_prev
        dn = dh * (1 - z)
        dz = dh * (h_prev - n)
        dh_prev = dh * z
        # forward: n = tanh(a_n),  a_n = x Wx_n + b_n + r * u
        da_n = dn * (1 - n**2)
        dWx_n += x.T @ da_n
        db_n += da_n.sum(axis=0)
        dr = da_n * u
        du = da_n * r
        # forward: u = h_prev Wh_n + bn
        dWh_n += h_prev.T @ du
        dbn += du.sum(axis=0)
        # forward: z = sigmoid(a_z),  a_z = x Wx_z + h_prev Wh_z + b_z
        da_z = dz * z * (1 - z)
        dWx_z += x.T @ da_z
        dWh_z += h_prev.T @ da_z
        db_z += da_z.sum(axis=0)
        # forward: r = sigmoid(a_r),  a_r = x Wx_r + h_prev Wh_r + b_r
        da_r = dr * r * (1 - r)
        dWx_r += x.T @ da_r
        dWh_r += h_prev.T @ da_r
        db_r += da_r.sum(axis=0)
        # x and h_prev feed every gate, so their gradients are sums over the gates
        dx = da_r @ Wx_r.T + da_z @ Wx_z.T + da_n @ Wx_n.T  # [B, I]
        dh_prev = dh_prev + da_r @ Wh_r.T + da_z @ Wh_z.T + du @ Wh_n.T  # [B, H]
        return dx, (dh_prev,)


class GRUBeforeStep(NamedTuple):
    """One step of a GRU whose reset gate acts before the product: `x [B, I]`, the others `[B, H]`."""

    x: Array
    h_prev: Array
    r: Array
    z: Array
    n: Array
    s: Array
    """`r * h_prev`."""


class GRUBefore(Cell):
    """A GRU whose reset gate acts before the recurrent product: the form of Cho et al. 2014.

    ::

        forward                                    backward
        r = σ(x Wx_r + h_prev Wh_r + b_r)          da_r = dr r (1 - r)
        z = σ(x Wx_z + h_prev Wh_z + b_z)          da_z = dz z (1 - z)
        s = r h_prev                               dr = ds h_prev
        n = tanh(x Wx_n + s Wh_n + b_n)            da_n = dn (1 - n²);  ds = da_n Wh_nᵀ
        h = (1 - z) n + z h_prev                   dn = dh (1 - z);  dz = dh (h_prev - n)
                                                   dh_prev = dh z + ds r + da_r Wh_rᵀ + da_z Wh_zᵀ

    Two recurrent products per step, because the second one waits for `r`. Texts that write
    `h = (1 - z) h_prev + z n` call the complement of this `z` by the same name.
    """

    gates, states = ("r", "z", "n"), ("h",)

    def step(self, params: Params, x: Array, state: States) -> tuple[States, Saved]:
        """One step forward: `x [B, I]`, `state` is `h_prev [B, H]`."""
        Wx_r, Wx_z, Wx_n = params["Wx"]  # [I, H] each
        Wh_r, Wh_z, Wh_n = params["Wh"]  # [H, H] each
        b_r, b_z, b_n = params["b"]  # [H] each
        (h_prev,) = state
        r = sigmoid(x @ Wx_r + h_prev @ Wh_r + b_r)  # [B, H]
        z = sigmoid(x @ Wx_z + h_prev @ Wh_z + b_z)  # [B, H]
        s = r * h_prev  # [B, H]
        n = np.tanh(x @ Wx_n + s @ Wh_n + b_n)  # [B, H]
        h = (1 - z) * n + z * h_prev  # [B, H]
        return (h,), GRUBeforeStep(x, h_prev, r, z, n, s)

    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """One step backward: `dstate` is `dh [B, H]`; returns `dx` and `dh_prev`."""
        Wx_r, Wx_z, Wx_n = params["Wx"]
        Wh_r, Wh_z, Wh_n = params["Wh"]
        dWx_r, dWx_z, dWx_n = grads["Wx"]
        dWh_r, dWh_z, dWh_n = grads["Wh"]
        db_r, db_z, db_n = grads["b"]
        x, h_prev, r, z, n, s = saved
        (dh,) = dstate
        # forward: h = (1 - z) * n + z * h_prev
        dn = dh * (1 - z)
        dz = dh * (h_prev - n)
        dh_prev = dh * z
        # forward: n = tanh(a_n),  a_n = x Wx_n + s Wh_n + b_n
        da_n = dn * (1 - n**2)
        dWx_n += x.T @ da_n
        dWh_n += s.T @ da_n
        db_n += da_n.sum(axis=0)
        ds = da_n @ Wh_n.T
        # forward: s = r * h_prev
        dr = ds * h_prev
        dh_prev = dh_prev + ds * r
        # forward: z = sigmoid(a_z),  a_z = x Wx_z + h_prev Wh_z + b_z
        da_z = dz * z * (1 - z)
        dWx_z += x.T @ da_z
        dWh_z += h_prev.T @ da_z
        db_z += da_z.sum(axis=0)
        # forward: r = sigmoid(a_r),  a_r = x Wx_r + h_prev Wh_r + b_r
        da_r = dr * r * (1 - r)
        dWx_r += x.T @ da_r
        dWh_r += h_prev.T @ da_r
        db_r += da_r.sum(axis=0)
        # x and h_prev feed every gate, so their gradients are sums over the gates
        dx = da_r @ Wx_r.T + da_z @ Wx_z.T + da_n @ Wx_n.T  # [B, I]
        dh_prev = dh_prev + da_r @ Wh_r.T + da_z @ Wh_z.T  # [B, H]
        return dx, (dh_prev,)
