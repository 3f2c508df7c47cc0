"""The long short-term memory."""

from typing import NamedTuple

import numpy as np

from charlm.arrays import Array
from charlm.nn.activations import sigmoid
from charlm.nn.cells.cell import Cell, Saved, States
from charlm.nn.parameters import Params


class LSTMStep(NamedTuple):
    """One step of an LSTM: `x [B, I]`, the others `[B, H]`."""

    x: Array
    h_prev: Array
    c_prev: Array
    i: Array
    f: Array
    o: Array
    g: Array
    tanh_c: Array


class LSTM(Cell):
    """An LSTM with forget gates and without peepholes.

    ::

        forward                                    backward
        a_q = x Wx_q + h_prev Wh_q + b_q           da_q = dq q (1 - q)  for q in i, f, o
                            for q in i, f, o, g    da_g = dg (1 - g²)
        i, f, o = σ(a_i), σ(a_f), σ(a_o)
        g = tanh(a_g)
        c = f c_prev + i g                         df = dc c_prev;  di = dc g;  dg = dc i
                                                   dc_prev = dc f
        h = o tanh(c)                              do = dh tanh(c);  dc += dh o (1 - tanh²(c))

    Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000. The bias of the forget gate
    starts at 1, so that the memory is kept until the network learns otherwise (Jozefowicz et al. 2015).
    """

    gates, states = ("i", "f", "o", "g"), ("h", "c")

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """Fill the recurrent matrices as `Cell.initialise` does, and the bias of the forget gate with 1."""
        super().initialise(params, rng, init)
        params["b"][self.gates.index("f")] = 1.0

    def step(self, params: Params, x: Array, state: States) -> tuple[States, Saved]:
        """One step forward: `x [B, I]`, `state` is `h_prev, c_prev`, `[B, H]` each."""
        Wx_i, Wx_f, Wx_o, Wx_g = params["Wx"]  # [I, H] each
        Wh_i, Wh_f, Wh_o, Wh_g = params["Wh"]  # [H, H] each
        b_i, b_f, b_o, b_g = params["b"]  # [H] each
        h_prev, c_prev = state
        i = sigmoid(x @ Wx_i + h_prev @ Wh_i + b_i)  # [B, H]
        f = sigmoid(x @ Wx_f + h_prev @ Wh_f + b_f)  # [B, H]
        o = sigmoid(x @ Wx_o + h_prev @ Wh_o + b_o)  # [B, H]
        g = np.tanh(x @ Wx_g + h_prev @ Wh_g + b_g)  # [B, H]
        c = f * c_prev + i * g  # [B, H]
        tanh_c = np.tanh(c)
        h = o * tanh_c  # [B, H]
        return (h, c), LSTMStep(x, h_prev, c_prev, i, f, o, g, tanh_c)

    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """One step backward: `dstate` is `dh, dc`; returns `dx` and `dh_prev, dc_prev`."""
        Wx_i, Wx_f, Wx_o, Wx_g = params["Wx"]
        Wh_i, Wh_f, Wh_o, Wh_g = params["Wh"]
        dWx_i, dWx_f, dWx_o, dWx_g = grads["Wx"]
        dWh_i, dWh_f, dWh_o, dWh_g = grads["Wh"]
        db_i, db_f, db_o, db_g = grads["b"]
        x, h_prev, c_prev, i, f, o, g, tanh_c = saved
        dh, dc = dstate
        # forward: h = o * tanh(c)
        do = dh * tanh_c
        dc = dc + dh * o * (1 - tanh_c**2)
        # forward: c = f * c_prev + i * g
        df = dc * c_prev
        dc_prev = dc * f
        di = dc * g
        dg = dc * i
        # forward: g = tanh(a_g) and i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
        da_g = dg * (1 - g**2)
        da_o = do * o * (1 - o)
        da_f = df * f * (1 - f)
        da_i = di * i * (1 - i)
        # forward: a_q = x Wx_q + h_prev Wh_q + b_q, for q in g, o, f, i
        dWx_g += x.T @ da_g
        dWx_o += x.T @ da_o
        dWx_f += x.T @ da_f
        dWx_i += x.T @ da_i
        dWh_g += h_prev.T @ da_g
        dWh_o += h_prev.T @ da_o
        dWh_f += h_prev.T @ da_f
        dWh_i += h_prev.T @ da_i
        db_g += da_g.sum(axis=0)
        db_o += da_o.sum(axis=0)
        db_f += da_f.sum(axis=0)
        db_i += da_i.sum(axis=0)
        # x and h_prev feed every gate, so their gradients are sums over the gates
        dx = da_i @ Wx_i.T + da_f @ Wx_f.T + da_o @ Wx_o.T + da_g @ Wx_g.T  # [B, I]
        dh_prev = da_i @ Wh_i.T + da_f @ Wh_f.T + da_o @ Wh_o.T + da_g @ Wh_g.T  # [B, H]
        return dx, (dh_prev, dc_prev)

    def arriving(self, saved: Saved, dstate: States) -> States:
        """The whole `dh, dc`: h is made from c, so the gradient of c also comes through h."""
        dh, dc = dstate
        *_, o, _, tanh_c = saved
        # forward: h = o * tanh(c)
        return dh, dc + dh * o * (1 - tanh_c**2)
