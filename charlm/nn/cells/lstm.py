"""The long short-term memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array
from charlm.nn.cells.contract import Cell, State, blocks, recurrent_gradients
from charlm.nn.matmul import in_tiles, tiled
from charlm.nn.ops import sigmoid
from charlm.nn.workspace import Workspace


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    states: tuple[Array, Array]
    """h and c, `[T+1, B, H]`: before the window, then after each step."""
    gates: Array
    """`[4, T, B, H]`: i, f, o, g, after their nonlinearities; backward leaves their gradients here."""
    tanh_c: Array
    """`[T, B, H]`; used up by backward."""


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

    def window(
        self, parameters: Mapping[str, Array], projected: Array, workspace: Workspace
    ) -> tuple[Tape, Callable[[int], None]]:
        """See `Cell.window`."""
        _, T, B, H = projected.shape
        h = workspace.array("h", (T + 1, B, H), projected.dtype)
        c = workspace.array("c", (T + 1, B, H), projected.dtype)
        tanh_c = workspace.array("tanh_c", (T, B, H), projected.dtype)
        a = workspace.array("a", (4, B, H), projected.dtype)
        ig = workspace.array("ig", (B, H), projected.dtype)
        Wh = tiled(parameters["Wh"], B, T, workspace)  # [4, n, H, w]
        product = in_tiles(a, Wh.shape[-1])
        gates = projected  # [4, T, B, H]: becomes i, f, o, g in place

        def step(t: int) -> None:
            i, f, o, g = now = gates[:, t]
            c_t = c[t + 1]
            # a_t = projected_t + h_{t-1} Wh
            np.matmul(h[t], Wh, product)
            np.add(a, now, a)
            # i, f, o = sigmoid(a[:3]);  g = tanh(a[3])
            sigmoid(a[:3], now[:3])
            np.tanh(a[3], g)
            # c_t = f * c_{t-1} + i * g
            np.multiply(f, c[t], c_t)
            np.multiply(i, g, ig)
            np.add(c_t, ig, c_t)
            # h_t = o * tanh(c_t)
            np.tanh(c_t, tanh_c[t])
            np.multiply(o, tanh_c[t], h[t + 1])

        return Tape((h, c), gates, tanh_c), step

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
        (h, c), gates, tanh_c = tape.states, tape.gates, tape.tanh_c
        WhT = tiled(parameters["Wh"].swapaxes(1, 2), B, T, workspace)
        back = workspace.array("back", (4, B, H), dh.dtype)
        product = in_tiles(back, WhT.shape[-1])
        dh_t, dc_t = dstate[0].copy(), dstate[1].copy()  # [B, H], from the steps after t
        scratch = np.empty_like(dh_t)
        for block in blocks(T, gates[:, 0].size):
            # what each gate's gradient is multiplied by does not recur: block by block, in the cache
            i, _, o, g = gates[:, block]
            slopes = workspace.array("slopes", (4, *i.shape), dh.dtype)
            # forward was i, f, o = sigmoid(a): slope s (1 - s);  g = tanh(a): slope 1 - g²
            np.subtract(1.0, gates[:3, block], slopes[:3])
            np.multiply(slopes[:3], gates[:3, block], slopes[:3])
            np.multiply(g, g, slopes[3])
            np.subtract(1.0, slopes[3], slopes[3])
            # forward was c_t = f * c_{t-1} + i * g;  h_t = o * tanh(c_t)
            np.multiply(slopes[0], g, slopes[0])
            np.multiply(slopes[1], c[block], slopes[1])
            np.multiply(slopes[2], tanh_c[block], slopes[2])
            np.multiply(slopes[3], i, slopes[3])
            to_c = tanh_c[block]  # from here on what dc_t gets of dh_t
            np.multiply(to_c, to_c, to_c)
            np.subtract(1.0, to_c, to_c)
            np.multiply(to_c, o, to_c)
            for t in reversed(range(block.start, block.stop)):
                slope, da_t = slopes[:, t - block.start], gates[:, t]
                # dh_t and dc_t: from above, and from the steps after
                np.add(dh_t, dh[t], dh_t)
                np.multiply(dh_t, tanh_c[t], scratch)
                np.add(dc_t, scratch, dc_t)
                # forward was c_t = f * c_{t-1} + …: for the step before, while f still stands there
                np.multiply(dc_t, da_t[1], scratch)
                # da_t: i, f and g were reached through c_t, o through h_t
                np.multiply(slope[:2], dc_t, da_t[:2])
                np.multiply(slope[2], dh_t, da_t[2])
                np.multiply(slope[3], dc_t, da_t[3])
                dc_t, scratch = scratch, dc_t
                # forward was a_t = projected_t + h_{t-1} Wh
                np.matmul(da_t[:, None], WhT, product)
                np.add.reduce(back, axis=0, out=dh_t)
        recurrent_gradients(gradients["Wh"], h, gates)
        return gates, (dh_t, dc_t)
