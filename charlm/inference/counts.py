"""The next unit of a text by its counts: interpolated Kneser-Ney with discounts by count.

Chen, Goodman 1998, "An empirical study of smoothing techniques for language modeling". The units that
follow the same context of k units are counted, for k from 0 to the largest order K::

    q_k(v) = max(c_k(v) - D_k(c_k(v)), 0) / C_k + B_k / C_k q_{k-1}(v),        q_{-1}(v) = 1 / V

`c_K` is how often unit v follows the context. For k < K, `c_k` is the number of different units before the
context and v: a unit that follows in one place only says little of others. `C_k` is the sum of `c_k`, and
`B_k` of what is taken off. With `n_i` pairs of a context and a unit that have the count i::

    D_k(i) = i - (i + 1) Y n_{i+1} / n_i,        Y = n_1 / (n_1 + 2 n_2),        D_k(i) = D_k(3) for i > 3

Each place of the text is predicted without its own occurrence: otherwise a context that occurs once would
predict its unit with certainty.

Letters: `N` predicted units, `V` vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from charlm.arrays import Array, Ids
from charlm.data.texts import Text

ORDER = 7
"""K: units of the longest context."""

BYTES = 154
"""Memory for each unit of a text while it is counted: the peak for the tales, by `tracemalloc`."""

_BLOCK = 1 << 19
"""Probabilities that are computed at a time: larger blocks leave the cache, and take twice as long."""


class _Followers(NamedTuple):
    """The units that follow each context of one length, `R` pairs of a context and a unit, sorted."""

    contexts: Ids
    """The number of the context of each place, `[N]`."""
    shorter: Ids
    """The number of each context without its first unit."""
    pairs: Ids
    """The number of the context times V, plus the unit, `[R]`."""
    edges: Ids
    """The first pair of each context, and the end of the last."""
    counts: Ids
    """`[R]`; first of occurrences, then `c_k`."""


class Counts:
    """The counts of all places of a text, which predict each of them."""

    def __init__(self, text: Text, vocab: int, order: int = ORDER) -> None:
        """Count the predicted units of `text`, of lines with no context from before the line."""
        first_inputs, lengths = text.examples()
        N = text.targets
        places = text.target_places(0, N)
        known = places - np.repeat(first_inputs, lengths)  # units before each place in its example, [N]
        self.targets, self.V = np.asarray(text.ids[places]), vocab
        contexts, shorter = np.zeros(N, np.int64), np.zeros(1, np.int64)
        self._orders: list[_Followers] = []
        for k in range(order + 1):
            if k:  # the context of k units is one of k - 1 and the unit before it; V where there is none
                before = np.where(known >= k, text.ids[np.maximum(places - k, 0)], vocab)
                joined, contexts = np.unique(contexts * (vocab + 1) + before, return_inverse=True)
                shorter = joined // (vocab + 1)
            pairs, counts = np.unique(contexts * vocab + self.targets, return_counts=True)
            edges = np.searchsorted(pairs, np.arange(len(shorter) + 1) * vocab)
            self._orders.append(_Followers(contexts, shorter, pairs, edges, counts))
        self._least = np.zeros(N, np.int8)
        """The smallest k for which the own occurrence of each place is one of `c_k`, `[N]`."""
        self._count_what_comes_before()
        self.discounts = [discounts(followers.counts) for followers in self._orders]

    def _count_what_comes_before(self) -> None:
        """Turn occurrences into the numbers of different units before, except for the longest contexts."""
        alone = np.ones(len(self.targets), bool)  # its pair of the next longer context occurs nowhere else
        for k in range(len(self._orders) - 1, -1, -1):
            followers = self._orders[k]
            if k + 1 < len(self._orders):
                longer = self._orders[k + 1]
                contexts, units = np.divmod(longer.pairs, self.V)
                same = np.searchsorted(followers.pairs, longer.shorter[contexts] * self.V + units)
                followers.counts[...] = np.bincount(same, minlength=len(followers.pairs))
            self._least[alone] = k
            own = np.searchsorted(followers.pairs, followers.contexts * self.V + self.targets)
            alone &= followers.counts[own] == 1

    def predict(self, start: int, stop: int) -> Array:
        """The distributions of the places from number `start` up to `stop`, `[stop - start, V]`."""
        q = np.full((stop - start, self.V), 1.0 / self.V, np.float32)
        for k in range(len(self._orders)):
            self._interpolate(q, k, slice(start, stop))
        return q

    def _interpolate(self, q: Array, k: int, places: slice) -> None:
        """Turn `q_{k-1}` into `q_k`, in place; without the occurrence of each place itself."""
        followers, N = self._orders[k], len(q)
        contexts = followers.contexts[places]
        first, T = followers.edges[contexts], np.diff(followers.edges)[contexts]
        # one row for each pair of a place and a unit that follows its context
        rows = np.repeat(np.arange(N), T)
        pairs = np.arange(len(rows)) + np.repeat(first - (np.cumsum(T) - T), T)
        units = followers.pairs[pairs] % self.V
        is_own = (units == self.targets[places][rows]) & (self._least[places] <= k)[rows]
        c = followers.counts[pairs] - is_own
        D = self.discounts[k][np.minimum(c, 3)]
        C, B = np.maximum(np.bincount(rows, c, N), 1), np.bincount(rows, D, N)
        # q_k = (c_k - D_k(c_k)) / C_k + B_k / C_k q_{k-1}
        q *= np.where(np.bincount(rows, c, N) > 0, B / C, 1.0).astype(q.dtype)[:, None]
        q[rows, units] += ((c - D) / C[rows]).astype(q.dtype)


def discounts(counts: Ids) -> Array:
    """What is taken off a count of 0, 1, 2, and of 3 or more, `[4]`, from the counts of all pairs."""
    n = [int(np.count_nonzero(counts == i)) for i in range(5)]
    Y = n[1] / max(1, n[1] + 2 * n[2])
    # D(i) = i - (i + 1) Y n_{i+1} / n_i
    return np.array([min(max(0.0, i - (i + 1) * Y * n[i + 1] / max(1, n[i])), i) for i in range(4)])


def blocks(N: int, vocab: int) -> list[slice]:
    """The places of a text in blocks whose distributions fit into the cache of a machine."""
    size = max(1, _BLOCK // vocab)
    return [slice(start, min(start + size, N)) for start in range(0, N, size)]
