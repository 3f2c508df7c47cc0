"""Both forms of the GRU over a window; their equations are in `cells/gru.py`."""

from collections.abc import Callable

import numpy as np

from charlm.arrays import Array
from charlm.nn.kernels.fused import Window, recurrent_gradients
from charlm.nn.matmul import column_sums
from charlm.nn.parameters import Params
from charlm.nn.workspace import Memory


class GRUAfterWindow(Window):
    """The reset gate acts after the recurrent product; saves `u = h_{t-1} Wh_n + bn`."""

    saves = True

    def stepper(self, memory: Memory) -> Callable[[int], None]:
        gates, u, (h,), sigmoid = self.a, self.saved, self.states, self.tuning.sigmoid  # a becomes r, z, n
        _, T, B, H = gates.shape
        Wh, bn = self.tiled(self.params["Wh"], memory, "Wh", same_rows=True), self.params["bn"]
        sums = memory.array("sums", (3, B, H), gates.dtype)
        rows, products = Wh.row_blocks(h), Wh.in_tiles(sums)
        sums_rz, sums_n = sums[:2], sums[2]
        product = memory.array("product", (B, H), gates.dtype)
        # views of every step, made once: for a single character they take a twelfth of the time
        views = [(gates[:2, t], *gates[:, t], u[t], h[t], h[t + 1]) for t in range(T)]

        def step(t: int) -> None:
            rz, r, z, n, u_t, h_prev, h_t = views[t]
            np.matmul(rows[t], Wh.tiles, products)
            # r, z = sigmoid(a_t + h_{t-1} Wh)
            np.add(sums_rz, rz, sums_rz)
            sigmoid(sums_rz, rz)
            # u = h_{t-1} Wh_n + bn;  n = tanh(a_t + r * u)
            np.add(sums_n, bn, u_t)
            np.multiply(r, u_t, product)
            np.add(n, product, n)
            np.tanh(n, n)
            # h_t = (1 - z) * n + z * h_{t-1} = n + z * (h_{t-1} - n)
            np.subtract(h_prev, n, product)
            np.multiply(z, product, product)
            np.add(n, product, h_t)

        return step

    def backward(self, grads: Params, doutput: Array, dstate: Array) -> Array:
        T, B, H = doutput.shape
        (h,), gates = self.states, self.a
        u = du = self.saved  # the gradient replaces it
        dstate_before = dstate.copy()
        (dh_t,) = dstate_before  # [B, H], from the steps after t
        dh_direct = np.empty_like(dh_t)
        with self.workspace.scratch() as scratch:
            WhT = self.tiled(self.params["Wh"].swapaxes(1, 2), scratch, "Wh")
            back = scratch.array("back", (3, B, H), doutput.dtype)
            products = WhT.in_tiles(back)
            rows_rz, rows_n = WhT.row_blocks(gates[:2]), WhT.row_blocks(du)
            for block, slopes in self.blocks(scratch):
                # the factor of each gradient does not recur: a block at a time
                _slopes(h, gates, block, slopes)
                # forward: n = tanh(a_n + r * u), r = sigmoid(…): da_r = da_n u r (1 - r)
                np.multiply(slopes[0], u[block], slopes[0])
                for t in reversed(range(block.start, block.stop)):
                    slope_r, slope_z, slope_n = slopes[:, t - block.start]
                    r, z, _ = da_r, da_z, da_n = gates[:, t]
                    np.add(dh_t, doutput[t], dh_t)
                    np.multiply(slope_n, dh_t, da_n)
                    np.multiply(r, da_n, du[t])
                    # forward: h_t = … + z * h_{t-1}
                    np.multiply(dh_t, z, dh_direct)
                    # r and z are used up: their gradients replace them
                    np.multiply(slope_z, dh_t, da_z)
                    np.multiply(slope_r, da_n, da_r)
                    # forward: u = h_{t-1} Wh_n + bn;  r, z = sigmoid(a_t + h_{t-1} Wh)
                    np.matmul(rows_rz[:, t], WhT.tiles[:2], products[:2])
                    np.matmul(rows_n[t], WhT.tiles[2], products[2])
                    np.add.reduce(back, axis=0, out=dh_t)
                    np.add(dh_t, dh_direct, dh_t)
        recurrent_gradients(grads["Wh"], h, [*gates[:2], du])
        column_sums(du.reshape(T * B, H), grads["bn"])
        return dstate_before


class GRUBeforeWindow(Window):
    """The reset gate acts before the recurrent product; saves `s = r * h_{t-1}`."""

    saves = True

    def stepper(self, memory: Memory) -> Callable[[int], None]:
        gates, s, (h,), sigmoid = self.a, self.saved, self.states, self.tuning.sigmoid  # a becomes r, z, n
        _, _, B, H = gates.shape
        Wh = self.params["Wh"]
        Wh_rz, Wh_n = self.tiled(Wh[:2], memory, "Wh_rz", same_rows=True), self.tiled(Wh[2:], memory, "Wh_n")
        sums = memory.array("sums", (2, B, H), gates.dtype)
        product = memory.array("product", (B, H), gates.dtype)
        products, product_n = Wh_rz.in_tiles(sums), Wh_n.in_tiles(product)
        rows, rows_s = Wh_rz.row_blocks(h), Wh_n.row_blocks(s)
        tiles_n = Wh_n.tiles[0]  # of the only gate

        def step(t: int) -> None:
            r, z, n = a_t = gates[:, t]
            # r, z = sigmoid(a_t + h_{t-1} Wh_rz)
            np.matmul(rows[t], Wh_rz.tiles, products)
            np.add(sums, a_t[:2], sums)
            sigmoid(sums, a_t[:2])
            # n = tanh(a_t + (r * h_{t-1}) Wh_n)
            np.multiply(r, h[t], s[t])
            np.matmul(rows_s[t], tiles_n, product_n)
            np.add(n, product, n)
            np.tanh(n, n)
            # h_t = (1 - z) * n + z * h_{t-1} = n + z * (h_{t-1} - n)
            np.subtract(h[t], n, product)
            np.multiply(z, product, product)
            np.add(n, product, h[t + 1])

        return step

    def backward(self, grads: Params, doutput: Array, dstate: Array) -> Array:
        T, B, H = doutput.shape
        (h,), gates, s = self.states, self.a, self.saved
        dstate_before = dstate.copy()
        (dh_t,) = dstate_before  # [B, H], from the steps after t
        dh_direct, ds, product = (np.empty_like(dh_t) for _ in range(3))
        with self.workspace.scratch() as scratch:
            WhT = self.tiled(self.params["Wh"].swapaxes(1, 2), scratch, "Wh")
            back = scratch.array("back", (2, B, H), doutput.dtype)
            products, product_n = WhT.in_tiles(back), WhT.in_tiles(ds)
            rows_rz, rows_n = WhT.row_blocks(gates[:2]), WhT.row_blocks(gates[2])
            for block, slopes in self.blocks(scratch):
                # the factor of each gradient does not recur: a block at a time
                _slopes(h, gates, block, slopes)
                # forward: s = r * h_{t-1}, r = sigmoid(…): da_r = ds h_{t-1} r (1 - r)
                np.multiply(slopes[0], h[block], slopes[0])
                for t in reversed(range(block.start, block.stop)):
                    slope_r, slope_z, slope_n = slopes[:, t - block.start]
                    r, z, _ = da_r, da_z, da_n = gates[:, t]
                    np.add(dh_t, doutput[t], dh_t)
                    np.multiply(slope_n, dh_t, da_n)
                    # forward: n = tanh(a_n + s Wh_n)
                    np.matmul(rows_n[t], WhT.tiles[2], product_n)
                    # forward: h_t = … + z * h_{t-1};  s = r * h_{t-1}
                    np.multiply(dh_t, z, dh_direct)
                    np.multiply(ds, r, product)
                    np.add(dh_direct, product, dh_direct)
                    # r and z are used up: their gradients replace them
                    np.multiply(slope_z, dh_t, da_z)
                    np.multiply(slope_r, ds, da_r)
                    # forward: r, z = sigmoid(a_t + h_{t-1} Wh_rz)
                    np.matmul(rows_rz[:, t], WhT.tiles[:2], products)
                    np.add(back[0], back[1], dh_t)
                    np.add(dh_t, dh_direct, dh_t)
        recurrent_gradients(grads["Wh"][:2], h, gates[:2])
        np.matmul(s.reshape(T * B, H).T, gates[2].reshape(T * B, H), grads["Wh"][2])
        return dstate_before


def _slopes(h: Array, gates: Array, block: slice, slopes: Array) -> None:
    """Write the factors of the gradients at r, z and n in a block of steps to `slopes [3, steps, B, H]`.

    Forward is `h_t = (1 - z) * n + z * h_{t-1}`, `n = tanh(a_n)`, `r, z = sigmoid(a)`, so that
    `da_n = dh (1 - z) (1 - n²)`, `da_z = dh (h_{t-1} - n) z (1 - z)`, and `da_r` has `r (1 - r)`.
    """
    r, z, n = gates[:, block]
    slope_r, slope_z, slope_n = slopes
    # 1 - z is a factor of two of them
    np.subtract(1.0, z, slope_z)
    np.multiply(n, n, slope_n)
    np.subtract(1.0, slope_n, slope_n)
    np.multiply(slope_n, slope_z, slope_n)
    np.multiply(slope_z, z, slope_z)
    np.subtract(h[block], n, slope_r)
    np.multiply(slope_z, slope_r, slope_z)
    np.subtract(1.0, r, slope_r)
    np.multiply(slope_r, r, slope_r)
