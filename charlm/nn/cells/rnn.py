"""The vanilla (Elman) recurrent network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from charlm.nn.cells.contract import Cell, State
from charlm.nn.parameters import Array
from charlm.nn.workspace import Workspace


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    h: Array
    """`[T+1, B, H]`: the state before the window, then after each step."""


class RNN(Cell):
    """`h_t = tanh(x_t Wx + h_{t-1} Wh + b)`.

    Elman 1990. G = 1.
    """

    gates = 1

    def forward(
        self, parameters: Mapping[str, Array], projected: Array, state: State, workspace: Workspace
    ) -> tuple[Array, State, Tape]:
        """See `Cell.forward`."""
        T, B, H = projected.shape
        Wh = parameters["Wh"]
        h = workspace.array("h", (T + 1, B, H), projected.dtype)  # [T+1, B, H]
        h[0] = state[0]
        for t in range(T):
            # h_t = tanh(projected_t + h_{t-1} Wh)
            np.matmul(h[t], Wh, h[t + 1])
            np.add(h[t + 1], projected[t], h[t + 1])
            np.tanh(h[t + 1], h[t + 1])
        return h[1:], (h[T],), Tape(h)

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
        h = tape.h
        da = workspace.array("da", (T, B, H), dh.dtype)  # [T, B, H], a = what tanh is taken of
        dh_next = dstate[0].copy()  # [B, H], from the steps after t
        slope = np.empty_like(dh_next)
        for t in reversed(range(T)):
            # forward was h_t = tanh(a_t), so da_t = (dh_t + what came back from t+1) (1 - h_t²)
            np.add(dh_next, dh[t], dh_next)
            np.multiply(h[t + 1], h[t + 1], slope)
            np.subtract(1.0, slope, slope)
            np.multiply(dh_next, slope, da[t])
            np.matmul(da[t], WhT, dh_next)
        # forward was a_t = projected_t + h_{t-1} Wh
        gradients["Wh"][...] += h[:-1].reshape(T * B, H).T @ da.reshape(T * B, H)
        return da, (dh_next,)
