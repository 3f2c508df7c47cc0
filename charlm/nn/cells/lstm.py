"""The long short-term memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from charlm.nn.cells.contract import Cell, State
from charlm.nn.ops import sigmoid
from charlm.nn.parameters import Array
from charlm.nn.workspace import Workspace


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    h: Array
    """`[T+1, B, H]`: before the window, then after each step."""
    c: Array
    """`[T+1, B, H]`: likewise."""
    gates: Array
    """`[T, B, 4H]`: i, f, o, g, after their nonlinearities."""
    tanh_c: Array
    """`[T, B, H]`."""


class LSTM(Cell):
    """An LSTM with forget gates and without peepholes.

    ::

        a_t = x_t Wx + h_{t-1} Wh + b            [B, 4H], columns i f o | g
        i, f, o = sigmoid(a[:, :3H]);  g = tanh(a[:, 3H:])
        c_t = f * c_{t-1} + i * g;     h_t = o * tanh(c_t)

    Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000. The forget gate's bias starts
    at 1, so that the memory is kept until something is learned (Jozefowicz et al. 2015). G = 4.
    """

    gates = 4
    states = ("h", "c")

    def initialise(self, parameters: Mapping[str, Array], rng: np.random.Generator, init: str) -> None:
        """See `Cell.initialise`; the forget gate's bias is 1."""
        super().initialise(parameters, rng, init)
        H = parameters["Wh"].shape[0]
        parameters["b"][H : 2 * H] = 1.0

    def forward(
        self, parameters: Mapping[str, Array], projected: Array, state: State, workspace: Workspace
    ) -> tuple[Array, State, Tape]:
        """See `Cell.forward`."""
        T, B, H = *projected.shape[:2], projected.shape[2] // 4
        Wh = parameters["Wh"]
        h = workspace.array("h", (T + 1, B, H), projected.dtype)
        c = workspace.array("c", (T + 1, B, H), projected.dtype)
        tanh_c = workspace.array("tanh_c", (T, B, H), projected.dtype)
        recurrent = workspace.array("recurrent", (B, 4 * H), projected.dtype)
        written = workspace.array("written", (B, H), projected.dtype)
        h[0], c[0] = state
        gates = projected  # [T, B, 4H]: a_t becomes i, f, o, g in place
        for t in range(T):
            # a_t = projected_t + h_{t-1} Wh
            a = gates[t]
            np.matmul(h[t], Wh, recurrent)
            np.add(a, recurrent, a)
            # i, f, o = sigmoid(a[:, :3H]);  g = tanh(a[:, 3H:])
            sigmoid(a[:, : 3 * H])
            i, f, o, g = (a[:, k * H : (k + 1) * H] for k in range(4))
            np.tanh(g, g)
            # c_t = f * c_{t-1} + i * g
            np.multiply(f, c[t], c[t + 1])
            np.multiply(i, g, written)
            np.add(c[t + 1], written, c[t + 1])
            # h_t = o * tanh(c_t)
            np.tanh(c[t + 1], tanh_c[t])
            np.multiply(o, tanh_c[t], h[t + 1])
        return h[1:], (h[T], c[T]), Tape(h, c, gates, tanh_c)

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
        da = workspace.array("da", (T, B, 4 * H), dh.dtype)  # [T, B, 4H]
        slope = workspace.array("slope", (B, 3 * H), dh.dtype)
        dh_t, dc_t = dstate[0].copy(), dstate[1].copy()  # [B, H], from the steps after t
        scratch = np.empty_like(dh_t)
        for t in reversed(range(T)):
            i, f, o, g = (tape.gates[t, :, k * H : (k + 1) * H] for k in range(4))
            di, df, do, dg = (da[t, :, k * H : (k + 1) * H] for k in range(4))
            # forward was h_t = o * tanh(c_t)
            np.add(dh_t, dh[t], dh_t)
            np.multiply(dh_t, tape.tanh_c[t], do)
            np.multiply(tape.tanh_c[t], tape.tanh_c[t], scratch)
            np.subtract(1.0, scratch, scratch)
            np.multiply(scratch, o, scratch)
            np.multiply(scratch, dh_t, scratch)
            np.add(dc_t, scratch, dc_t)
            # forward was c_t = f * c_{t-1} + i * g
            np.multiply(dc_t, g, di)
            np.multiply(dc_t, tape.c[t], df)
            np.multiply(dc_t, i, dg)
            np.multiply(dc_t, f, dc_t)
            # forward was i, f, o = sigmoid(a): da = d(ifo) * ifo * (1 - ifo)
            ifo = tape.gates[t, :, : 3 * H]
            np.subtract(1.0, ifo, slope)
            np.multiply(slope, ifo, slope)
            np.multiply(da[t, :, : 3 * H], slope, da[t, :, : 3 * H])
            # forward was g = tanh(a): da = dg * (1 - g²)
            np.multiply(g, g, scratch)
            np.subtract(1.0, scratch, scratch)
            np.multiply(dg, scratch, dg)
            # forward was a_t = projected_t + h_{t-1} Wh
            np.matmul(da[t], WhT, dh_t)
        gradients["Wh"][...] += tape.h[:-1].reshape(T * B, H).T @ da.reshape(T * B, 4 * H)
        return da, (dh_t, dc_t)
