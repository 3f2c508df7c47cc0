"""The vanilla RNN over a window; its equations are in `cells/rnn.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array
from charlm.nn.kernels.kernel import Kernel, recurrent_gradients
from charlm.nn.matmul import tiled
from charlm.nn.parameters import Params
from charlm.nn.workspace import Scratch, Workspace


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    h: Array
    """`[T+1, B, H]`: before the window, then after each step."""
    a: Array
    """`[1, T, B, H]`: memory for the gradient."""


class RNNKernel(Kernel[Tape]):
    """`h_t = tanh(a_t + h_{t-1} Wh)`."""

    def prepare(
        self, params: Params, a: Array, states: Array, workspace: Workspace, scratch: Scratch
    ) -> tuple[Tape, Callable[[int], None]]:
        """See `Kernel.prepare`."""
        _, T, B, _ = a.shape
        (h,) = states  # [T+1, B, H]
        Wh = tiled(params["Wh"], B, T, scratch, "Wh")
        Wh_0 = Wh.tiles[0]  # of the only gate
        # views of every step, made at once: half the time of one by one
        h_at, a_at = list(h), list(a[0])
        rows_at, products_at = list(Wh.row_blocks(h)), list(Wh.in_tiles(h[1:]))

        def step(t: int) -> None:
            h_t = h_at[t + 1]
            # h_t = tanh(a_t + h_{t-1} Wh)
            np.matmul(rows_at[t], Wh_0, products_at[t])
            np.add(h_t, a_at[t], h_t)
            np.tanh(h_t, h_t)

        return Tape(h, a), step

    def backward(
        self, params: Params, grads: Params, tape: Tape, dh: Array, dstate: Array, workspace: Workspace
    ) -> tuple[Array, Array]:
        """See `Kernel.backward`."""
        T, B, _ = dh.shape
        h, da = tape.h, tape.a[0]  # [T, B, H]
        # forward was h_t = tanh(…), whose slope is 1 - h_t²
        np.multiply(h[1:], h[1:], da)
        np.subtract(1.0, da, da)
        dh_t = dstate[0].copy()  # [B, H], from the steps after t
        with workspace.scratch() as scratch:
            WhT = tiled(params["Wh"].swapaxes(1, 2), B, T, scratch, "Wh")
            WhT_0, rows, dh_before = WhT.tiles[0], WhT.row_blocks(da), WhT.in_tiles(dh_t)
            for t in reversed(range(T)):
                # da_t = (dh_t + what came back from t+1) (1 - h_t²)
                np.add(dh_t, dh[t], dh_t)
                np.multiply(dh_t, da[t], da[t])
                # forward was … = a_t + h_{t-1} Wh
                np.matmul(rows[t], WhT_0, dh_before)
        recurrent_gradients(grads["Wh"], h, tape.a)
        return tape.a, dh_t[None]
