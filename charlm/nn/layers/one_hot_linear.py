"""A linear layer, one for each gate, whose input is one-hot: characters by their ids."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids, Shape, Signal
from charlm.nn.layers.layer import Masks, Projection, Step
from charlm.nn.parameters import Params
from charlm.nn.workspace import Workspace

_FEW = 1 << 16
"""Numbers up to which the product with a one-hot matrix takes less time than the calls without."""


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
        # y = onehot(x) W + b
        rows = W[:, used] + b[:, None]  # [G, U, O]
        # mode="clip" is NumPy's unbuffered way into `out`: no index is out of bounds
        np.take(rows, index, axis=1, out=y.reshape(self.gates, -1, self.outputs), mode="clip")
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
        dW, used = grads[self.weight], tape.used
        rows = dy.reshape(self.gates, -1, self.outputs)  # [G, N, O]
        ones = np.ones(len(tape.ids), dy.dtype)
        dW[...] = 0.0
        if rows.size <= _FEW:
            onehot = (used[:, None] == tape.ids).astype(dy.dtype)  # [U, N]
            dW[:, used] = np.matmul(onehot, rows)
        else:
            # The rows of each id are brought together and summed. Where there are many, the product
            # with a one-hot matrix takes up to 4 times as long: most of its factors are zero.
            order = np.argsort(tape.ids, kind="stable")
            edges = [0, *np.cumsum(tape.counts[used]).tolist()]
            for v, (start, stop) in zip(used.tolist(), pairwise(edges), strict=True):
                np.matmul(ones[start:stop], rows.take(order[start:stop], axis=1), dW[:, v])
        np.matmul(ones[: len(used)], dW[:, used], grads["b"])
        return np.empty(0, dy.dtype), dstate

    def stepper(self, params: Params, state: Array, out: Array | None = None) -> Step:
        """See `Projection.stepper`; the input is one id."""
        W, b = params[self.weight], params["b"][:, None]
        y = np.empty((self.gates, 1, self.outputs), W.dtype) if out is None else out

        def step(x: Signal | int) -> Array:
            return np.add(W[:, x, None], b, y)

        return step
