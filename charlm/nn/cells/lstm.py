"""The long short-term memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from charlm.nn.cells.contract import Cell, State, accumulate_recurrent, transposed
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
    """`[4, T, B, H]`: i, f, o, g, after their nonlinearities."""
    tanh_c: Array
    """`[T, B, H]`."""


class LSTM(Cell):
    """An LSTM with forget gates and without peepholes.

    ::

        a_t = x_t Wx + h_{t-1} Wh + b            [4, B, H], gates i f o | g
        i, f, o = sigmoid(a[:3]);  g = tanh(a[3])
        c_t = f * c_{t-1} + i * g;     h_t = o * tanh(c_t)

    Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000. The forget gate's bias starts
    at 1, so that the memory is kept until something is learned (Jozefowicz et al. 2015). G = 4.
    """

    gates = 4
    states = ("h", "c")

    def initialise(self, parameters: Mapping[str, Array], rng: np.random.Generator, init: str) -> None:
        """See `Cell.initialise`; the forget gate's bias is 1."""
        super().initialise(parameters, rng, init)
        parameters["b"][1] = 1.0

    def forward(
        self, parameters: Mapping[str, Array], projected: Array, state: State, workspace: Workspace
    ) -> tuple[Array, State, Tape]:
        """See `Cell.forward`."""
        _, T, B, H = projected.shape
        Wh = parameters["Wh"]
        h = workspace.array("h", (T + 1, B, H), projected.dtype)
        c = workspace.array("c", (T + 1, B, H), projected.dtype)
        tanh_c = workspace.array("tanh_c", (T, B, H), projected.dtype)
        a = workspace.array("a", (4, B, H), projected.dtype)
        ig = workspace.array("ig", (B, H), projected.dtype)
        h[0], c[0] = state
        gates = projected  # [4, T, B, H]: becomes i, f, o, g in place
        for t in range(T):
            # a_t = projected_t + h_{t-1} Wh
            i, f, o, g = now = gates[:, t]
            np.matmul(h[t], Wh, a)
            np.add(a, now, a)
            # i, f, o = sigmoid(a[:3]);  g = tanh(a[3])
            sigmoid(a[:3], now[:3])
            np.tanh(a[3], g)
            # c_t = f * c_{t-1} + i * g
            np.multiply(f, c[t], c[t + 1])
            np.multiply(i, g, ig)
            np.add(c[t + 1], ig, c[t + 1])
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
    ) -> tuple[Sequence[Array] | Array, State]:
        """See `Cell.backward`."""
        T, B, H = dh.shape
        WhT = transposed(parameters["Wh"], workspace)
        da = workspace.array("da", (4, T, B, H), dh.dtype)  # [4, T, B, H]
        slope = workspace.array("slope", (3, B, H), dh.dtype)
        back = workspace.array("back", (4, B, H), dh.dtype)
        dh_t, dc_t = dstate[0].copy(), dstate[1].copy()  # [B, H], from the steps after t
        scratch = np.empty_like(dh_t)
        for t in reversed(range(T)):
            i, f, o, g = gates = tape.gates[:, t]
            di, df, do, dg = now = da[:, t]
            tanh_c = tape.tanh_c[t]
            # forward was h_t = o * tanh(c_t)
            np.add(dh_t, dh[t], dh_t)
            np.multiply(dh_t, tanh_c, do)
            np.multiply(tanh_c, tanh_c, scratch)
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
            np.subtract(1.0, gates[:3], slope)
            np.multiply(slope, gates[:3], slope)
            np.multiply(now[:3], slope, now[:3])
            # forward was g = tanh(a): da = dg * (1 - g²)
            np.multiply(g, g, scratch)
            np.subtract(1.0, scratch, scratch)
            np.multiply(dg, scratch, dg)
            # forward was a_t = projected_t + h_{t-1} Wh
            np.matmul(now, WhT, back)
            np.add.reduce(back, axis=0, out=dh_t)
        accumulate_recurrent(gradients["Wh"], tape.h, da)
        return da, (dh_t, dc_t)
