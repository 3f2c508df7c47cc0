"""The gated recurrent unit, with its reset gate in either of the two places in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from charlm.nn.cells.contract import Cell, State
from charlm.nn.ops import sigmoid
from charlm.nn.parameters import Array, Shape
from charlm.nn.workspace import Workspace


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    h: Array
    """`[T+1, B, H]`: the state before the window, then after each step."""
    gates: Array
    """`[T, B, 3H]`: r, z, n, after their nonlinearities."""
    reset: Array
    """`[T, B, H]`: what the reset gate acts on or makes; see each form."""


class GRUAfter(Cell):
    """A GRU whose reset gate acts after the recurrent product.

    ::

        u_t = h_{t-1} Wh                                   [B, 3H], columns r z n
        r, z = sigmoid(x_t Wx + b + u_t)[:, :2H]
        n = tanh(x_t Wx + b + r * (u_t + bn))[:, 2H:]
        h_t = (1 - z) * n + z * h_{t-1}

    The form of cuDNN and PyTorch: one recurrent product a step. `bn` is the bias inside the
    reset. Cho et al. 2014 write `h_t = z * h_{t-1} + (1 - z) * n` as here; texts with
    `h_t = (1 - z) * h_{t-1} + z * n` name the complement of this `z`. G = 3. The tape's `reset`
    is `u + bn` of the candidate.
    """

    gates = 3

    def shapes(self, inputs: int, hidden: int) -> dict[str, Shape]:
        """See `Cell.shapes`; with `bn [H]` besides."""
        return {**super().shapes(inputs, hidden), "bn": (hidden,)}

    def forward(
        self, parameters: Mapping[str, Array], projected: Array, state: State, workspace: Workspace
    ) -> tuple[Array, State, Tape]:
        """See `Cell.forward`."""
        T, B, H = *projected.shape[:2], projected.shape[2] // 3
        Wh, bn = parameters["Wh"], parameters["bn"]
        h = workspace.array("h", (T + 1, B, H), projected.dtype)
        inner = workspace.array("inner", (T, B, H), projected.dtype)  # u + bn of the candidate
        u = workspace.array("u", (B, 3 * H), projected.dtype)
        scratch = workspace.array("scratch", (B, H), projected.dtype)
        h[0] = state[0]
        gates = projected  # [T, B, 3H]: becomes r, z, n in place
        for t in range(T):
            a = gates[t]
            r, z, n = (a[:, k * H : (k + 1) * H] for k in range(3))
            np.matmul(h[t], Wh, u)
            # r, z = sigmoid(projected + u)
            np.add(a[:, : 2 * H], u[:, : 2 * H], a[:, : 2 * H])
            sigmoid(a[:, : 2 * H])
            # n = tanh(projected + r * (u + bn))
            np.add(u[:, 2 * H :], bn, inner[t])
            np.multiply(r, inner[t], scratch)
            np.add(n, scratch, n)
            np.tanh(n, n)
            # h_t = (1 - z) * n + z * h_{t-1} = n + z * (h_{t-1} - n)
            np.subtract(h[t], n, scratch)
            np.multiply(z, scratch, scratch)
            np.add(n, scratch, h[t + 1])
        return h[1:], (h[T],), Tape(h, gates, inner)

    def backward(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        tape: Tape,
        dh: Array,
        dstate: State,
        workspace: Workspace,
    ) -> tuple[Array, State]:
        """See `Cell.backward`."""
        T, B, H = dh.shape
        WhT = parameters["Wh"].T
        da = workspace.array("da", (T, B, 3 * H), dh.dtype)  # gradient at projected
        du = workspace.array("du", (T, B, 3 * H), dh.dtype)  # gradient at the recurrent product
        slope = workspace.array("slope", (B, 2 * H), dh.dtype)
        dh_t = dstate[0].copy()  # [B, H], from the steps after t
        carried = np.empty_like(dh_t)
        for t in reversed(range(T)):
            r, z, n = (tape.gates[t, :, k * H : (k + 1) * H] for k in range(3))
            dr, dz, dn = (da[t, :, k * H : (k + 1) * H] for k in range(3))
            np.add(dh_t, dh[t], dh_t)
            # forward was h_t = (1 - z) * n + z * h_{t-1}
            _blend_backward(tape.h[t], z, n, dh_t, dz, dn, carried)
            # forward was n = tanh(projected + r * inner), inner = u + bn
            np.multiply(dn, tape.reset[t], dr)
            np.multiply(dn, r, du[t, :, 2 * H :])
            # forward was r, z = sigmoid(projected + u)
            _sigmoid_backward(tape.gates[t, :, : 2 * H], da[t, :, : 2 * H], slope)
            du[t, :, : 2 * H] = da[t, :, : 2 * H]
            # forward was u_t = h_{t-1} Wh
            np.matmul(du[t], WhT, dh_t)
            np.add(dh_t, carried, dh_t)
        rows = du.reshape(T * B, 3 * H)
        gradients["Wh"][...] += tape.h[:-1].reshape(T * B, H).T @ rows
        gradients["bn"][...] += rows[:, 2 * H :].sum(axis=0)
        return da, (dh_t,)


class GRUBefore(Cell):
    """A GRU whose reset gate acts before the recurrent product.

    ::

        r, z = sigmoid(x_t Wx + b + h_{t-1} Wh)[:, :2H]    columns r z | n
        n = tanh(x_t Wx + b + (r * h_{t-1}) Wh)[:, 2H:]
        h_t = (1 - z) * n + z * h_{t-1}

    Cho et al. 2014, the usual textbook form: two recurrent products a step. Texts that write
    `h_t = (1 - z) * h_{t-1} + z * n` name the complement of this `z`. G = 3. The tape's `reset`
    is `r * h_{t-1}`.
    """

    gates = 3

    def forward(
        self, parameters: Mapping[str, Array], projected: Array, state: State, workspace: Workspace
    ) -> tuple[Array, State, Tape]:
        """See `Cell.forward`."""
        T, B, H = *projected.shape[:2], projected.shape[2] // 3
        Wrz, Wn = parameters["Wh"][:, : 2 * H], parameters["Wh"][:, 2 * H :]
        h = workspace.array("h", (T + 1, B, H), projected.dtype)
        kept = workspace.array("kept", (T, B, H), projected.dtype)  # r * h_{t-1}
        u = workspace.array("u", (B, 2 * H), projected.dtype)
        scratch = workspace.array("scratch", (B, H), projected.dtype)
        h[0] = state[0]
        gates = projected  # [T, B, 3H]: becomes r, z, n in place
        for t in range(T):
            a = gates[t]
            r, z, n = (a[:, k * H : (k + 1) * H] for k in range(3))
            # r, z = sigmoid(projected + h_{t-1} Wrz)
            np.matmul(h[t], Wrz, u)
            np.add(a[:, : 2 * H], u, a[:, : 2 * H])
            sigmoid(a[:, : 2 * H])
            # n = tanh(projected + (r * h_{t-1}) Wn)
            np.multiply(r, h[t], kept[t])
            np.matmul(kept[t], Wn, scratch)
            np.add(n, scratch, n)
            np.tanh(n, n)
            # h_t = (1 - z) * n + z * h_{t-1} = n + z * (h_{t-1} - n)
            np.subtract(h[t], n, scratch)
            np.multiply(z, scratch, scratch)
            np.add(n, scratch, h[t + 1])
        return h[1:], (h[T],), Tape(h, gates, kept)

    def backward(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        tape: Tape,
        dh: Array,
        dstate: State,
        workspace: Workspace,
    ) -> tuple[Array, State]:
        """See `Cell.backward`."""
        T, B, H = dh.shape
        WrzT, WnT = parameters["Wh"][:, : 2 * H].T, parameters["Wh"][:, 2 * H :].T
        da = workspace.array("da", (T, B, 3 * H), dh.dtype)
        slope = workspace.array("slope", (B, 2 * H), dh.dtype)
        dh_t = dstate[0].copy()  # [B, H], from the steps after t
        carried, dkept = np.empty_like(dh_t), np.empty_like(dh_t)
        for t in reversed(range(T)):
            r, z, n = (tape.gates[t, :, k * H : (k + 1) * H] for k in range(3))
            dr, dz, dn = (da[t, :, k * H : (k + 1) * H] for k in range(3))
            np.add(dh_t, dh[t], dh_t)
            # forward was h_t = (1 - z) * n + z * h_{t-1}
            _blend_backward(tape.h[t], z, n, dh_t, dz, dn, carried)
            # forward was n = tanh(projected + kept Wn), kept = r * h_{t-1}
            np.matmul(dn, WnT, dkept)
            np.multiply(dkept, tape.h[t], dr)
            np.multiply(dkept, r, dkept)
            np.add(carried, dkept, carried)
            # forward was r, z = sigmoid(projected + h_{t-1} Wrz)
            _sigmoid_backward(tape.gates[t, :, : 2 * H], da[t, :, : 2 * H], slope)
            np.matmul(da[t, :, : 2 * H], WrzT, dh_t)
            np.add(dh_t, carried, dh_t)
        rows = da.reshape(T * B, 3 * H)
        gradients["Wh"][:, : 2 * H] += tape.h[:-1].reshape(T * B, H).T @ rows[:, : 2 * H]
        gradients["Wh"][:, 2 * H :] += tape.reset.reshape(T * B, H).T @ rows[:, 2 * H :]
        return da, (dh_t,)


def _blend_backward(
    h_before: Array, z: Array, n: Array, dh: Array, dz: Array, da_n: Array, carried: Array
) -> None:
    """Back through `h_t = (1 - z) * n + z * h_{t-1}` and `n = tanh(a_n)`.

    Writes `dz` (with respect to z), `da_n = dh * (1 - z) * (1 - n²)`, and `carried = dh * z`,
    the part of `dh_{t-1}` that the blend itself passes on; `dh` is used up. All `[B, H]`.
    """
    np.multiply(dh, z, carried)
    np.subtract(h_before, n, dz)
    np.multiply(dz, dh, dz)
    np.subtract(dh, carried, dh)  # dn = dh * (1 - z)
    np.multiply(n, n, da_n)
    np.subtract(1.0, da_n, da_n)
    np.multiply(da_n, dh, da_n)


def _sigmoid_backward(s: Array, ds: Array, slope: Array) -> None:
    """Turn `ds` into the gradient before the sigmoid, in place: `da = ds * s * (1 - s)`."""
    np.subtract(1.0, s, slope)
    np.multiply(slope, s, slope)
    np.multiply(ds, slope, ds)
