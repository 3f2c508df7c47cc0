"""How much each character of a text surprises a model, and what the model expected.

Letters: `N` units of a text that are read, `C` characters that are shown, `V` vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from charlm.arrays import Array, Ids
from charlm.report.properties import length_of_word, position_in_line
from charlm.report.stretch import Stretch

EXPECTED = 5
"""Units that are named, the likeliest first."""

HARDEST = 12
"""Words that are named."""

_LINE_EDGES = (0, 1, 2, 3, 5, 10, 20, 40, 80, 160)
"""Positions in a line, from which on they are taken together."""

_WORD_EDGES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10)
"""Positions in a word; 0 is what stands between words."""

_ROWS = 1000
"""Rows of probabilities that are looked at together."""


@dataclass(frozen=True, eq=False)
class Surprise:
    """Of each unit of a stretch; a unit that is not predicted has NaN bits."""

    bits: Array
    """`-log2 p` of the unit, `[N]`."""
    ranks: Ids
    """1 for the likeliest unit, `[N]`; 0 if it is not predicted."""
    expected: Ids
    """The likeliest units in its place, `[N, ≤EXPECTED]`."""
    probabilities: Array
    """Of those, `[N, ≤EXPECTED]`."""


def surprise(logits: Array, ids: Ids) -> Surprise:
    """That of units `[N]`, from the logits `[N, V]` of a `Trace`: row n predicts unit n+1."""
    N, V = logits.shape
    count = min(EXPECTED, V)
    bits, ranks = np.full(N, np.nan), np.zeros(N, np.int64)
    expected, probabilities = np.zeros((N, count), np.int64), np.zeros((N, count))
    for start in range(1, N, _ROWS):
        rows = slice(start, min(start + _ROWS, N))
        before = logits[rows.start - 1 : rows.stop - 1].astype(np.float64)
        log_p = before - before.max(axis=1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
        own = np.take_along_axis(log_p, ids[rows].astype(np.int64)[:, None], axis=1)
        # a unit that is nearly certain may have a loss of -1e-17
        bits[rows] = np.maximum(0.0, -own[:, 0] / math.log(2))
        ranks[rows] = 1 + (log_p > own).sum(axis=1)
        best = np.sort(np.argpartition(-log_p, count - 1, axis=1)[:, :count], axis=1)
        order = np.argsort(-np.take_along_axis(log_p, best, axis=1), axis=1, kind="stable")
        expected[rows] = np.take_along_axis(best, order, axis=1)
        probabilities[rows] = np.exp(np.take_along_axis(log_p, expected[rows], axis=1))
    return Surprise(bits, ranks, expected, probabilities)


def hardest_words(stretch: Stretch, bits: Array, count: int = HARDEST) -> list[slice]:
    """The words with the most bits, each once, where it has most; `bits [C]` are the characters'."""
    found: dict[str, tuple[float, slice]] = {}
    for word in stretch.words():
        text, total = "".join(stretch.letters[word]), float(bits[word].sum())
        # a word that is not wholly predicted has NaN
        if not math.isnan(total) and total > found.get(text, (-1.0, word))[0]:
            found[text] = total, word
    best = sorted(found.values(), key=lambda one: (-one[0], one[1].start))
    return [word for _, word in best[:count]]


@dataclass(frozen=True)
class Mean:
    """The mean bits of some characters."""

    label: str
    bits: float
    count: int


def by_position_in_line(stretch: Stretch, bits: Array) -> list[Mean]:
    """Mean bits of the characters by their place in the line: 1 is the first, a line break the last."""
    places = position_in_line(["", *stretch.letters])[:-1]  # what stands before a character in its line
    return _means(places, bits, _LINE_EDGES, shift=1)


def by_position_in_word(stretch: Stretch, bits: Array) -> list[Mean]:
    """Mean bits of the characters by their place in the word; what belongs to none comes first."""
    return _means(length_of_word(stretch.letters), bits, _WORD_EDGES, shift=0)


def _means(places: Array, bits: Array, edges: Sequence[int], shift: int) -> list[Mean]:
    """The mean at the places from each edge to the next; of those that there are."""
    found = []
    for low, high in pairwise([*edges, math.inf]):
        some = bits[(places >= low) & (places < high) & ~np.isnan(bits)]
        first, last = int(low) + shift, high + shift - 1
        label = f"{first}" if first == last else f"{first}+" if high == math.inf else f"{first}–{int(last)}"
        if len(some):
            found.append(Mean(label if first else "other", float(some.mean()), len(some)))
    return found
