"""The two forms of a text: one continuous stream, or lines.

A line, such as a name or a word, is a separate example. A line break begins and ends every line:
the line break before a line is its first input, and the line break that ends it is its last
target.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from charlm.arrays import Ids
from charlm.data.batches import Batches, LineBatches, Streams, fit

_BLOCK = 1 << 20
"""Units processed at a time: a text may be a memory map that is larger than the memory."""

_GROUP = 1 << 15
"""Lines processed at a time."""

_SPLIT_SEED = 20_240_229
"""Seed of the permutation that assigns lines to splits; a text always has the same test lines."""


@dataclass(frozen=True)
class Text:
    """A text to train on or to score: one stream; all units except the first are predicted.

    A stream is one example. An example begins from a zero state.
    """

    ids: Ids
    """The units `[N]`; of lines, of the whole text that contains them."""

    def __len__(self) -> int:
        """Number of units of a stream, or of lines."""
        return len(self.ids)

    @property
    def lines(self) -> int | None:
        """Number of lines; None for a stream."""
        return None

    @property
    def targets(self) -> int:
        """Number of units that are predicted."""
        return int(self.examples()[1].sum(dtype=np.int64))

    @property
    def units(self) -> int:
        """Number of units; of lines, those that are predicted."""
        return len(self) if self.lines is None else self.targets

    def examples(self) -> tuple[Ids, Ids]:
        """For each example `[K]`, the index of its first input in `ids`, and its number of targets."""
        return np.zeros(1, np.int64), np.array([max(0, len(self) - 1)])

    def target_places(self, start: int, stop: int) -> Ids:
        """Places in `ids` of the predicted units from number `start` up to `stop`."""
        first_inputs, lengths = self.examples()
        ends, numbers = np.cumsum(lengths, dtype=np.int64), np.arange(start, stop)
        example = np.searchsorted(ends, numbers, side="right")
        return (first_inputs + 1 - ends + lengths)[example] + numbers

    def blocks(self) -> Iterator[Ids]:
        """The units in pieces; lines are not cut."""
        for first in range(0, len(self), _BLOCK):
            yield self.ids[first : first + _BLOCK]

    def target_blocks(self) -> Iterator[Ids]:
        """The units that are predicted, in pieces."""
        return self.between(1, len(self)).blocks()

    def between(self, start: int, stop: int) -> Self:
        """The units of a stream, or the lines, from number `start` up to `stop`."""
        return type(self)(self.ids[start:stop])

    def excerpt(self, targets: int, last: bool = False) -> Self:
        """The beginning, or the end, with about as many predicted units; all of a shorter text."""
        count = min(len(self), math.ceil(len(self) * targets / max(1, self.targets)))
        return self.between(len(self) - count, len(self)) if last else self.between(0, count)

    def split(self, fractions: tuple[float, float, float]) -> list[Self]:
        """Training, validation and test, in these fractions; nothing is left out.

        The splits of a stream are contiguous, in this order.
        """
        return [self.between(*edges) for edges in pairwise(boundaries(len(self), fractions))]

    def batches(self, batch: int, seq_len: int, seed: int) -> tuple[Batches, str | None]:
        """The batches of a training text, and a warning if it is too small for the batch or the window.

        `seed` is the seed of the run. It decides the order of lines; a stream is read in text order.
        There must be something to predict.
        """
        batch, seq_len, warning = fit(len(self), batch, seq_len)
        return Streams(self.ids, batch, seq_len), warning


@dataclass(frozen=True)
class Lines(Text):
    """Some lines of a text, each a separate example; all units, line breaks included, are predicted.

    The units of the whole text are a line break, then every line with its line break.
    """

    starts: Ids
    """`[L]`, index in `ids` at which each line begins; a line break precedes it."""
    lengths: Ids
    """`[L]`, units of each line with its line break; at least 2, since no line is empty."""

    @classmethod
    def of(cls, ids: Ids) -> Lines:
        """All lines of a text `[N]` except empty ones; the first unit is the line break.

        Raises `ValueError` if the text does not begin and end with a line break.
        """
        if not len(ids) or ids[-1] != ids[0]:
            raise ValueError("a text of lines begins and ends with a line break")
        dtype = _signed_dtype(len(ids))
        blocks = ((first, ids[first : first + _BLOCK]) for first in range(0, len(ids), _BLOCK))
        breaks = np.concatenate(
            [(np.flatnonzero(block == ids[0]) + first).astype(dtype) for first, block in blocks]
        )
        lengths = np.diff(breaks)
        kept = lengths > 1
        starts, lengths = breaks[:-1][kept] + dtype.type(1), lengths[kept]
        return cls(ids, starts, lengths.astype(_signed_dtype(lengths.max(initial=0))))

    def __len__(self) -> int:
        """L."""
        return len(self.lengths)

    @property
    def lines(self) -> int:
        """L."""
        return len(self)

    def examples(self) -> tuple[Ids, Ids]:
        """Each line, from the line break before it."""
        return self.starts.astype(np.int64) - 1, self.lengths

    def blocks(self) -> Iterator[Ids]:
        """The lines, each with its line break."""
        for first in range(0, len(self), _GROUP):
            starts, lengths = self.starts[first : first + _GROUP], self.lengths[first : first + _GROUP]
            ends = np.cumsum(lengths, dtype=np.int64)
            yield self.ids[np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1])]

    target_blocks = blocks

    def hashes(self) -> Ids:
        """A number for each line `[L]`, the same for equal lines; they differ from process to process."""
        ids, places = np.asarray(self.ids), zip(self.starts.tolist(), self.lengths.tolist(), strict=True)
        numbers = (hash(ids[start : start + length].tobytes()) for start, length in places)
        return np.fromiter(numbers, np.int64, len(self))

    def between(self, start: int, stop: int) -> Lines:
        """The lines from number `start` up to `stop`."""
        return self._some(slice(start, stop))

    def split(self, fractions: tuple[float, float, float]) -> list[Lines]:
        """Every line assigned at random, to the same split every time; a split keeps their order."""
        # NumPy guarantees its raw draws, but not its permutations: if these changed, training
        # lines would move into the test split
        order = np.argsort(np.random.PCG64(_SPLIT_SEED).random_raw(len(self)), kind="stable")
        edges = pairwise(boundaries(len(self), fractions))
        return [self._some(np.sort(order[start:stop])) for start, stop in edges]

    def batches(self, batch: int, seq_len: int, seed: int) -> tuple[LineBatches, str | None]:
        """Batches of lines of similar length; a long window is normal, so no warning."""
        fitted = min(batch, len(self))
        batches = LineBatches(self.ids, self.starts, self.lengths, fitted, seq_len, seed)
        if fitted == batch:
            return batches, batches.warning()
        few = "one line" if fitted == 1 else f"{fitted} lines"
        return batches, f"the training split has only {few}: train.batch from {batch} to {fitted}"

    def _some(self, which: Ids | slice) -> Lines:
        return Lines(self.ids, self.starts[which], self.lengths[which])


def text_of(ids: Ids, by_line: bool) -> Text:
    """The units `[N]` of a text as one stream, or as lines; lines must begin with a line break."""
    return Lines.of(ids) if by_line else Text(ids)


def boundaries(size: int, fractions: tuple[float, float, float]) -> list[int]:
    """The four edges of the three splits of `size` items, each rounded down."""
    # rounded first, so that 0.7 + 0.1 = 0.7999… does not lose an item
    return [int(round(size * sum(fractions[:splits]) / sum(fractions), 6)) for splits in range(4)]


def _signed_dtype(largest: int) -> np.dtype[np.signedinteger]:
    """The smallest signed type for `largest`; NumPy turns uint64 combined with signed types to floats."""
    return np.min_scalar_type(~int(largest))
