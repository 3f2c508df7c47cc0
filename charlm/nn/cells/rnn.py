"""The vanilla (Elman) recurrent network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array
from charlm.nn.cells.contract import Cell, State, recurrent_gradients
from charlm.nn.matmul import in_tiles, tiled
from charlm.nn.workspace import Workspace


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    states: tuple[Array]
    """h `[T+1, B, H]`: before the window, then after each step."""
    gates: Array
    """`[1, T, B, H]`: the place of `projected`; backward leaves its gradient here."""


class RNN(Cell):
    """`h_t = tanh(x_t Wx + h_{t-1} Wh + b)`.

    Elman 1990. G = 1.
    """

    gates = 1

    def window(
        self, parameters: Mapping[str, Array], projected: Array, workspace: Workspace
    ) -> tuple[Tape, Callable[[int], None]]:
        """See `Cell.window`."""
        _, T, B, H = projected.shape
        h = workspace.array("h", (T + 1, B, H), projected.dtype)  # [T+1, B, H]
        Wh = tiled(parameters["Wh"], B, T, workspace)[0]
        # views of every step, made at once, which takes half the time of one by one
        at, products, projections = list(h), list(in_tiles(h[1:], Wh.shape[-1])), list(projected[0])

        def step(t: int) -> None:
            h_t = at[t + 1]
            # h_t = tanh(projected_t + h_{t-1} Wh)
            np.matmul(at[t], Wh, products[t])
            np.add(h_t, projections[t], h_t)
            np.tanh(h_t, h_t)

        return Tape((h,), projected), step

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
        T, B, _ = dh.shape
        WhT = tiled(parameters["Wh"].swapaxes(1, 2), B, T, workspace)[0]
        (h,) = tape.states
        gates = tape.gates
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
