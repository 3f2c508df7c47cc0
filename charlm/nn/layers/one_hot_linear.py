"""The product of a recurrent layer with a one-hot input: characters by their ids."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids, Signal
from charlm.nn.layers.layer import Masks, Step
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace

_FEW = 1 << 16
"""Numbers up to which the product with a one-hot matrix takes less time than the calls without."""


class OneHotPass(Pass):
    """A window of `N = T·B` ids.

    Attributes
    ----------
    ids
        `[N]`.
    counts
        How often each id occurs, `[V]`, cut off after the largest id that occurs.
    used
        Ids that occur, `[U]`, ascending.
    """

    def __init__(
        self, ids: Ids, counts: npt.NDArray[np.intp], used: npt.NDArray[np.intp], y: Array, state: Array
    ) -> None:
        self.ids, self.counts, self.used, self.output, self.state = ids, counts, used, y, state

    def backward(
        self, grads: Params, doutput: Array, dstate: Array, out: Array | None = None
    ) -> tuple[Array, Array]:
        """`dWx[v] = Σ dy` over the rows whose id is v, and `db = Σ dy`; ids have no gradient.

        `out` is not used: it is what `LinearPass.backward` takes.
        """
        dW, used = grads["Wx"], self.used
        G, _, outputs = dW.shape
        rows = doutput.reshape(G, -1, outputs)  # [G, N, O]
        ones = np.ones(len(self.ids), doutput.dtype)
        dW[...] = 0.0
        if rows.size <= _FEW:
            onehot = (used[:, None] == self.ids).astype(doutput.dtype)  # [U, N]
            dW[:, used] = np.matmul(onehot, rows)
        else:
            # The rows of each id are brought together and summed. Where there are many, the product
            # with a one-hot matrix takes up to 4 times as long: most of its factors are zero.
            order = np.argsort(self.ids, kind="stable")
            edges = [0, *np.cumsum(self.counts[used]).tolist()]
            for v, (start, stop) in zip(used.tolist(), pairwise(edges), strict=True):
                np.matmul(ones[start:stop], rows.take(order[start:stop], axis=1), dW[:, v])
        np.matmul(ones[: len(used)], dW[:, used], grads["b"])
        return np.empty(0, doutput.dtype), dstate


class OneHotLinear:
    """`y[g] = onehot(x) Wx[g] + b[g]`, without the product.

    A one-hot row times `Wx` is one row of `Wx`: the product is a gather, and its gradient a sum of
    rows for each id. `x [T, B]` ids, `Wx [G, V, O]` and `b [G, O]` make `y [G, T, B, O]`.
    """

    def forward(
        self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace
    ) -> OneHotPass:
        """See `Layer.forward`; the work does not grow with V."""
        W, b = params["Wx"], params["b"]
        G, _, outputs = W.shape
        ids = x.reshape(-1)
        counts = np.bincount(ids)
        used = np.flatnonzero(counts)
        index = (np.cumsum(counts > 0) - 1)[ids]  # of each id among those used [N]
        y = workspace.array("y", (G, *x.shape, outputs), W.dtype)
        # y = onehot(x) Wx + b
        rows = W[:, used] + b[:, None]  # [G, U, O]
        # mode="clip" is NumPy's unbuffered way into `out`: no index is out of bounds
        np.take(rows, index, axis=1, out=y.reshape(G, -1, outputs), mode="clip")
        return OneHotPass(ids, counts, used, y, state)

    def stepper(self, params: Params, state: Array, out: Array) -> Step:
        """See `Layer.stepper`; the input is one id, and `out` memory for the output."""
        W, b = params["Wx"], params["b"][:, None]

        def step(x: Signal | int) -> Array:
            return np.add(W[:, x, None], b, out)

        return step
