"""The next unit of a text by its counts: interpolated absolute discounting.

Ney, Essen, Kneser 1994, "On structuring probabilistic dependences in stochastic language modelling". The
units that follow the same context of k units are counted, for k from 0 to the largest order K::

    q_k(v) = max(c_k(v) - D, 0) / C_k + D T_k / C_k q_{k-1}(v),        q_{-1}(v) = 1 / V

`c_k(v)` is how often unit v follows the context, `C_k` the sum of these counts, and `T_k` the number of
different units that follow. Each place of the text is predicted without its own occurrence: otherwise a
context that occurs once would predict its unit with certainty.

Letters: `N` predicted units, `V` vocabulary.
"""

from typing import NamedTuple

import numpy as np

from charlm.arrays import Array, Ids
from charlm.data.texts import Text

ORDER = 7
"""K: units of the longest context."""

DISCOUNT = 0.6
"""D."""

BYTES = 130
"""Memory for each unit of a text while it is counted, as measured on the tales."""

_BLOCK = 1 << 19
"""Probabilities that are computed at a time: larger blocks leave the cache, and take twice as long."""


class _Followers(NamedTuple):
    """The units that follow each context of one length, `R` pairs of a context and a unit, sorted."""

    contexts: Ids
    """The number of the context of each place, `[N]`."""
    edges: Ids
    """The first pair of each context, and the end of the last."""
    units: Ids
    """`[R]`."""
    counts: Ids
    """`[R]`."""


class Counts:
    """The counts of all places of a text, which predict each of them."""

    def __init__(self, text: Text, vocab: int, order: int = ORDER, discount: float = DISCOUNT) -> None:
        """Count the predicted units of `text`, of lines with no context from before the line."""
        first_inputs, lengths = text.examples()
        N = text.targets
        places = text.target_places(0, N)
        known = places - np.repeat(first_inputs, lengths)  # units before each place in its example, [N]
        self.targets, self.V, self.discount = np.asarray(text.ids[places]), vocab, discount
        contexts = np.zeros(N, np.int64)
        self._orders = []
        for k in range(order + 1):
            if k:  # the context of k units is one of k - 1 and the unit before it; V where there is none
                before = np.where(known >= k, text.ids[np.maximum(places - k, 0)], vocab)
                _, contexts = np.unique(contexts * (vocab + 1) + before, return_inverse=True)
            pairs, counts = np.unique(contexts * vocab + self.targets, return_counts=True)
            edges = np.searchsorted(pairs, np.arange(int(contexts.max()) + 2) * vocab)
            self._orders.append(_Followers(contexts, edges, pairs % vocab, counts))

    def predict(self, start: int, stop: int) -> Array:
        """The distributions of the places from number `start` up to `stop`, `[stop - start, V]`."""
        own = self.targets[start:stop]
        q = np.full((stop - start, self.V), 1.0 / self.V, np.float32)
        for followers in self._orders:
            self._interpolate(q, own, followers, followers.contexts[start:stop])
        return q

    def _interpolate(self, q: Array, own: Ids, followers: _Followers, contexts: Ids) -> None:
        """Turn `q_{k-1}` into `q_k`, in place; without the occurrence of `own` itself."""
        D = self.discount
        first, T = followers.edges[contexts], np.diff(followers.edges)[contexts]
        # one row for each pair of a place and a unit that follows its context
        rows = np.repeat(np.arange(len(own)), T)
        pairs = np.arange(len(rows)) + np.repeat(first - (np.cumsum(T) - T), T)
        units, c = followers.units[pairs], followers.counts[pairs] - (followers.units[pairs] == own[rows])
        C = np.bincount(rows, c, len(own))
        T = np.bincount(rows, c > 0, len(own))
        seen = C > 0
        # q_k = max(c_k - D, 0) / C_k + D T_k / C_k q_{k-1}
        q *= np.where(seen, D * T / np.maximum(C, 1), 1.0).astype(q.dtype)[:, None]
        q[rows, units] += (np.maximum(c - D, 0.0) / np.maximum(C, 1)[rows]).astype(q.dtype)


def blocks(N: int, vocab: int) -> list[slice]:
    """The places of a text in blocks whose distributions fit into the cache of a machine."""
    size = max(1, _BLOCK // vocab)
    return [slice(start, min(start + size, N)) for start in range(0, N, size)]
