"""The LSTM over a window; its equations are in `cells/lstm.py`."""

from collections.abc import Callable

import numpy as np

from charlm.arrays import Array
from charlm.nn.kernels.fused import Window, recurrent_gradients
from charlm.nn.parameters import Params
from charlm.nn.workspace import Memory


class LSTMWindow(Window):
    """The gates i, f, o in one call; g last, so that the three are one block. Saves `tanh(c_t)`."""

    saves = True

    def stepper(self, memory: Memory) -> Callable[[int], None]:
        a, tanh_c, (h, c) = self.a, self.saved, self.states
        _, _, B, H = a.shape
        sums, ig = memory.array("sums", (4, B, H), a.dtype), memory.array("ig", (B, H), a.dtype)
        Wh = self.tiled(self.params["Wh"], memory, "Wh", same_rows=True)
        products = Wh.in_tiles(sums)
        gates = a  # [4, T, B, H]: becomes i, f, o, g in place
        sums_ifo, sums_g, sigmoid = sums[:3], sums[3], self.tuning.sigmoid
        # views of every step, made at once: half the time of one by one
        a_at, ifo_at = list(gates.swapaxes(0, 1)), list(gates[:3].swapaxes(0, 1))
        rows_at, h_at, c_at, tanh_c_at = list(Wh.row_blocks(h)), list(h), list(c), list(tanh_c)

        def step(t: int) -> None:
            a_t, c_t, tanh_c_t = a_at[t], c_at[t + 1], tanh_c_at[t]
            i, f, o, g = a_t
            np.matmul(rows_at[t], Wh.tiles, products)
            np.add(sums, a_t, sums)
            # i, f, o = sigmoid(a_t + h_{t-1} Wh);  g = tanh(…)
            sigmoid(sums_ifo, ifo_at[t])
            np.tanh(sums_g, g)
            # c_t = f * c_{t-1} + i * g
            np.multiply(f, c_at[t], c_t)
            np.multiply(i, g, ig)
            np.add(c_t, ig, c_t)
            # h_t = o * tanh(c_t)
            np.tanh(c_t, tanh_c_t)
            np.multiply(o, tanh_c_t, h_at[t + 1])

        return step

    def backward(self, grads: Params, doutput: Array, dstate: Array) -> Array:
        _, B, H = doutput.shape
        (h, c), gates, tanh_c = self.states, self.a, self.saved
        dh_t, dc_t = dstate[0].copy(), dstate[1].copy()  # [B, H], from the steps after t
        product = np.empty_like(dh_t)
        # views of every step, made at once: half the time of one by one
        f_at, da_if_at = list(gates[1]), list(gates[:2].swapaxes(0, 1))
        da_o_at, da_g_at = list(gates[2]), list(gates[3])
        dh_at, dc_from_dh_at = list(doutput), list(tanh_c)
        with self.workspace.scratch() as scratch:
            WhT = self.tiled(self.params["Wh"].swapaxes(1, 2), scratch, "Wh")
            back = scratch.array("back", (4, B, H), doutput.dtype)
            rows_at, products = list(WhT.row_blocks(gates.swapaxes(0, 1))), WhT.in_tiles(back)
            for block, slopes in self.blocks(scratch):
                # the factor of each gate's gradient does not recur: a block at a time
                i, _, o, g = gates[:, block]
                slope_i, slope_f, slope_o, slope_g = slopes
                # forward: i, f, o = sigmoid(…): slope s (1 - s);  g = tanh(…): slope 1 - g²
                np.subtract(1.0, gates[:3, block], slopes[:3])
                np.multiply(slopes[:3], gates[:3, block], slopes[:3])
                np.multiply(g, g, slope_g)
                np.subtract(1.0, slope_g, slope_g)
                # forward: c_t = f * c_{t-1} + i * g;  h_t = o * tanh(c_t)
                np.multiply(slope_i, g, slope_i)
                np.multiply(slope_f, c[block], slope_f)
                np.multiply(slope_o, tanh_c[block], slope_o)
                np.multiply(slope_g, i, slope_g)
                # dc_t gets dh_t o (1 - tanh(c_t)²)
                dc_from_dh = tanh_c[block]
                np.multiply(dc_from_dh, dc_from_dh, dc_from_dh)
                np.subtract(1.0, dc_from_dh, dc_from_dh)
                np.multiply(dc_from_dh, o, dc_from_dh)
                slope_if_at = list(slopes[:2].swapaxes(0, 1))
                for t in reversed(range(block.start, block.stop)):
                    n = t - block.start
                    # dh_t and dc_t: from above, and from the steps after
                    np.add(dh_t, dh_at[t], dh_t)
                    np.multiply(dh_t, dc_from_dh_at[t], product)
                    np.add(dc_t, product, dc_t)
                    # forward: c_t = f * c_{t-1} + …: for the step before, before da_f replaces f
                    np.multiply(dc_t, f_at[t], product)
                    # i, f and g were reached through c_t, o through h_t
                    np.multiply(slope_if_at[n], dc_t, da_if_at[t])
                    np.multiply(slope_o[n], dh_t, da_o_at[t])
                    np.multiply(slope_g[n], dc_t, da_g_at[t])
                    dc_t, product = product, dc_t
                    # forward: … = a_t + h_{t-1} Wh
                    np.matmul(rows_at[t], WhT.tiles, products)
                    np.add.reduce(back, axis=0, out=dh_t)
        recurrent_gradients(grads["Wh"], h, gates)
        return np.stack([dh_t, dc_t])
