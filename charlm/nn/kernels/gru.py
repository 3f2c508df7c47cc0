"""Both forms of the GRU over a window; their equations are in `cells/gru.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array
from charlm.nn.activations import sigmoid_into
from charlm.nn.kernels.kernel import Kernel, block_steps, blocks, recurrent_gradients
from charlm.nn.matmul import column_sums, tiled
from charlm.nn.parameters import Params
from charlm.nn.workspace import Scratch, Workspace


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    h: Array
    """`[T+1, B, H]`: before the window, then after each step."""
    gates: Array
    """`[3, T, B, H]`: r, z, n; backward writes their gradients here."""
    reset: Array
    """`[T, B, H]`: `h_{t-1} Wh_n + bn` (after) or `r * h_{t-1}` (before); may be overwritten."""


class GRUAfterKernel(Kernel[Tape]):
    """The reset gate acts after the recurrent product."""

    def prepare(
        self, params: Params, a: Array, states: Array, workspace: Workspace, scratch: Scratch
    ) -> tuple[Tape, Callable[[int], None]]:
        """See `Kernel.prepare`."""
        _, T, B, H = a.shape
        Wh, bn = tiled(params["Wh"], B, T, scratch, "Wh", same_rows=True), params["bn"]
        (h,) = states
        inner = workspace.array("inner", (T, B, H), a.dtype)  # u_n + bn
        u = scratch.array("sums", (3, B, H), a.dtype)
        rows, products = Wh.row_blocks(h), Wh.in_tiles(u)
        u_rz, u_n = u[:2], u[2]
        product = scratch.array("product", (B, H), a.dtype)
        gates = a  # [3, T, B, H]: becomes r, z, n in place

        def step(t: int) -> None:
            r, z, n = a_t = gates[:, t]
            np.matmul(rows[t], Wh.tiles, products)
            # r, z = sigmoid(a_t + u)
            np.add(u_rz, a_t[:2], u_rz)
            sigmoid_into(u_rz, a_t[:2])
            # n = tanh(a_t + r * (u_n + bn))
            np.add(u_n, bn, inner[t])
            np.multiply(r, inner[t], product)
            np.add(n, product, n)
            np.tanh(n, n)
            # h_t = (1 - z) * n + z * h_{t-1} = n + z * (h_{t-1} - n)
            np.subtract(h[t], n, product)
            np.multiply(z, product, product)
            np.add(n, product, h[t + 1])

        return Tape(h, gates, inner), step

    def backward(
        self, params: Params, grads: Params, tape: Tape, dh: Array, dstate: Array, workspace: Workspace
    ) -> tuple[Array, Array]:
        """See `Kernel.backward`."""
        T, B, H = dh.shape
        gates = tape.gates
        du_n = tape.reset  # gradient at u_n, in the memory of u_n + bn
        dh_t = dstate[0].copy()  # [B, H], from the steps after t
        dh_direct = np.empty_like(dh_t)
        size = 3 * B * H
        with workspace.scratch() as scratch:
            WhT = tiled(params["Wh"].swapaxes(1, 2), B, T, scratch, "Wh")
            back = scratch.array("back", (3, B, H), dh.dtype)
            products = WhT.in_tiles(back)
            rows_rz, rows_n = WhT.row_blocks(gates[:2]), WhT.row_blocks(du_n)
            all_slopes = scratch.array("slopes", (3 * block_steps(T, size), B, H), dh.dtype)
            for block in blocks(T, size):
                # what each gradient is multiplied by does not recur: a block at a time
                slopes = _slopes(tape, block, all_slopes)
                # forward was n = tanh(a_n + r * inner), r = sigmoid(…): da_r = da_n inner r (1 - r)
                np.multiply(slopes[0], tape.reset[block], slopes[0])
                for t in reversed(range(block.start, block.stop)):
                    slope_r, slope_z, slope_n = slopes[:, t - block.start]
                    r, z, _ = da_r, da_z, da_n = gates[:, t]
                    np.add(dh_t, dh[t], dh_t)
                    np.multiply(slope_n, dh_t, da_n)
                    np.multiply(r, da_n, du_n[t])
                    # forward was h_t = … + z * h_{t-1}
                    np.multiply(dh_t, z, dh_direct)
                    # r and z are not needed any more: their gradients replace them
                    np.multiply(slope_z, dh_t, da_z)
                    np.multiply(slope_r, da_n, da_r)
                    # forward was u_t = h_{t-1} Wh
                    np.matmul(rows_rz[:, t], WhT.tiles[:2], products[:2])
                    np.matmul(rows_n[t], WhT.tiles[2], products[2])
                    np.add.reduce(back, axis=0, out=dh_t)
                    np.add(dh_t, dh_direct, dh_t)
        recurrent_gradients(grads["Wh"], tape.h, [*gates[:2], du_n])
        column_sums(du_n.reshape(T * B, H), grads["bn"])
        return gates, dh_t[None]


class GRUBeforeKernel(Kernel[Tape]):
    """The reset gate acts before the recurrent product."""

    def prepare(
        self, params: Params, a: Array, states: Array, workspace: Workspace, scratch: Scratch
    ) -> tuple[Tape, Callable[[int], None]]:
        """See `Kernel.prepare`."""
        _, T, B, H = a.shape
        Wh_rz = tiled(params["Wh"][:2], B, T, scratch, "Wh_rz", same_rows=True)
        Wh_n = tiled(params["Wh"][2:], B, T, scratch, "Wh_n")
        (h,) = states
        kept = workspace.array("kept", (T, B, H), a.dtype)  # r * h_{t-1}
        sums = scratch.array("sums", (2, B, H), a.dtype)
        product = scratch.array("product", (B, H), a.dtype)
        products, product_n = Wh_rz.in_tiles(sums), Wh_n.in_tiles(product)
        rows, rows_kept = Wh_rz.row_blocks(h), Wh_n.row_blocks(kept)
        tiles_n = Wh_n.tiles[0]  # of the only gate
        gates = a  # [3, T, B, H]: becomes r, z, n in place

        def step(t: int) -> None:
            r, z, n = a_t = gates[:, t]
            # r, z = sigmoid(a_t + h_{t-1} Wh_rz)
            np.matmul(rows[t], Wh_rz.tiles, products)
            np.add(sums, a_t[:2], sums)
            sigmoid_into(sums, a_t[:2])
            # n = tanh(a_t + (r * h_{t-1}) Wh_n)
            np.multiply(r, h[t], kept[t])
            np.matmul(rows_kept[t], tiles_n, product_n)
            np.add(n, product, n)
            np.tanh(n, n)
            # h_t = (1 - z) * n + z * h_{t-1} = n + z * (h_{t-1} - n)
            np.subtract(h[t], n, product)
            np.multiply(z, product, product)
            np.add(n, product, h[t + 1])

        return Tape(h, gates, kept), step

    def backward(
        self, params: Params, grads: Params, tape: Tape, dh: Array, dstate: Array, workspace: Workspace
    ) -> tuple[Array, Array]:
        """See `Kernel.backward`."""
        T, B, H = dh.shape
        gates = tape.gates
        dh_t = dstate[0].copy()  # [B, H], from the steps after t
        dh_direct, dkept, product = (np.empty_like(dh_t) for _ in range(3))
        size = 3 * B * H
        with workspace.scratch() as scratch:
            WhT = tiled(params["Wh"].swapaxes(1, 2), B, T, scratch, "Wh")
            back = scratch.array("back", (2, B, H), dh.dtype)
            products, product_n = WhT.in_tiles(back), WhT.in_tiles(dkept)
            rows_rz, rows_n = WhT.row_blocks(gates[:2]), WhT.row_blocks(gates[2])
            all_slopes = scratch.array("slopes", (3 * block_steps(T, size), B, H), dh.dtype)
            for block in blocks(T, size):
                # what each gradient is multiplied by does not recur: a block at a time
                slopes = _slopes(tape, block, all_slopes)
                # forward was kept = r * h_{t-1}, r = sigmoid(…): da_r = dkept h_{t-1} r (1 - r)
                np.multiply(slopes[0], tape.h[block], slopes[0])
                for t in reversed(range(block.start, block.stop)):
                    slope_r, slope_z, slope_n = slopes[:, t - block.start]
                    r, z, _ = da_r, da_z, da_n = gates[:, t]
                    np.add(dh_t, dh[t], dh_t)
                    np.multiply(slope_n, dh_t, da_n)
                    # forward was n = tanh(a_n + kept Wh_n)
                    np.matmul(rows_n[t], WhT.tiles[2], product_n)
                    # forward was h_t = … + z * h_{t-1};  kept = r * h_{t-1}
                    np.multiply(dh_t, z, dh_direct)
                    np.multiply(dkept, r, product)
                    np.add(dh_direct, product, dh_direct)
                    # r and z are not needed any more: their gradients replace them
                    np.multiply(slope_z, dh_t, da_z)
                    np.multiply(slope_r, dkept, da_r)
                    # forward was r, z = sigmoid(a_t + h_{t-1} Wh_rz)
                    np.matmul(rows_rz[:, t], WhT.tiles[:2], products)
                    np.add(back[0], back[1], dh_t)
                    np.add(dh_t, dh_direct, dh_t)
        recurrent_gradients(grads["Wh"][:2], tape.h, gates[:2])
        np.matmul(tape.reset.reshape(T * B, H).T, gates[2].reshape(T * B, H), grads["Wh"][2])
        return gates, dh_t[None]


def _slopes(tape: Tape, block: slice, memory: Array) -> Array:
    """What the gradients at r, z and n of a block of steps are multiplied by, `[3, steps, B, H]`.

    Forward was `h_t = (1 - z) * n + z * h_{t-1}`, `n = tanh(a_n)`, `r, z = sigmoid(a)`, so that
    `da_n = dh (1 - z) (1 - n²)`, `da_z = dh (h_{t-1} - n) z (1 - z)`, and `da_r` has `r (1 - r)`.
    """
    r, z, n = gates = tape.gates[:, block]
    _, steps, B, H = gates.shape
    slope_r, slope_z, slope_n = slopes = memory[: 3 * steps].reshape(3, steps, B, H)
    # 1 - z is a factor of two of them
    np.subtract(1.0, z, slope_z)
    np.multiply(n, n, slope_n)
    np.subtract(1.0, slope_n, slope_n)
    np.multiply(slope_n, slope_z, slope_n)
    np.multiply(slope_z, z, slope_z)
    np.subtract(tape.h[block], n, slope_r)
    np.multiply(slope_z, slope_r, slope_z)
    np.subtract(1.0, r, slope_r)
    np.multiply(slope_r, r, slope_r)
    return slopes
