"""A linear layer, one for each gate, whose input is one-hot: characters by their ids."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids, Shape, Signal
from charlm.nn.layers.layer import Masks, Projection, Step
from charlm.nn.matmul import column_sums
from charlm.nn.parameters import Params
from charlm.nn.workspace import Workspace

_MANY = 8
"""Rows an id above which a product for each id pays."""


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window, of `N = T·B` ids."""

    ids: Ids
    """`[N]`."""
    counts: npt.NDArray[np.intp]
    """How often each id occurs, `[V]`, cut off after the largest that does."""
    used: npt.NDArray[np.intp]
    """Ids that occur, `[U]`, ascending."""


class OneHotLinear(Projection[Tape]):
    """`y[g] = onehot(x) W[g] + b[g]`, without the product.

    A one-hot row times `W` is one row of `W`: the product is a gather, and its gradient a sum of
    rows for each id. `x [T, B]` ids, `W [G, V, O]` and `b [G, O]` make `y [G, T, B, O]`.
    """

    def __init__(self, vocab: int, outputs: int, gates: int, weight: str = "W") -> None:
        """`weight` is the name of W among the parameters."""
        self.vocab, self.outputs, self.gates, self.weight = vocab, outputs, gates, weight

    def shapes(self) -> dict[str, Shape]:
        """See `Layer.shapes`."""
        return {self.weight: (self.gates, self.vocab, self.outputs), "b": (self.gates, self.outputs)}

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """W is uniform within ±1; b is zero.

        The bound 1/√(inputs) suits a sum over as many inputs. A one-hot input is a sum over one.
        With a smaller bound the gates hardly react to the text at first, and the loss stays for
        hundreds of updates where the frequencies of characters leave it.
        """
        W = params[self.weight]
        W[...] = rng.uniform(-1.0, 1.0, W.shape)

    def forward(
        self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace
    ) -> tuple[Array, Array, Tape]:
        """See `Layer.forward`; the work does not grow with V."""
        W, b = params[self.weight], params["b"]
        ids = x.reshape(-1)
        counts = np.bincount(ids)
        used = np.flatnonzero(counts)
        index = (np.cumsum(counts > 0) - 1)[ids]  # of each id among those used [N]
        y = workspace.array("y", (self.gates, *x.shape, self.outputs), W.dtype)
        # y = onehot(x) W + b; mode="clip" is NumPy's unbuffered way into `out`: no index is out of bounds
        for W_g, b_g, y_g in zip(W, b, y.reshape(self.gates, -1, self.outputs), strict=True):
            np.take(W_g[used] + b_g, index, axis=0, out=y_g, mode="clip")
        return y, state, Tape(ids, counts, used)

    def backward(
        self,
        params: Params,
        grads: Params,
        tape: Tape,
        dy: Array,
        dstate: Array,
        workspace: Workspace,
        out: Array | None = None,
    ) -> tuple[Array, Array]:
        """`dW[v] = Σ dy` over the rows whose id is v, and `db = Σ dy`; there is no gradient of ids."""
        N, U = len(tape.ids), len(tape.used)
        order = np.argsort(tape.ids, kind="stable")
        edges = [0, *np.cumsum(tape.counts[tape.used]).tolist()]
        ones = np.ones(N, dy.dtype)
        sums = np.empty((U, self.outputs), dy.dtype)
        with workspace.scratch() as scratch:
            sorted_rows = scratch.array("rows", (N, self.outputs), dy.dtype)
            for dW, db, dy_g in zip(
                grads[self.weight], grads["b"], dy.reshape(self.gates, N, self.outputs), strict=True
            ):
                # The rows of each id are brought together and summed. A product with a one-hot
                # matrix takes up to 4 times as long: most of its factors are zero.
                np.take(dy_g, order, axis=0, out=sorted_rows, mode="clip")
                if U * _MANY <= N:
                    for total, (start, stop) in zip(sums, pairwise(edges), strict=True):
                        np.matmul(ones[start:stop], sorted_rows[start:stop], total)
                else:
                    np.add.reduceat(sorted_rows, edges[:-1], axis=0, out=sums)
                dW[...] = 0.0
                dW[tape.used] = sums
                column_sums(sums, db)
        return np.empty(0, dy.dtype), dstate

    def stepper(self, params: Params, state: Array, out: Array | None = None) -> Step:
        """See `Projection.stepper`; the input is one id."""
        W, b = params[self.weight], params["b"][:, None]
        y = np.empty((self.gates, 1, self.outputs), W.dtype) if out is None else out

        def step(x: Signal | int) -> Array:
            return np.add(W[:, x, None], b, y)

        return step
