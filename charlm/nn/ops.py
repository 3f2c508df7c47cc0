"""The operations that all networks share, each forward beside its backward.

Letters: `N` rows (`T·B` of a window), `I` inputs, `O` outputs, `V` vocabulary.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids, Shape
from charlm.nn.matmul import multiply
from charlm.nn.workspace import Workspace


def sigmoid(a: Array, out: Array) -> Array:
    """`σ(a) = ½ tanh(½a) + ½`, written to `out`, which is returned; `a` is used up.

    The same function as `1 / (1 + exp(-a))`, with neither overflow nor a division.
    """
    np.multiply(a, 0.5, a)
    np.tanh(a, a)
    np.multiply(a, 0.5, a)
    np.add(a, 0.5, out)
    return out


def column_sums(rows: Array, out: Array) -> Array:
    """Sums over the rows of `[N, O]`, written to `out [O]`, which is returned.

    As a product with ones: NumPy's own sum goes row by row and takes several times as long.
    """
    return np.matmul(np.ones(len(rows), rows.dtype), rows, out)


def linear_forward(x: Array, W: Array, b: Array, out: Array, workspace: Workspace) -> Array:
    """`y = x W + b`: `x [N, I]`, `W [I, O]`, `b [O]`, `out [N, O]`, which is returned."""
    multiply(x, W, out, workspace)
    np.add(out, b, out)
    return out


def linear_backward(x: Array, dW: Array, db: Array, dy: Array) -> None:
    """Gradients of the parameters of `y = x W + b`: `dW = xᵀ dy` and `db = Σ dy`.

    That of the input is `dx = dy Wᵀ`.
    """
    np.matmul(x.T, dy, dW)
    column_sums(dy, db)


class Gather:
    """`y = onehot(ids) W + b` without the product, for several `W` and the same `ids [N]`.

    The rows of `W` that occur are looked up once, so that the work does not grow with V.
    """

    def __init__(self, ids: Ids) -> None:
        counts = np.bincount(ids)
        self.used = np.flatnonzero(counts)
        """Ids that occur `[U]`."""
        self.places = (np.cumsum(counts > 0) - 1)[ids]
        """For each row the place of its id among them `[N]`."""
        self._order = np.argsort(ids, kind="stable")
        self._edges = [0, *np.cumsum(counts[self.used]).tolist()]

    def forward(self, W: Array, b: Array, out: Array) -> Array:
        """`W [V, O]`, `b [O]`, `out [N, O]`, which is returned."""
        table = W[self.used] + b
        # mode="clip" is NumPy's unbuffered way into `out`; no place is out of bounds
        return np.take(table, self.places, axis=0, out=out, mode="clip")

    def backward(self, dW: Array, db: Array, dy: Array, scratch: Array) -> None:
        """`dW[v] = Σ dy` over the rows where `ids = v`, and `db = Σ dy`; `dy [N, O]`.

        `scratch`, like `dy`, is free to use.
        """
        # The rows of each id are brought together and summed. A product with a one-hot matrix
        # takes up to 4 times as long: it adds them up among the zeros of all other ids.
        together = np.take(dy, self._order, axis=0, out=scratch, mode="clip")
        sums = np.empty((len(self.used), dy.shape[1]), dy.dtype)
        if len(self.used) * _MANY <= len(dy):
            ones = np.ones(len(dy), dy.dtype)
            for total, (start, stop) in zip(sums, pairwise(self._edges), strict=True):
                np.matmul(ones[start:stop], together[start:stop], total)
        else:
            np.add.reduceat(together, self._edges[:-1], axis=0, out=sums)
        dW[...] = 0.0
        dW[self.used] = sums
        column_sums(sums, db)


_MANY = 8
"""Rows an id from which on a call of its own pays."""


def dropout_mask(rng: np.random.Generator, shape: Shape, dropout: float, out: Array) -> Array:
    """Draw a mask into `out`: 0 with probability `dropout`, else `1 / (1 - dropout)`.

    Scaling at training time keeps the expected activation, so that evaluation needs no dropout
    code at all (Srivastava et al. 2014, inverted form). Draws are float32 whatever the type of
    `out`, so that a network in float64 sees the masks that one in float32 sees.
    """
    kept = rng.random(shape, dtype=np.float32) >= dropout
    np.multiply(kept, 1.0 / (1.0 - dropout), out, casting="unsafe")
    return out


def cross_entropy(logits: Array, targets: Ids) -> Array:
    """Nats of each row: `-log softmax(logits)[target]`; `logits [N, V]`, result `[N]` in float64.

    `logits` is overwritten. Finite for any finite logits: the row's largest is subtracted first,
    and the difference to the target's logit is taken in float64.
    """
    nats, _ = _nats_and_normaliser(logits, targets)
    return nats


def softmax_cross_entropy(
    logits: Array,
    targets: Ids,
    scored: int | None = None,
    real: npt.NDArray[np.bool] | None = None,
) -> tuple[float, Array]:
    """Mean nats a character, and the gradient with respect to the logits.

    `loss = -1/N Σ_n log p[n, targets[n]]` with `p = softmax(logits)`; its gradient is
    `(p - onehot(targets)) / N`. `logits [N, V]` is overwritten by the gradient. Where these rows
    are only a part, `scored` is the N of the whole: the parts' losses then sum to its mean.
    Rows where `real [N]` is false are padding: no nats, no gradient, and not counted in N.
    """
    N = scored or (len(targets) if real is None else np.count_nonzero(real))
    nats, normaliser = _nats_and_normaliser(logits, targets)
    p = logits  # the exponentials, from here on
    np.multiply(p, (1.0 / (normaliser * N)).astype(p.dtype)[:, None], p)
    p[np.arange(len(targets)), targets] -= p.dtype.type(1.0 / N)
    if real is not None:
        nats[~real] = 0.0
        p[~real] = 0.0
    return float((nats / N).sum()), p


def _nats_and_normaliser(logits: Array, targets: Ids) -> tuple[Array, Array]:
    """Nats `[N]` and `Σ exp(logits - m)` `[N]`, both float64; `logits` becomes those exponentials.

    m is any number near the row's largest: it cancels out, and keeps exp in range.
    """
    largest = _largest(logits)
    # log p = (logit - m) - log Σ exp(logit - m)
    chosen = logits[np.arange(len(targets)), targets].astype(np.float64)
    with np.errstate(over="ignore"):  # a difference beyond the type is -inf, whose exponential is 0
        below = np.minimum(largest.astype(np.float64) - chosen, np.finfo(np.float64).max)
        np.subtract(logits, largest[:, None], logits)
    np.exp(logits, logits)
    # as a product with ones: NumPy's own sum goes row by row and takes several times as long
    normaliser = (logits @ np.ones(logits.shape[1], logits.dtype)).astype(np.float64)
    return below + np.log(normaliser), normaliser


_CLOSE = 50.0
"""Nats below m at which an exponential is still far from the least float32, which is exp(-87)."""

_WIDE = 500
"""Logits a row from which on NumPy finds each row's largest as fast as that of all."""


def _largest(logits: Array) -> Array:
    """The largest logit of each row `[N]`; or that of all, where no logit is far from it.

    Short rows take NumPy several times as long one by one as all at once (1 % of an update of a
    small network), and the logits of most models lie close.
    """
    if logits.shape[1] < _WIDE:
        highest = logits.max()
        if float(highest) - float(logits.min()) < _CLOSE:
            return np.broadcast_to(highest, len(logits))
    rows: Array = logits.max(axis=1)
    return rows
