"""The RNN over a window; its equations are in `cells/rnn.py`."""

from collections.abc import Callable

import numpy as np

from charlm.arrays import Array
from charlm.nn.kernels.fused import Window, recurrent_gradients
from charlm.nn.parameters import Params
from charlm.nn.workspace import Memory


class RNNWindow(Window):
    """`h_t = tanh(a_t + h_{t-1} Wh)`."""

    def stepper(self, memory: Memory) -> Callable[[int], None]:
        (h,) = self.states  # [T+1, B, H]
        Wh = self.tiled(self.params["Wh"], memory, "Wh")
        Wh_0 = Wh.tiles[0]  # of the only gate
        # views of every step, made once: for a single character they take a twelfth of the time
        views = list(zip(self.a[0], Wh.row_blocks(h)[:-1], Wh.in_tiles(h[1:]), h[1:], strict=True))

        def step(t: int) -> None:
            a_t, row, product, h_t = views[t]
            # h_t = tanh(a_t + h_{t-1} Wh)
            np.matmul(row, Wh_0, product)
            np.add(h_t, a_t, h_t)
            np.tanh(h_t, h_t)

        return step

    def backward(self, grads: Params, doutput: Array, dstate: Array) -> Array:
        (h,), da = self.states, self.a[0]  # da [T, B, H]
        # forward: h_t = tanh(…), whose slope is 1 - h_t²
        np.multiply(h[1:], h[1:], da)
        np.subtract(1.0, da, da)
        dstate_before = dstate.copy()
        (dh_t,) = dstate_before  # [B, H], from the steps after t
        with self.workspace.scratch() as scratch:
            WhT = self.tiled(self.params["Wh"].swapaxes(1, 2), scratch, "Wh")
            WhT_0, rows, dh_prev = WhT.tiles[0], WhT.row_blocks(da), WhT.in_tiles(dh_t)
            for t in reversed(range(len(doutput))):
                # da_t = (dh_t + what came back from t+1) (1 - h_t²)
                np.add(dh_t, doutput[t], dh_t)
                np.multiply(dh_t, da[t], da[t])
                # forward: … = a_t + h_{t-1} Wh
                np.matmul(rows[t], WhT_0, dh_prev)
        recurrent_gradients(grads["Wh"], h, self.a)
        return dstate_before
