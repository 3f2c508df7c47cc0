"""The two kinds of text: one stream that is read from end to end, or lines.

Each line is an example of its own, such as a name or a word. A line break comes before it and
ends it: the one before is the line's first input, its own is the last target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from charlm.arrays import Ids
from charlm.data.batches import Batches, LineBatches, Streams, fit, fit_lines

_BLOCK = 1 << 20
"""Units processed at a time: a text may be a memory map larger than the memory."""

_GROUP = 1 << 15
"""Lines processed at a time."""

_SPLIT_SEED = 20_240_229
"""Seed of the permutation that assigns lines to splits: the same text, the same test lines."""


class Text(ABC):
    """A part of a corpus: what a model is trained or scored on.

    It consists of examples, each of which begins from a zero state.
    """

    ids: Ids
    """Units `[N]` that contain the examples."""

    @property
    @abstractmethod
    def targets(self) -> int:
        """How many units are predicted."""

    @property
    @abstractmethod
    def lines(self) -> int | None:
        """How many lines there are; None for a stream."""

    @abstractmethod
    def __len__(self) -> int:
        """Units of a stream, or lines."""

    @abstractmethod
    def examples(self) -> tuple[Ids, Ids]:
        """Index in `ids` of the first input of each example `[K]`, and its number of targets `[K]`."""

    @abstractmethod
    def blocks(self) -> Iterator[Ids]:
        """The units in pieces; a line is never cut."""

    @abstractmethod
    def target_blocks(self) -> Iterator[Ids]:
        """The units that are predicted, in pieces."""

    @abstractmethod
    def split(self, shares: tuple[float, float, float]) -> tuple[Text, Text, Text]:
        """Training, validation and test, of sizes proportional to `shares`; nothing is left out."""

    @abstractmethod
    def batches(self, batch: int, seq_len: int, seed: int) -> tuple[Batches, str | None]:
        """The order in which it is trained on; and a warning if it is too small for batch or window.

        `seed` is that of the run, for the order of lines. There must be something to predict.
        """


@dataclass(frozen=True)
class StreamText(Text):
    """A text `[N]` that is read from end to end: one example."""

    ids: Ids

    @property
    def targets(self) -> int:
        """All units but the first, which has no input before it."""
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

    def split(self, shares: tuple[float, float, float]) -> tuple[StreamText, StreamText, StreamText]:
        """See `Text.split`: contiguous, in this order."""
        edges = boundaries(len(self), shares)
        train, validation, test = (StreamText(self.ids[start:stop]) for start, stop in pairwise(edges))
        return train, validation, test

    def batches(self, batch: int, seq_len: int, seed: int) -> tuple[Streams, str | None]:
        """See `Text.batches`: streams side by side."""
        batch, seq_len, warning = fit(len(self), batch, seq_len)
        return Streams(self.ids, batch, seq_len), warning


@dataclass(frozen=True)
class Lines(Text):
    """Lines of a text, each an example of its own."""

    ids: Ids
    """`[N]`, the whole text: a line break, then every line with the line break that ends it."""
    starts: Ids
    """`[L]`, index in `ids` of the first unit of each line; a line break comes before it."""
    lengths: Ids
    """`[L]`, units of each line, its own line break included; at least 2, as no line is empty."""

    @property
    def targets(self) -> int:
        """The units of all these lines, line breaks included."""
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
        """See `Text.split`: shuffled, the same way every time; a split keeps the order of its lines."""
        # from raw draws, which NumPy promises never to change: a permutation of another version
        # could put lines that were trained on into the test split
        order = np.argsort(np.random.PCG64(_SPLIT_SEED).random_raw(len(self)), kind="stable")
        edges = boundaries(len(self), shares)
        train, validation, test = (self._some(np.sort(order[start:stop])) for start, stop in pairwise(edges))
        return train, validation, test

    def batches(self, batch: int, seq_len: int, seed: int) -> tuple[LineBatches, str | None]:
        """See `Text.batches`: lines of similar lengths side by side."""
        batch, warning = fit_lines(len(self), batch)
        batches = LineBatches(self.ids, self.starts, self.lengths, batch, seq_len, seed)
        return batches, warning or batches.warning()

    def _some(self, numbers: Ids) -> Lines:
        """The lines of these numbers."""
        return Lines(self.ids, self.starts[numbers], self.lengths[numbers])


def boundaries(size: int, shares: tuple[float, float, float]) -> list[int]:
    """Where the three splits of `size` begin, and where the last ends: cumulative shares, rounded down."""
    # rounded to 6 digits first, so that 0.7 + 0.1 = 0.7999… does not lose one
    return [int(round(size * sum(shares[:number]) / sum(shares), 6)) for number in range(4)]


def _kind(largest: int) -> np.dtype[np.signedinteger]:
    """The smallest signed type for `largest`; NumPy adds uint64 and signed integers as floats."""
    return np.min_scalar_type(~int(largest))
