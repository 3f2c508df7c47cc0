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
        gates, tanh_c, (h, c), sigmoid = self.a, self.saved, self.states, self.tuning.sigmoid
        _, T, B, H = gates.shape  # a becomes i, f, o, g in place
        sums, ig = memory.array("sums", (4, B, H), gates.dtype), memory.array("ig", (B, H), gates.dtype)
        Wh = self.tiled(self.params["Wh"], memory, "Wh", same_rows=True)
        rows, products = Wh.row_blocks(h), Wh.in_tiles(sums)
        sums_ifo, sums_g = sums[:3], sums[3]
        # views of every step, made once: for a single character they take a twelfth of the time
        views = [
            (gates[:, t], gates[:3, t], *gates[:, t], c[t], c[t + 1], tanh_c[t], h[t + 1]) for t in range(T)
        ]

        def step(t: int) -> None:
            a_t, ifo, i, f, o, g, c_prev, c_t, tanh_c_t, h_t = views[t]
            np.matmul(rows[t], Wh.tiles, products)
            np.add(sums, a_t, sums)
            # i, f, o = sigmoid(a_t + h_{t-1} Wh);  g = tanh(…)
            sigmoid(sums_ifo, ifo)
            np.tanh(sums_g, g)
            # c_t = f * c_{t-1} + i * g
            np.multiply(f, c_prev, c_t)
            np.multiply(i, g, ig)
            np.add(c_t, ig, c_t)
            # h_t = o * tanh(c_t)
            np.tanh(c_t, tanh_c_t)
            np.multiply(o, tanh_c_t, h_t)

        return step

    def backward(self, grads: Params, doutput: Array, dstate: Array) -> Array:
        _, B, H = doutput.shape
        (h, c), gates, tanh_c = self.states, self.a, self.saved
        dh_t, dc_t = dstate[0].copy(), dstate[1].copy()  # [B, H], from the steps after t
        product = np.empty_like(dh_t)
        with self.workspace.scratch() as scratch:
            WhT = self.tiled(self.params["Wh"].swapaxes(1, 2), scratch, "Wh")
            back = scratch.array("back", (4, B, H), doutput.dtype)
            rows, products = WhT.row_blocks(gates.swapaxes(0, 1)), WhT.in_tiles(back)
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
                for t in reversed(range(block.start, block.stop)):
                    n = t - block.start
                    f, da_if, da_o, da_g = gates[1, t], gates[:2, t], gates[2, t], gates[3, t]
                    # dh_t and dc_t: from above, and from the steps after
                    np.add(dh_t, doutput[t], dh_t)
                    np.multiply(dh_t, dc_from_dh[n], product)
                    np.add(dc_t, product, dc_t)
                    # forward: c_t = f * c_{t-1} + …: for the step before, before da_f replaces f
                    np.multiply(dc_t, f, product)
                    # i, f and g were reached through c_t, o through h_t
                    np.multiply(slopes[:2, n], dc_t, da_if)
                    np.multiply(slope_o[n], dh_t, da_o)
                    np.multiply(slope_g[n], dc_t, da_g)
                    dc_t, product = product, dc_t
                    # forward: … = a_t + h_{t-1} Wh
                    np.matmul(rows[t], WhT.tiles, products)
                    np.add.reduce(back, axis=0, out=dh_t)
        recurrent_gradients(grads["Wh"], h, gates)
        return np.stack([dh_t, dc_t])
