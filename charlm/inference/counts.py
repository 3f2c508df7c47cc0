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

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from charlm.arrays import Array, Ids
from charlm.data.texts import Text

ORDER = 7
"""K: units of the longest context."""

BYTES = 170
"""Memory for each unit of a text while it is counted: the peak for the tales, by `tracemalloc`."""

_BLOCK = 1 << 19
"""Probabilities that are computed at a time: larger blocks leave the cache, and take twice as long."""

_WHOLE = 1 << 22
"""Probabilities that are kept for the contexts of the whole text, at most: more of them gain no time."""

_LARGEST_BITS = 63
"""Bits of the largest integer."""


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


class _Terms(NamedTuple):
    """The terms of one order for N contexts; `R` pairs of a context and a unit."""

    kept: Array
    """`B_k / C_k`, 1 where nothing follows the context, `[N]`."""
    rows: Ids
    """The context of each pair, from 0, `[R]`."""
    units: Ids
    """Its unit, `[R]`."""
    q: Array
    """`(c_k - D_k(c_k)) / C_k`, `[R]`."""


class Counts:
    """The counts of all places of a text, which predict each of them."""

    def __init__(self, text: Text, vocab: int, order: int = ORDER) -> None:
        """Count the predicted units of `text`, of lines with no context from before the line."""
        first_inputs, lengths = text.examples()
        N = text.targets
        places = text.target_places(0, N)
        known = places - np.repeat(first_inputs, lengths)  # units before each place in its example, [N]
        self.targets, self.V = np.asarray(text.ids[places]), vocab
        contexts: Ids = np.zeros(N, np.int64)
        shorter: Ids = np.zeros(1, np.int64)
        self._orders: list[_Followers] = []
        small = np.min_scalar_type(-N)  # an integer of few bytes that holds every number
        numbers: list[Ids] = []  # of the pair of each place, by order
        for k in range(order + 1):
            if k:  # the context of k units is one of k - 1 and the unit before it; V where there is none
                before = np.where(known >= k, text.ids[np.maximum(places - k, 0)], vocab)
                joined, contexts = _numbered(contexts * (vocab + 1) + before)
                shorter = joined // (vocab + 1)
            pairs, own = _numbered(contexts * vocab + self.targets)
            edges = np.concatenate([[0], np.cumsum(np.bincount(pairs // vocab))])
            self._orders.append(_Followers(contexts.astype(small), shorter, pairs, edges, np.bincount(own)))
            numbers.append(own.astype(small))
        self._least = np.zeros(N, np.int8)
        """The smallest k for which the own occurrence of each place is one of `c_k`, `[N]`."""
        self._count_what_comes_before(numbers)
        self.discounts = [discounts(followers.counts) for followers in self._orders]
        self._whole = self._of_whole_text()

    def _count_what_comes_before(self, numbers: list[Ids]) -> None:
        """Turn occurrences into the numbers of different units before, except for the longest contexts."""
        alone = np.ones(len(self.targets), bool)  # its pair of the next longer context occurs nowhere else
        for k in range(len(self._orders) - 1, -1, -1):
            followers = self._orders[k]
            if k + 1 < len(self._orders):
                same = np.empty(len(self._orders[k + 1].pairs), np.int64)
                same[numbers[k + 1]] = numbers[k]
                followers.counts[...] = np.bincount(same)
            self._least[alone] = k
            alone &= followers.counts[numbers[k]] == 1

    def _of_whole_text(self) -> tuple[int, Array]:
        """The largest k whose contexts are few, and `q_k` of each of them in the whole text, `[contexts, V]`.

        It predicts every place whose own occurrence is not one of the counts up to k.
        """
        q, largest = np.full((1, self.V), 1.0 / self.V, np.float32), -1
        for k, followers in enumerate(self._orders):
            contexts = np.arange(len(followers.shorter))
            if k and len(contexts) * self.V > _WHOLE:
                break
            q, largest = q[followers.shorter], k
            _interpolate(q, [self._discounted(k, contexts, np.full(len(contexts), -1))])
        return largest, q

    def predict(self, places: Ids) -> Array:
        """The distributions of the predicted units with these numbers, `[len(places), V]`."""
        largest, whole = self._whole
        q: Array = whole[self._orders[largest].contexts[places]]
        others = np.flatnonzero(self._least[places] <= largest)
        q_of_others = np.full((len(others), self.V), 1.0 / self.V, q.dtype)
        self._interpolate(q_of_others, range(largest + 1), places[others])
        q[others] = q_of_others
        self._interpolate(q, range(largest + 1, len(self._orders)), places)
        return q

    def _interpolate(self, q: Array, orders: range, places: Ids) -> None:
        """Turn the q of the order before `orders` into the q of the last, without each place itself."""
        terms = []
        for k in orders:
            is_counted = self._least[places] <= k
            own = np.where(is_counted, self.targets[places].astype(np.int64), -1)
            terms.append(self._discounted(k, self._orders[k].contexts[places], own))
        _interpolate(q, terms)

    def _discounted(self, k: int, contexts: Ids, own: Ids) -> _Terms:
        """The terms of order k for N contexts, without one occurrence of the unit `own [N]`, -1 for none."""
        followers, N = self._orders[k], len(contexts)
        first, T = followers.edges[contexts], np.diff(followers.edges)[contexts]
        # one row for each pair of a context and a unit that follows it
        rows = np.repeat(np.arange(N), T)
        pairs = np.arange(len(rows)) + np.repeat(first - (np.cumsum(T) - T), T)
        units = followers.pairs[pairs] % self.V
        c = followers.counts[pairs] - (units == own[rows])
        D = self.discounts[k][np.minimum(c, 3)]
        C, B = np.bincount(rows, c, N), np.bincount(rows, D, N)
        kept = np.where(C > 0, B / np.maximum(C, 1), 1.0)
        return _Terms(kept, rows, units, (c - D) / np.maximum(C, 1)[rows])


def _interpolate(q: Array, terms: Sequence[_Terms]) -> None:
    """Turn `q_{k-1} [N, V]` into the q of the last of some orders that begin with k, in place."""
    # q_k = (c_k - D_k(c_k)) / C_k + B_k / C_k q_{k-1}, with the large array changed once for all orders
    kept, added = np.ones(len(q)), []
    for term in reversed(terms):
        added.append((kept[term.rows] * term.q).astype(q.dtype))
        kept *= term.kept
    q *= kept.astype(q.dtype)[:, None]
    for term, values in zip(reversed(terms), added, strict=True):
        q[term.rows, term.units] += values


def _numbered(values: Ids) -> tuple[Ids, Ids]:
    """The different values, sorted, and the number of each value among them `[N]`."""
    bits = len(values).bit_length()
    if not len(values) or int(values.max()).bit_length() + bits > _LARGEST_BITS:
        different, numbers = np.unique(values, return_inverse=True)
        return different, numbers
    # values with their places are sorted several times as fast as the places by their values
    joined = np.sort(values << bits | np.arange(len(values)))
    ordered, places = joined >> bits, joined & ((1 << bits) - 1)
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    numbers = np.empty_like(places)
    numbers[places] = np.cumsum(begins) - 1
    return ordered[begins], numbers


def discounts(counts: Ids) -> Array:
    """What is taken off a count of 0, 1, 2, and of 3 or more, `[4]`, from the counts of all pairs."""
    n = [int(np.count_nonzero(counts == i)) for i in range(5)]
    Y = n[1] / max(1, n[1] + 2 * n[2])
    # D(i) = i - (i + 1) Y n_{i+1} / n_i
    return np.array([min(max(0.0, i - (i + 1) * Y * n[i + 1] / max(1, n[i])), i) for i in range(4)])


def block(vocab: int) -> int:
    """The number of places whose distributions fit into the cache of a machine."""
    return max(1, _BLOCK // vocab)
