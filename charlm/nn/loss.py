"""Softmax cross-entropy, forward and backward.

Letters: `N` rows (`T·B` of a window), `V` vocabulary.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids


def cross_entropy(logits: Array, targets: Ids) -> Array:
    """Loss of each row in nats: `-log softmax(logits)[target]`; `logits [N, V]`, result `[N]` in float64.

    `logits` is overwritten. Finite for any finite logits: the row's largest is subtracted first,
    and the difference to the target's logit is taken in float64.
    """
    nll, _ = _nll_and_normaliser(logits, targets)
    return nll


def ranks_of(logits: Array, targets: Ids) -> Ids:
    """The rank of the target of each row `[N]`: 1 plus the logits `[N, V]` that are larger than its own."""
    own = logits[np.arange(len(targets)), targets]
    ranks: Ids = 1 + np.count_nonzero(logits > own[:, None], axis=1)
    return ranks


def softmax(logits: Array) -> Array:
    """The probabilities of each row of `logits [N, V]`."""
    p: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p


def likeliest(p: Array, count: int) -> tuple[Ids, Array]:
    """The `count` likeliest units of each row, and their probabilities given that it is one of them.

    `p [N, V]`, V at least `count`; both results `[N, count]`, in no order.
    """
    ids: Ids = np.argpartition(p, p.shape[1] - count, axis=1)[:, -count:]
    chosen = np.take_along_axis(p, ids, axis=1)
    return ids, chosen / chosen.sum(axis=1, keepdims=True)


class SoftTargets(NamedTuple):
    """What teachers say of N places: K units of each, and their probabilities.

    A unit may be named several times; its probabilities then add up.
    """

    ids: Ids
    """`[N, K]`."""
    q: Array
    """`[N, K]`; each row adds up to 1, times the number of teachers."""
    share: float
    """α: the share of the loss that is the teachers'."""
    weight: float = 1.0
    """The weight of each teacher: 1 over their number."""


def softmax_cross_entropy(
    logits: Array,
    targets: Ids,
    scored: int | None = None,
    mask: npt.NDArray[np.bool] | None = None,
    soft: SoftTargets | None = None,
) -> tuple[float, Array]:
    """Mean loss in nats per character, and the gradient with respect to the logits.

    `loss = -1/N Σ_n log p[n, targets[n]]` with `p = softmax(logits)`; its gradient is
    `(p - onehot(targets)) / N`. `logits [N, V]` is overwritten by the gradient. If the rows
    are one shard of a batch, `scored` is the N of the whole batch, and the losses of the shards add
    up to the mean of the batch.
    Rows where `mask [N]` is false are padding: no loss, no gradient, and not counted in N.

    With `soft`, whose mean distribution is q, the gradient is of `(1 - α) loss - α/N Σ_n Σ_v q[n, v]
    log p[n, v]` (Hinton, Vinyals, Dean 2015, arXiv 1503.02531, at temperature 1):
    `(p - (1 - α) onehot(targets) - α q) / N`. The loss that is returned is still that of the targets.
    """
    N = scored or (len(targets) if mask is None else np.count_nonzero(mask))
    nll, normaliser = _nll_and_normaliser(logits, targets)
    p = logits  # the exponentials, from here on
    np.multiply(p, (1.0 / (normaliser * N)).astype(p.dtype)[:, None], p)
    rows = np.arange(len(targets))
    p[rows, targets] -= p.dtype.type((1.0 - (soft.share if soft else 0.0)) / N)
    if soft is not None:
        shares = soft.q.astype(p.dtype) * p.dtype.type(soft.share * soft.weight / N)
        for k in range(shares.shape[1]):  # one after the other: a row may name a unit twice
            p[rows, soft.ids[:, k]] -= shares[:, k]
    if mask is not None:
        nll[~mask] = 0.0
        p[~mask] = 0.0
    return float((nll / N).sum()), p


def _nll_and_normaliser(logits: Array, targets: Ids) -> tuple[Array, Array]:
    """Loss of each row in nats `[N]` and `Σ exp(logits - m)` `[N]`, both float64.

    `logits` becomes those exponentials. m is any number near the row's largest: it cancels out,
    and keeps exp in range.
    """
    largest = _largest(logits)
    # log p = (logit - m) - log Σ exp(logit - m)
    chosen = logits[np.arange(len(targets)), targets].astype(np.float64)
    with np.errstate(over="ignore"):  # a difference beyond the type is -inf, whose exponential is 0
        below = np.minimum(largest.astype(np.float64) - chosen, np.finfo(np.float64).max)
        np.subtract(logits, largest[:, None], logits)
    np.exp(logits, logits)
    # the row sums as a product with ones: several times as fast as NumPy's sum
    normaliser = (logits @ np.ones(logits.shape[1], logits.dtype)).astype(np.float64)
    return below + np.log(normaliser), normaliser


_CLOSE = 50.0
"""Nats below m at which an exponential is still far above the smallest float32, exp(-87)."""

_WIDE = 500
"""Logits per row above which NumPy finds each row's largest as fast as the largest of all."""


def _largest(logits: Array) -> Array:
    """The largest logit of each row `[N]`; or the largest of all, where no logit is far below it.

    For short rows, NumPy takes several times as long row by row as for all rows at once: 1 % of an
    update of a small network. The logits of most models are close together.
    """
    if logits.shape[1] < _WIDE:
        highest = logits.max()
        if float(highest) - float(logits.min()) < _CLOSE:
            return np.broadcast_to(highest, len(logits))
    rows: Array = logits.max(axis=1)
    return rows
