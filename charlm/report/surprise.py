"""The surprise of a model at each character of a text, and what the model expected.

Letters: `N` units of a text that are read, `C` characters that are shown, `V` vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from charlm.arrays import Array, Ids
from charlm.report.stretch import Stretch, length_of_word, position_in_line

EXPECTED = 5
"""Expected units per place, the likeliest first."""

_ROWS = 1000
"""Rows of probabilities that are computed at once."""


@dataclass(frozen=True, eq=False)
class Surprise:
    """The surprise at each unit of a stretch; a unit that is not predicted has NaN bits and rank 0."""

    bits: Array
    """`-log2 p` of the unit, `[N]`."""
    ranks: Ids
    """1 for the likeliest unit, `[N]`."""
    expected: Ids
    """The likeliest units in its place, `[N, ≤EXPECTED]`."""
    probabilities: Array
    """Their probabilities, `[N, ≤EXPECTED]`."""


def surprise(logits: Array, ids: Ids) -> Surprise:
    """The surprise at units `[N]`, from the logits `[N, V]` of a `Trace`: row n predicts unit n+1."""
    N, V = logits.shape
    count = min(EXPECTED, V)
    bits, ranks = np.full(N, np.nan), np.zeros(N, np.int64)
    expected, probabilities = np.zeros((N, count), np.int64), np.zeros((N, count))
    for start in range(1, N, _ROWS):
        rows = slice(start, min(start + _ROWS, N))
        log_p = logits[rows.start - 1 : rows.stop - 1].astype(np.float64)
        log_p -= log_p.max(axis=1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
        own = np.take_along_axis(log_p, ids[rows].astype(np.int64)[:, None], axis=1)
        # the loss of a unit that is nearly certain may round to -1e-17
        bits[rows] = np.maximum(0.0, -own[:, 0] / math.log(2))
        ranks[rows] = 1 + (log_p > own).sum(axis=1)
        best = np.sort(np.argpartition(-log_p, count - 1, axis=1)[:, :count], axis=1)
        order = np.argsort(-np.take_along_axis(log_p, best, axis=1), axis=1, kind="stable")
        expected[rows] = np.take_along_axis(best, order, axis=1)
        probabilities[rows] = np.exp(np.take_along_axis(log_p, expected[rows], axis=1))
    return Surprise(bits, ranks, expected, probabilities)


def hardest_words(stretch: Stretch, bits: Array, count: int = 12) -> list[slice]:
    """The words with the most bits, each at its hardest occurrence; `bits [C]` are the characters'."""
    words = sorted(stretch.words(), key=lambda word: -np.nan_to_num(bits[word].sum(), nan=-1.0))
    hardest: dict[str, slice] = {}
    for word in words:
        if not np.isnan(bits[word]).any():  # every character of the word is predicted
            hardest.setdefault("".join(stretch.letters[word]), word)
    return list(hardest.values())[:count]


class Mean(NamedTuple):
    """The mean bits of some characters."""

    label: str
    bits: float
    characters: int


def by_position(stretch: Stretch, bits: Array) -> dict[str, list[Mean]]:
    """The mean of `bits [C]` by the position of the character in its line, and in its word.

    The first character of a line has the position 1, and its line break the last one. The position
    in a word is 0 between words.
    """
    # the position in a line depends on the characters before
    in_line = position_in_line(["", *stretch.letters])[:-1] + 1
    return {
        "position in the line": _means(in_line, bits, (1, 2, 3, 4, 6, 11, 21, 41, 81, 161)),
        "position in the word": _means(length_of_word(stretch.letters), bits, (*range(9), 10)),
    }


def _means(places: Array, bits: Array, edges: Sequence[int]) -> list[Mean]:
    """The mean of `bits [C]` by `places [C]`, from each edge up to the next; place 0 is `other`."""
    groups = []
    for low, high in pairwise([*edges, math.inf]):
        some = bits[(places >= low) & (places < high) & ~np.isnan(bits)]
        label = f"{low}+" if high == math.inf else f"{low}–{high - 1}" if high - low > 1 else f"{low}"
        if len(some):
            groups.append(Mean(label if low else "other", float(some.mean()), len(some)))
    return groups
