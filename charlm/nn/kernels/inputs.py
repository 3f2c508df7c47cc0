"""The input product of a window, `a[g] = x Wx[g] + b[g]` for each gate, made before the recurrence.

Letters: `T` time steps, `B` streams, `N = T·B` rows, `V` vocabulary, `I` inputs, `H` hidden units,
`G` gates. Each product has a backward pass: `input_backward(grads, da, memory)` overwrites the
gradients of `Wx` and `b`, and returns `dx`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from charlm.arrays import Array, Signal
from charlm.nn.layers.layer import Step
from charlm.nn.layers.linear import linear, linear_backward
from charlm.nn.matmul import side_by_side
from charlm.nn.parameters import Params
from charlm.nn.tuning import Tuning
from charlm.nn.workspace import Workspace

InputBackward = Callable[[Params, Array, Array], Array]


class DenseInput:
    """Of rows `x [T, B, I]`, with `I = H`: the output of the layer below."""

    def forward(self, params: Params, x: Signal, workspace: Workspace) -> tuple[Array, InputBackward]:
        """`a [G, T, B, H]`, and its backward pass, which writes `dx` to the memory that it is given."""
        Wx, b = params["Wx"], params["b"]
        G, inputs, H = Wx.shape
        a = workspace.array("a", (G, *x.shape[:-1], H), x.dtype)
        rows = x.reshape(-1, inputs)
        linear(rows, Wx, b, a.reshape(G, -1, H))

        def backward(grads: Params, da: Array, dx: Array) -> Array:
            with workspace.scratch() as scratch:
                dx_rows, da = dx.reshape(-1, inputs), da.reshape(G, -1, H)
                summand = scratch.array("summand", rows.shape, da.dtype) if G > 1 else dx_rows
                linear_backward(rows, Wx, da, grads["Wx"], grads["b"], dx_rows, summand)
            return dx

        return a, backward

    def stepper(self, params: Params, a: Array) -> Step:
        """A function that writes `a [G, 1, H]` of one row: one product for all gates."""
        Wx, b, products = side_by_side(params["Wx"]), params["b"][:, None], a.reshape(1, -1)

        def step(x: Signal | int) -> Array:
            np.matmul(x, Wx, products)
            return np.add(a, b, a)

        return step


@dataclass(frozen=True)
class OneHotInput:
    """Of ids `x [T, B]`: `a[g] = onehot(x) Wx[g] + b[g]`, without the product.

    A one-hot row times `Wx` is one row of `Wx`: the product is a gather, and its gradient a sum of
    rows for each id. The work does not grow with V.
    """

    tuning: Tuning

    def forward(self, params: Params, x: Signal, workspace: Workspace) -> tuple[Array, InputBackward]:
        """`a [G, T, B, H]`, and its backward pass; ids have no gradient."""
        Wx, b = params["Wx"], params["b"]
        G, _, H = Wx.shape
        ids = x.reshape(-1)  # [N]
        counts = np.bincount(ids)  # [V], cut off after the largest id that occurs
        used = np.flatnonzero(counts)  # [U]
        index = (np.cumsum(counts > 0) - 1)[ids]  # of each id among those used [N]
        a = workspace.array("a", (G, *x.shape, H), Wx.dtype)
        rows = Wx[:, used] + b[:, None]  # [G, U, H]
        # mode="clip" is NumPy's unbuffered way into `out`: no index is out of bounds
        np.take(rows, index, axis=1, out=a.reshape(G, -1, H), mode="clip")

        def backward(grads: Params, da: Array, memory: Array) -> Array:
            # dWx[v] = Σ da over the rows whose id is v;  db = Σ da
            dWx, da = grads["Wx"], da.reshape(G, -1, H)  # [G, V, H], [G, N, H]
            ones = np.ones(len(ids), da.dtype)
            dWx[...] = 0.0
            if da.size <= self.tuning.few:
                onehot = (used[:, None] == ids).astype(da.dtype)  # [U, N]
                dWx[:, used] = np.matmul(onehot, da)
            else:
                # The rows of each id are brought together and summed. Where there are many, the product
                # with a one-hot matrix takes up to 4 times as long: most of its factors are zero.
                order = np.argsort(ids, kind="stable")
                edges = [0, *np.cumsum(counts[used]).tolist()]
                for v, (start, stop) in zip(used.tolist(), pairwise(edges), strict=True):
                    np.matmul(ones[start:stop], da.take(order[start:stop], axis=1), dWx[:, v])
            np.matmul(ones[: len(used)], dWx[:, used], grads["b"])
            return memory

        return a, backward

    def stepper(self, params: Params, a: Array) -> Step:
        """A function that writes `a [G, 1, H]` of one id."""
        Wx, b = params["Wx"], params["b"][:, None]

        def step(x: Signal | int) -> Array:
            return np.add(Wx[:, x, None], b, a)

        return step
