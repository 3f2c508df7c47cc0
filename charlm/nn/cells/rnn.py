"""The vanilla (Elman) recurrent network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from charlm.nn.cells.contract import Cell, State, recurrent_gradients
from charlm.nn.parameters import Array
from charlm.nn.tiles import in_tiles, tiled
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
        _, T, B, H = projected.shape
        h = workspace.array("h", (T + 1, B, H), projected.dtype)  # [T+1, B, H]
        Wh = tiled(parameters["Wh"], B, T, workspace)[0]
        products = in_tiles(h[1:], Wh.shape[-1])
        h[0] = state[0]
        for before, product, a, after in zip(h, products, projected[0], h[1:], strict=False):
            # h_t = tanh(projected_t + h_{t-1} Wh)
            np.matmul(before, Wh, product)
            np.add(after, a, after)
            np.tanh(after, after)
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
        WhT = tiled(parameters["Wh"].swapaxes(1, 2), B, T, workspace)[0]
        h = tape.h
        gates = workspace.array("da", (1, T, B, H), dh.dtype)
        da = gates[0]  # [T, B, H], a = what tanh is taken of
        # forward was h_t = tanh(a_t): its slope is 1 - h_t²
        np.multiply(h[1:], h[1:], da)
        np.subtract(1.0, da, da)
        dh_t = dstate[0].copy()  # [B, H], from the steps after t
        dh_before = in_tiles(dh_t, WhT.shape[-1])
        for t in reversed(range(T)):
            # da_t = (dh_t + what came back from t+1) (1 - h_t²)
            np.add(dh_t, dh[t], dh_t)
            np.multiply(dh_t, da[t], da[t])
            # forward was a_t = projected_t + h_{t-1} Wh
            np.matmul(da[t], WhT, dh_before)
        recurrent_gradients(gradients["Wh"], h, gates)
        return gates, (dh_t,)
