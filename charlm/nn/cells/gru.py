"""The gated recurrent unit, with its reset gate in either of the two places in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from charlm.nn.cells.contract import Cell, State, accumulate_recurrent, transposed
from charlm.nn.ops import column_sums, sigmoid
from charlm.nn.parameters import Array, Shape
from charlm.nn.workspace import Workspace


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    h: Array
    """`[T+1, B, H]`: the state before the window, then after each step."""
    gates: Array
    """`[3, T, B, H]`: r, z, n, after their nonlinearities."""
    reset: Array
    """`[T, B, H]`: what the reset gate acts on or makes; see each form."""


class GRUAfter(Cell):
    """A GRU whose reset gate acts after the recurrent product.

    ::

        u_t = h_{t-1} Wh                         [3, B, H], gates r z | n
        r, z = sigmoid((x_t Wx + b + u_t)[:2])
        n = tanh((x_t Wx + b)[2] + r * (u_t[2] + bn))
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
        _, T, B, H = projected.shape
        Wh, bn = parameters["Wh"], parameters["bn"]
        h = workspace.array("h", (T + 1, B, H), projected.dtype)
        inner = workspace.array("inner", (T, B, H), projected.dtype)  # u + bn of the candidate
        u = workspace.array("u", (3, B, H), projected.dtype)
        scratch = workspace.array("scratch", (B, H), projected.dtype)
        h[0] = state[0]
        gates = projected  # [3, T, B, H]: becomes r, z, n in place
        for t in range(T):
            r, z, n = now = gates[:, t]
            np.matmul(h[t], Wh, u)
            # r, z = sigmoid(projected + u)
            np.add(u[:2], now[:2], u[:2])
            sigmoid(u[:2], now[:2])
            # n = tanh(projected + r * (u + bn))
            np.add(u[2], bn, inner[t])
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
    ) -> tuple[Sequence[Array] | Array, State]:
        """See `Cell.backward`."""
        T, B, H = dh.shape
        WhT = transposed(parameters["Wh"], workspace)
        # gradients at the candidate's input, at r and z, and at the candidate's recurrent product:
        # the first three belong to the input product, the last three to the recurrent one
        buffer = workspace.array("da", (4, T, B, H), dh.dtype)
        slope = workspace.array("slope", (2, B, H), dh.dtype)
        back = workspace.array("back", (3, B, H), dh.dtype)
        dh_t = dstate[0].copy()  # [B, H], from the steps after t
        carried = np.empty_like(dh_t)
        for t in reversed(range(T)):
            r, z, n = tape.gates[:, t]
            da_n, dr, dz, du_n = now = buffer[:, t]
            np.add(dh_t, dh[t], dh_t)
            # forward was h_t = (1 - z) * n + z * h_{t-1}
            _blend_backward(tape.h[t], z, n, dh_t, dz, da_n, carried)
            # forward was n = tanh(projected + r * inner), inner = u + bn
            np.multiply(da_n, tape.reset[t], dr)
            np.multiply(da_n, r, du_n)
            # forward was r, z = sigmoid(projected + u)
            _sigmoid_backward(tape.gates[:2, t], now[1:3], slope)
            # forward was u_t = h_{t-1} Wh
            np.matmul(now[1:], WhT, back)
            np.add.reduce(back, axis=0, out=dh_t)
            np.add(dh_t, carried, dh_t)
        accumulate_recurrent(gradients["Wh"], tape.h, buffer[1:])
        gradients["bn"][...] += column_sums(buffer[3].reshape(T * B, H))
        return [buffer[1], buffer[2], buffer[0]], (dh_t,)


class GRUBefore(Cell):
    """A GRU whose reset gate acts before the recurrent product.

    ::

        r, z = sigmoid(x_t Wx[:2] + b[:2] + h_{t-1} Wh[:2])      gates r z | n
        n = tanh(x_t Wx[2] + b[2] + (r * h_{t-1}) Wh[2])
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
        _, T, B, H = projected.shape
        Wrz, Wn = parameters["Wh"][:2], parameters["Wh"][2]
        h = workspace.array("h", (T + 1, B, H), projected.dtype)
        kept = workspace.array("kept", (T, B, H), projected.dtype)  # r * h_{t-1}
        u = workspace.array("u", (2, B, H), projected.dtype)
        scratch = workspace.array("scratch", (B, H), projected.dtype)
        h[0] = state[0]
        gates = projected  # [3, T, B, H]: becomes r, z, n in place
        for t in range(T):
            r, z, n = now = gates[:, t]
            # r, z = sigmoid(projected + h_{t-1} Wrz)
            np.matmul(h[t], Wrz, u)
            np.add(u, now[:2], u)
            sigmoid(u, now[:2])
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
    ) -> tuple[Sequence[Array] | Array, State]:
        """See `Cell.backward`."""
        T, B, H = dh.shape
        WhT = transposed(parameters["Wh"], workspace)
        da = workspace.array("da", (3, T, B, H), dh.dtype)
        slope = workspace.array("slope", (2, B, H), dh.dtype)
        back = workspace.array("back", (2, B, H), dh.dtype)
        dh_t = dstate[0].copy()  # [B, H], from the steps after t
        carried, dkept = np.empty_like(dh_t), np.empty_like(dh_t)
        for t in reversed(range(T)):
            r, z, n = tape.gates[:, t]
            dr, dz, da_n = now = da[:, t]
            np.add(dh_t, dh[t], dh_t)
            # forward was h_t = (1 - z) * n + z * h_{t-1}
            _blend_backward(tape.h[t], z, n, dh_t, dz, da_n, carried)
            # forward was n = tanh(projected + kept Wn), kept = r * h_{t-1}
            np.matmul(da_n, WhT[2], dkept)
            np.multiply(dkept, tape.h[t], dr)
            np.multiply(dkept, r, dkept)
            np.add(carried, dkept, carried)
            # forward was r, z = sigmoid(projected + h_{t-1} Wrz)
            _sigmoid_backward(tape.gates[:2, t], now[:2], slope)
            np.matmul(now[:2], WhT[:2], back)
            np.add(back[0], back[1], dh_t)
            np.add(dh_t, carried, dh_t)
        accumulate_recurrent(gradients["Wh"][:2], tape.h, da[:2])
        gradients["Wh"][2] += tape.reset.reshape(T * B, H).T @ da[2].reshape(T * B, H)
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
