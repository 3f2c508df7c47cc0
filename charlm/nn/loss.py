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
    """The `count` likeliest units of each row, and their probabilities.

    `p [N, V]`, V at least `count`; both results `[N, count]`, in no order.
    """
    ids: Ids = np.argpartition(p, p.shape[1] - count, axis=1)[:, -count:]
    return ids, np.take_along_axis(p, ids, axis=1)


class SoftTargets(NamedTuple):
    """What S teachers say of N places: each names K different units and their probabilities.

    All other units are one event, which has the rest of the probability.
    """

    ids: Ids
    """`[N, S, K]`."""
    q: Array
    """`[N, S, K]`."""
    share: float
    """α: the share of the loss that is the teachers'."""

    def mean(self, p: Array) -> tuple[Array, Array]:
        """The distribution that has the gradient of the mean of the teachers: `F [N]` and `e [N, S, K]`.

        It is F times the network's, plus e at the named units; `p [N, S, K]` are the network's
        probabilities of these. A teacher's rest is divided as the network divides it: the gradient of
        `-(1 - Σ q) log(1 - Σ p)`, of sums over the named units, leaves that division alone.
        """
        q = self.q.astype(np.float64)
        # f_s = (1 - Σ q) / (1 - Σ p):  q_v where teacher s names v, f_s p_v elsewhere
        f = np.maximum(1.0 - q.sum(axis=2), 0.0) / np.maximum(1.0 - p.sum(axis=2), _LEAST_REST)
        return f.mean(axis=1), (q - f[:, :, None] * p) / q.shape[1]


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
    `(p - (1 - α) onehot(targets) - α q) / N`. The result is the loss of the targets all the same.
    """
    N = scored or (len(targets) if mask is None else np.count_nonzero(mask))
    nll, normaliser = _nll_and_normaliser(logits, targets)
    p = logits  # the exponentials, from here on
    rows, scale, share, named = np.arange(len(targets)), 1.0 / (normaliser * N), 0.0, None
    if soft is not None:
        share = soft.share
        factor, named = soft.mean(p[rows[:, None, None], soft.ids] / normaliser[:, None, None])
        scale *= 1.0 - share * factor
    np.multiply(p, scale.astype(p.dtype)[:, None], p)
    p[rows, targets] -= p.dtype.type((1.0 - share) / N)
    if soft is not None and named is not None:
        named *= share / N
        for s in range(named.shape[1]):  # two teachers may name the same unit
            p[rows[:, None], soft.ids[:, s]] -= named[:, s].astype(p.dtype)
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


_LEAST_REST = 1e-6
"""Probability of all unnamed units below which it is not known: sums of float32 have seven digits."""

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
