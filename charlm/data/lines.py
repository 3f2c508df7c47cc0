"""Lines: a text in which each line is an example of its own, such as a name or a word.

The line break is the unit that begins and ends them all: the model sees the one before a line as
its first input, and is to predict the line's own as its last target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from charlm.arrays import Ids

_BLOCK = 1 << 20
"""Units looked at in one piece: a text may be a memory map larger than the memory."""

_GROUP = 1 << 15
"""Lines, likewise."""

_SPLIT_SEED = 20_240_229
"""Of the permutation that says which line is in which part: the same text, the same test lines."""


@dataclass(frozen=True)
class Lines:
    """Some lines of a text, each an example of its own."""

    ids: Ids
    """`[N]`, the whole text: a line break, then every line with the line break that ends it."""
    places: Ids
    """`[L]`, where each of these lines begins in `ids`; at place - 1 stands a line break."""
    lengths: Ids
    """`[L]`, units of each line, its own line break included; 2 at least, for no line is empty."""

    @property
    def characters(self) -> int:
        """What there is to predict: the units of all these lines, line breaks included."""
        return int(self.lengths.sum(dtype=np.int64))

    def __len__(self) -> int:
        """L."""
        return len(self.lengths)

    @classmethod
    def of(cls, ids: Ids, newline: int) -> Lines:
        """All lines of a text `[N]` but the empty ones; `newline` is the id of the line break.

        Raises `ValueError` if the text does not begin and end with a line break.
        """
        if not len(ids) or ids[0] != newline or ids[-1] != newline:
            raise ValueError("a text of lines begins and ends with a line break")
        kind = _kind(len(ids))
        breaks = np.concatenate(
            [
                (np.flatnonzero(ids[first : first + _BLOCK] == newline) + first).astype(kind)
                for first in range(0, len(ids), _BLOCK)
            ]
        )
        lengths = np.diff(breaks)
        kept = lengths > 1
        lengths = lengths[kept]
        return cls(ids, breaks[:-1][kept] + kind.type(1), lengths.astype(_kind(lengths.max(initial=0))))

    def split(self, shares: tuple[float, float, float]) -> tuple[Lines, Lines, Lines]:
        """Training, validation and test: each its share of the lines, mixed; nothing is left out.

        The same lines fall to the same parts every time. Within a part they keep their order.
        """
        # raw draws, which NumPy promises never to change: its permutations may be others one day,
        # and what was trained on would be in the test part
        order = np.argsort(np.random.PCG64(_SPLIT_SEED).random_raw(len(self)), kind="stable")
        edges = boundaries(len(self), shares)
        train, validation, test = (self._some(np.sort(order[start:stop])) for start, stop in pairwise(edges))
        return train, validation, test

    def _some(self, numbers: Ids) -> Lines:
        """The lines of these numbers."""
        return Lines(self.ids, self.places[numbers], self.lengths[numbers])


def boundaries(size: int, shares: tuple[float, float, float]) -> list[int]:
    """Where parts of so many begin and the last one ends: the sum of the shares before, rounded down."""
    # rounded first, so that 0.7 + 0.1 = 0.7999… does not lose one
    return [int(round(size * sum(shares[:parts]) / sum(shares), 6)) for parts in range(4)]


Text = Ids | Lines
"""What a part of a corpus is: one text `[N]` that is read from end to end, or lines."""


def target_count(text: Text) -> int:
    """How many units of a text are predicted: all but the first of one text, all of lines."""
    return text.characters if isinstance(text, Lines) else max(0, len(text) - 1)


def blocks(text: Text) -> Iterator[Ids]:
    """The units of a text `[N]` in pieces; of lines whole ones, one behind the other."""
    if not isinstance(text, Lines):
        for first in range(0, len(text), _BLOCK):
            yield text[first : first + _BLOCK]
        return
    for first in range(0, len(text), _GROUP):
        places, lengths = text.places[first : first + _GROUP], text.lengths[first : first + _GROUP]
        ends = np.cumsum(lengths, dtype=np.int64)
        yield text.ids[np.repeat(places - (ends - lengths), lengths) + np.arange(ends[-1])]


def _kind(largest: int) -> np.dtype[np.signedinteger]:
    """The smallest signed type with room for `largest`; unsigned 64 bits and signed make floats."""
    return np.min_scalar_type(~int(largest))
