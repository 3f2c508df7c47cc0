"""The two forms of a text: one continuous stream, or lines.

Each line is a separate example, such as a name or a word. A line break begins and ends every line:
the line break before a line is its first input, and the line break that ends it is its last
target.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from charlm.arrays import Ids
from charlm.data.batches import Batches, LineBatches, Streams, fit, fit_lines

_BLOCK = 1 << 20
"""Units processed at a time: a text may be a memory map that is larger than the memory."""

_GROUP = 1 << 15
"""Lines processed at a time."""

_SPLIT_SEED = 20_240_229
"""Seed of the permutation that assigns lines to splits; a text always has the same test lines."""


class Text(ABC):
    """A text to train on or to score.

    It consists of examples. Each example begins from a zero state.
    """

    ids: Ids
    """The units `[N]` that contain the examples."""

    @property
    @abstractmethod
    def targets(self) -> int:
        """Number of units that are predicted."""

    @property
    @abstractmethod
    def lines(self) -> int | None:
        """Number of lines; None for a stream."""

    @property
    def units(self) -> int:
        """Number of units; of lines, those that are predicted."""
        return len(self) if self.lines is None else self.targets

    @abstractmethod
    def __len__(self) -> int:
        """Number of units of a stream, or of lines."""

    @abstractmethod
    def examples(self) -> tuple[Ids, Ids]:
        """For each example `[K]`, the index of its first input in `ids`, and its number of targets."""

    @abstractmethod
    def blocks(self) -> Iterator[Ids]:
        """The units in pieces; lines are not cut."""

    @abstractmethod
    def target_blocks(self) -> Iterator[Ids]:
        """The units that are predicted, in pieces."""

    @abstractmethod
    def between(self, start: int, stop: int) -> Text:
        """The units of a stream, or the lines, from number `start` up to `stop`."""

    def excerpt(self, targets: int, last: bool = False) -> Text:
        """The beginning, or the end, with about as many predicted units; all of a shorter text."""
        count = min(len(self), math.ceil(len(self) * targets / max(1, self.targets)))
        return self.between(len(self) - count, len(self)) if last else self.between(0, count)

    @abstractmethod
    def split(self, fractions: tuple[float, float, float]) -> tuple[Text, Text, Text]:
        """Training, validation and test, in these fractions; nothing is left out."""

    @abstractmethod
    def batches(self, batch: int, seq_len: int, seed: int) -> tuple[Batches, str | None]:
        """The batches of a training text, and a warning if it is too small for the batch or the window.

        `seed` is the seed of the run. It decides the order of lines; a stream is read in text order.
        There must be something to predict.
        """


@dataclass(frozen=True)
class StreamText(Text):
    """One continuous text `[N]`, which is one example."""

    ids: Ids

    @property
    def targets(self) -> int:
        """All units except the first."""
        return max(0, len(self.ids) - 1)

    @property
    def lines(self) -> None:
        """See `Text.lines`."""
        return None

    def __len__(self) -> int:
        """N."""
        return len(self.ids)

    def examples(self) -> tuple[Ids, Ids]:
        """See `Text.examples`."""
        return np.zeros(1, np.int64), np.array([self.targets])

    def blocks(self) -> Iterator[Ids]:
        """See `Text.blocks`."""
        for first in range(0, len(self.ids), _BLOCK):
            yield self.ids[first : first + _BLOCK]

    def target_blocks(self) -> Iterator[Ids]:
        """See `Text.target_blocks`."""
        return StreamText(self.ids[1:]).blocks()

    def between(self, start: int, stop: int) -> StreamText:
        """See `Text.between`."""
        return StreamText(self.ids[start:stop])

    def split(self, fractions: tuple[float, float, float]) -> tuple[StreamText, StreamText, StreamText]:
        """See `Text.split`: contiguous, in this order."""
        edges = boundaries(len(self), fractions)
        train, validation, test = (self.between(start, stop) for start, stop in pairwise(edges))
        return train, validation, test

    def batches(self, batch: int, seq_len: int, seed: int) -> tuple[Streams, str | None]:
        """See `Text.batches`: parallel streams."""
        batch, seq_len, warning = fit(len(self), batch, seq_len)
        return Streams(self.ids, batch, seq_len), warning


@dataclass(frozen=True)
class Lines(Text):
    """Some lines of a text, each a separate example."""

    ids: Ids
    """`[N]`, the whole text: a line break, then every line with its line break."""
    starts: Ids
    """`[L]`, index in `ids` at which each line begins; a line break precedes it."""
    lengths: Ids
    """`[L]`, units of each line with its line break; at least 2, since no line is empty."""

    @property
    def targets(self) -> int:
        """Units of these lines, line breaks included."""
        return int(self.lengths.sum(dtype=np.int64))

    @property
    def lines(self) -> int:
        """L."""
        return len(self.lengths)

    def examples(self) -> tuple[Ids, Ids]:
        """See `Text.examples`: each line, from the line break before it."""
        return self.starts.astype(np.int64) - 1, self.lengths

    def blocks(self) -> Iterator[Ids]:
        """See `Text.blocks`."""
        for first in range(0, len(self), _GROUP):
            starts, lengths = self.starts[first : first + _GROUP], self.lengths[first : first + _GROUP]
            ends = np.cumsum(lengths, dtype=np.int64)
            yield self.ids[np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1])]

    def target_blocks(self) -> Iterator[Ids]:
        """See `Text.target_blocks`: every unit of a line is predicted."""
        return self.blocks()

    def __len__(self) -> int:
        """L."""
        return len(self.lengths)

    @classmethod
    def of(cls, ids: Ids, newline: int) -> Lines:
        """All lines of a text `[N]` except empty ones; `newline` is the id of the line break.

        Raises `ValueError` if the text does not begin and end with a line break.
        """
        if not len(ids) or ids[0] != newline or ids[-1] != newline:
            raise ValueError("a text of lines begins and ends with a line break")
        dtype = _signed_dtype(len(ids))
        breaks = np.concatenate(
            [
                (np.flatnonzero(ids[first : first + _BLOCK] == newline) + first).astype(dtype)
                for first in range(0, len(ids), _BLOCK)
            ]
        )
        lengths = np.diff(breaks)
        kept = lengths > 1
        lengths = lengths[kept]
        return cls(
            ids, breaks[:-1][kept] + dtype.type(1), lengths.astype(_signed_dtype(lengths.max(initial=0)))
        )

    def hashes(self) -> Ids:
        """A number for each line `[L]`, the same for equal lines; they differ from process to process."""
        ids, places = np.asarray(self.ids), zip(self.starts.tolist(), self.lengths.tolist(), strict=True)
        numbers = (hash(ids[start : start + length].tobytes()) for start, length in places)
        return np.fromiter(numbers, np.int64, len(self))

    def between(self, start: int, stop: int) -> Lines:
        """See `Text.between`."""
        return Lines(self.ids, self.starts[start:stop], self.lengths[start:stop])

    def split(self, fractions: tuple[float, float, float]) -> tuple[Lines, Lines, Lines]:
        """See `Text.split`: every line is assigned at random, to the same split every time.

        Within a split, lines keep their order.
        """
        # NumPy guarantees its raw draws, but not its permutations: if these changed, training
        # lines would move into the test split
        order = np.argsort(np.random.PCG64(_SPLIT_SEED).random_raw(len(self)), kind="stable")
        edges = boundaries(len(self), fractions)
        train, validation, test = (self._some(np.sort(order[start:stop])) for start, stop in pairwise(edges))
        return train, validation, test

    def batches(self, batch: int, seq_len: int, seed: int) -> tuple[LineBatches, str | None]:
        """See `Text.batches`: parallel lines of similar length."""
        batch, warning = fit_lines(len(self), batch)
        batches = LineBatches(self.ids, self.starts, self.lengths, batch, seq_len, seed)
        return batches, warning or batches.warning()

    def _some(self, numbers: Ids) -> Lines:
        """The lines with these numbers."""
        return Lines(self.ids, self.starts[numbers], self.lengths[numbers])


def boundaries(size: int, fractions: tuple[float, float, float]) -> list[int]:
    """The four edges of the three splits of `size` items, each rounded down."""
    # rounded first, so that 0.7 + 0.1 = 0.7999… does not lose an item
    return [int(round(size * sum(fractions[:splits]) / sum(fractions), 6)) for splits in range(4)]


def _signed_dtype(largest: int) -> np.dtype[np.signedinteger]:
    """The smallest signed type for `largest`; NumPy turns uint64 combined with signed types to floats."""
    return np.min_scalar_type(~int(largest))
