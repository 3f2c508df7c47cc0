"""The gated recurrent unit, with its reset gate in either of the two places in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array, Shape
from charlm.nn.cells.contract import Cell, State, blocks, recurrent_gradients
from charlm.nn.matmul import in_tiles, tiled
from charlm.nn.ops import column_sums, sigmoid
from charlm.nn.workspace import Workspace


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    states: tuple[Array]
    """h `[T+1, B, H]`: before the window, then after each step."""
    gates: Array
    """`[3, T, B, H]`: r, z, n, after their nonlinearities; backward leaves their gradients here."""
    reset: Array
    """`[T, B, H]`: what the reset gate acts on or makes; see each form. Backward may use it up."""


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

    def window(
        self, parameters: Mapping[str, Array], projected: Array, workspace: Workspace
    ) -> tuple[Tape, Callable[[int], None]]:
        """See `Cell.window`."""
        _, T, B, H = projected.shape
        Wh, bn = tiled(parameters["Wh"], B, T, workspace), parameters["bn"]
        h = workspace.array("h", (T + 1, B, H), projected.dtype)
        inner = workspace.array("inner", (T, B, H), projected.dtype)  # u + bn of the candidate
        u = workspace.array("u", (3, B, H), projected.dtype)
        product = in_tiles(u, Wh.shape[-1])
        scratch = workspace.array("scratch", (B, H), projected.dtype)
        gates = projected  # [3, T, B, H]: becomes r, z, n in place

        def step(t: int) -> None:
            r, z, n = now = gates[:, t]
            np.matmul(h[t], Wh, product)
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

        return Tape((h,), gates, inner), step

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
        WhT = tiled(parameters["Wh"].swapaxes(1, 2), B, T, workspace)
        gates = tape.gates
        du_n = tape.reset  # gradient at the candidate's recurrent product, in the place of u + bn
        back = workspace.array("back", (3, B, H), dh.dtype)
        product = in_tiles(back, WhT.shape[-1])
        dh_t = dstate[0].copy()  # [B, H], from the steps after t
        carried = np.empty_like(dh_t)
        for block in blocks(T, gates[:, 0].size):
            # what each gradient is multiplied by does not recur: block by block, in the cache
            slopes = _slopes(tape, block, workspace)
            # forward was n = tanh(projected + r * inner), r = sigmoid(…): dr = da_n inner r (1 - r)
            np.multiply(slopes[0], tape.reset[block], slopes[0])
            for t in reversed(range(block.start, block.stop)):
                to_r, to_z, to_n = slopes[:, t - block.start]
                r, z, da_n = da_t = gates[:, t]
                np.add(dh_t, dh[t], dh_t)
                np.multiply(to_n, dh_t, da_n)
                np.multiply(r, da_n, du_n[t])
                # forward was h_t = … + z * h_{t-1}
                np.multiply(dh_t, z, carried)
                # r and z have done their work: da_t takes their place
                np.multiply(to_z, dh_t, da_t[1])
                np.multiply(to_r, da_n, da_t[0])
                # forward was u_t = h_{t-1} Wh
                np.matmul(da_t[:2, None], WhT[:2], product[:2])
                np.matmul(du_n[t], WhT[2], product[2])
                np.add.reduce(back, axis=0, out=dh_t)
                np.add(dh_t, carried, dh_t)
        recurrent_gradients(gradients["Wh"], tape.states[0], [*gates[:2], du_n])
        column_sums(du_n.reshape(T * B, H), gradients["bn"])
        return gates, (dh_t,)


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

    def window(
        self, parameters: Mapping[str, Array], projected: Array, workspace: Workspace
    ) -> tuple[Tape, Callable[[int], None]]:
        """See `Cell.window`."""
        _, T, B, H = projected.shape
        Wh = tiled(parameters["Wh"], B, T, workspace)
        Wrz, Wn = Wh[:2], Wh[2]
        h = workspace.array("h", (T + 1, B, H), projected.dtype)
        kept = workspace.array("kept", (T, B, H), projected.dtype)  # r * h_{t-1}
        u = workspace.array("u", (2, B, H), projected.dtype)
        scratch = workspace.array("scratch", (B, H), projected.dtype)
        product, product_n = in_tiles(u, Wh.shape[-1]), in_tiles(scratch, Wh.shape[-1])
        gates = projected  # [3, T, B, H]: becomes r, z, n in place

        def step(t: int) -> None:
            r, z, n = now = gates[:, t]
            # r, z = sigmoid(projected + h_{t-1} Wrz)
            np.matmul(h[t], Wrz, product)
            np.add(u, now[:2], u)
            sigmoid(u, now[:2])
            # n = tanh(projected + (r * h_{t-1}) Wn)
            np.multiply(r, h[t], kept[t])
            np.matmul(kept[t], Wn, product_n)
            np.add(n, scratch, n)
            np.tanh(n, n)
            # h_t = (1 - z) * n + z * h_{t-1} = n + z * (h_{t-1} - n)
            np.subtract(h[t], n, scratch)
            np.multiply(z, scratch, scratch)
            np.add(n, scratch, h[t + 1])

        return Tape((h,), gates, kept), step

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
        WhT = tiled(parameters["Wh"].swapaxes(1, 2), B, T, workspace)
        gates = tape.gates
        back = workspace.array("back", (2, B, H), dh.dtype)
        product = in_tiles(back, WhT.shape[-1])
        dh_t = dstate[0].copy()  # [B, H], from the steps after t
        carried, dkept, scratch = (np.empty_like(dh_t) for _ in range(3))
        product_n = in_tiles(dkept, WhT.shape[-1])
        for block in blocks(T, gates[:, 0].size):
            # what each gradient is multiplied by does not recur: block by block, in the cache
            slopes = _slopes(tape, block, workspace)
            # forward was kept = r * h_{t-1}, r = sigmoid(…): dr = dkept h_{t-1} r (1 - r)
            np.multiply(slopes[0], tape.states[0][block], slopes[0])
            for t in reversed(range(block.start, block.stop)):
                to_r, to_z, to_n = slopes[:, t - block.start]
                r, z, da_n = da_t = gates[:, t]
                np.add(dh_t, dh[t], dh_t)
                np.multiply(to_n, dh_t, da_n)
                # forward was n = tanh(projected + kept Wn)
                np.matmul(da_n, WhT[2], product_n)
                # forward was h_t = … + z * h_{t-1};  kept = r * h_{t-1}
                np.multiply(dh_t, z, carried)
                np.multiply(dkept, r, scratch)
                np.add(carried, scratch, carried)
                # r and z have done their work: da_t takes their place
                np.multiply(to_z, dh_t, da_t[1])
                np.multiply(to_r, dkept, da_t[0])
                # forward was r, z = sigmoid(projected + h_{t-1} Wrz)
                np.matmul(da_t[:2, None], WhT[:2], product)
                np.add(back[0], back[1], dh_t)
                np.add(dh_t, carried, dh_t)
        recurrent_gradients(gradients["Wh"][:2], tape.states[0], gates[:2])
        np.matmul(tape.reset.reshape(T * B, H).T, gates[2].reshape(T * B, H), gradients["Wh"][2])
        return gates, (dh_t,)


def _slopes(tape: Tape, block: slice, workspace: Workspace) -> Array:
    """What the gradients at r, z and n of a block of steps are multiplied by, `[3, block, B, H]`.

    Forward was `h_t = (1 - z) * n + z * h_{t-1}`, `n = tanh(a_n)`, `r, z = sigmoid(a)`, so that
    `da_n = dh (1 - z) (1 - n²)`, `dz = dh (h_{t-1} - n) z (1 - z)`, and `dr` has `r (1 - r)`.
    """
    r, z, n = gates = tape.gates[:, block]
    to_r, to_z, to_n = slopes = workspace.array("slopes", gates.shape, gates.dtype)
    # 1 - z serves twice
    np.subtract(1.0, z, to_z)
    np.multiply(n, n, to_n)
    np.subtract(1.0, to_n, to_n)
    np.multiply(to_n, to_z, to_n)
    np.multiply(to_z, z, to_z)
    np.subtract(tape.states[0][block], n, to_r)
    np.multiply(to_z, to_r, to_z)
    np.subtract(1.0, r, to_r)
    np.multiply(to_r, r, to_r)
    return slopes
