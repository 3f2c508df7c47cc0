"""The rows of a table of surprise: a unit, word, line or text each, from a text that has been scored.

Letters: `M` models, `A` characters of a piece of text, `R` rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from charlm.arrays import Array, Ids
from charlm.data.characters import Flags

By = Literal["unit", "word", "line", "text"]
"""What a row is for."""

Bits = list[float | None]
"""Bits of rows; None if nothing in the row is predicted."""


@dataclass(frozen=True)
class Scored:
    """A piece of a text, and the surprise of its characters."""

    name: str
    """The text that it belongs to."""
    text: str
    """The piece as it is in the file."""
    limits: Ids
    """`[A+1]`, where each character begins and ends in `text`; a line break that was added is empty."""
    offset: int
    """The place of the piece in the whole text."""
    lines: Ids
    """`[A]`, the number of the line of each character, from 1."""
    columns: Ids
    """`[A]`, its place in the line, from 1."""
    is_space: Flags
    """`[A]`, which characters are white space."""
    is_break: Flags
    """`[A]`, which characters end a line."""
    bits: Array
    """`[M, A]`, NaN where nothing is predicted."""
    ranks: Array
    """`[M, A]`, 1 for the likeliest; 0 where nothing is predicted or ranks were not asked for."""
    scored: Ids
    """`[M, A]`, code points that are scored."""
    unknown: Ids
    """`[M, A]`, code points that a model lacks."""
    by_line: bool
    """Whether each line begins from a zero state."""
    ends: bool
    """Whether the text ends with it."""


@dataclass(slots=True)
class Columns:
    """Rows that follow one another, by their columns: thousands of objects would be slow to make."""

    by: By
    name: str
    line: list[int]
    """`[R]`."""
    column: list[int]
    """`[R]`."""
    start: list[int]
    """`[R]`, where each begins in its text, in code points."""
    stop: list[int]
    """`[R]`, where it ends; for a word, without the white space behind it."""
    text: list[str]
    """`[R]`, the unit or word; a line without its line break; empty for a whole text."""
    bits: list[Bits]
    """`[M][R]`; of a word without the white space behind it."""
    bits_after: list[Bits]
    """`[M][R]`, of the white space behind a word; none for other rows."""
    ranks: list[list[int]]
    """`[M][R]`; of a character of several units the largest, 0 if nothing is predicted."""
    characters: list[list[int]]
    """`[M][R]`, code points that are scored."""
    unknown: list[list[int]]
    """`[M][R]`, code points that a model lacks."""

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.text)

    def between(self, start: int, stop: int) -> Columns:
        """Some of the rows."""
        some = slice(start, stop)
        return Columns(
            self.by,
            self.name,
            self.line[some],
            self.column[some],
            self.start[some],
            self.stop[some],
            self.text[some],
            [one[some] for one in self.bits],
            [one[some] for one in self.bits_after],
            [one[some] for one in self.ranks],
            [one[some] for one in self.characters],
            [one[some] for one in self.unknown],
        )

    def per_char(self) -> list[Bits]:
        """`[M][R]`, bits per scored character."""
        pairs = (zip(*both, strict=True) for both in zip(self.bits, self.characters, strict=True))
        return [[None if own is None or not count else own / count for own, count in some] for some in pairs]

    def least_surprised(self) -> list[int | None]:
        """`[R]`, the number of the model with the fewest bits; a character that it lacks costs UNKNOWN."""
        found: list[int | None] = []
        for bits, unknown in zip(zip(*self.bits, strict=True), zip(*self.unknown, strict=True), strict=True):
            costs = [
                ((own or 0.0) + UNKNOWN * lacking, number)
                for number, (own, lacking) in enumerate(zip(bits, unknown, strict=True))
                if own is not None or lacking
            ]
            found.append(min(costs)[1] if costs else None)
        return found


UNKNOWN = math.log2(0x110000)
"""Bits of any code point, if all are equally likely: what a model that lacks a character can know of it."""


class Rows:
    """Makes rows of the pieces of texts; a row may go on from piece to piece."""

    def __init__(self, by: By) -> None:
        self.by = by
        self._open: Columns | None = None
        self._parts: list[str] = []  # the text of the open row
        self._after_space = self._after_break = True

    def add(self, piece: Scored) -> Iterator[Columns]:
        """The rows that the next piece completes."""
        A = len(piece.limits) - 1
        if A:
            begins = self._begins(piece)
            if begins[0]:
                yield from self._closed()
            rows = self._rows(piece, begins)
            self._join(rows.between(0, 1))
            if len(rows) > 1:
                yield from self._closed()
                if len(rows) > 2:
                    yield rows.between(1, len(rows) - 1)
                self._join(rows.between(len(rows) - 1, len(rows)))
            self._after_space, self._after_break = bool(piece.is_space[-1]), bool(piece.is_break[-1])
        elif self.by == "text" and self._open is None:
            none: list[Bits] = [[None] for _ in piece.bits]
            zero = [[0] for _ in piece.bits]
            self._open = Columns(self.by, piece.name, [1], [1], [0], [0], [""], none, [], zero, zero, zero)
        is_whole = self.by == "unit" or (self._after_break and (self.by == "line" or piece.by_line))
        if piece.ends or (A and is_whole and self.by != "text"):
            yield from self._closed()
            self._after_space = self._after_break = True

    def _closed(self) -> Iterator[Columns]:
        """The open row, whole, if there is one."""
        row, self._open = self._open, None
        if row is not None:
            row.text = ["".join(self._parts)]
            self._parts.clear()
            yield row

    def _join(self, row: Columns) -> None:
        """Open a row, or let the one that is open go on with it."""
        self._parts += row.text
        if (before := self._open) is None:
            self._open = row
            return
        if row.text[0] or self.by == "text":
            before.stop = row.stop
        before.bits = _added(before.bits, row.bits)
        before.bits_after = _added(before.bits_after, row.bits_after)
        before.ranks = [max(pair) for pair in zip(before.ranks, row.ranks, strict=True)]
        for mine, more in ((before.characters, row.characters), (before.unknown, row.unknown)):
            mine[:] = [[a + b] for (a,), (b,) in zip(mine, more, strict=True)]

    def _begins(self, piece: Scored) -> Flags:
        """Which characters `[A]` begin a row."""
        begins = np.full(len(piece.limits) - 1, self.by == "unit")
        after_break = np.concatenate([[self._after_break], piece.is_break[:-1]])
        if self.by == "line":
            begins |= after_break
        if self.by == "word":
            begins |= np.concatenate([[self._after_space], piece.is_space[:-1]]) & ~piece.is_space
            begins |= after_break & piece.by_line
        begins[0] |= self._open is None
        return begins

    def _rows(self, piece: Scored, begins: Flags) -> Columns:
        """All rows with a part in a piece, as if they were whole; the first may go on with the open one."""
        begins[0] = True
        first = np.flatnonzero(begins)  # [R]
        last = np.append(first[1:], len(begins))  # [R], behind the last character
        is_shown = ~piece.is_space if self.by == "word" else np.ones(len(begins), np.bool)
        # behind the last character that is shown
        ends = first + np.add.reduceat(is_shown.astype(np.int64), first)
        if self.by == "line":
            ends -= piece.is_break[last - 1]
        start, stop = piece.limits[first], piece.limits[ends]
        shown = zip(start.tolist(), stop.tolist(), strict=True)
        return Columns(
            self.by,
            piece.name,
            piece.lines[first].tolist(),
            piece.columns[first].tolist(),
            (piece.offset + start).tolist(),
            (piece.offset + stop).tolist(),
            [""] * len(first) if self.by == "text" else [piece.text[begin:end] for begin, end in shown],
            _sums(np.where(is_shown, piece.bits, np.nan), first),
            _sums(np.where(is_shown, np.nan, piece.bits), first) if self.by == "word" else [],
            np.maximum.reduceat(piece.ranks, first, axis=1).astype(np.int64).tolist(),
            np.add.reduceat(piece.scored, first, axis=1).tolist(),
            np.add.reduceat(piece.unknown, first, axis=1).tolist(),
        )


def _sums(bits: Array, first: Ids) -> list[Bits]:
    """The bits `[M, A]` of rows that begin at `first [R]`: `[M][R]`, None where all are NaN."""
    sums = np.add.reduceat(np.where(np.isnan(bits), 0.0, bits), first, axis=1).astype(np.object_)
    sums[~np.logical_or.reduceat(~np.isnan(bits), first, axis=1)] = None
    listed: list[Bits] = sums.tolist()
    return listed


def _added(one: list[Bits], other: list[Bits]) -> list[Bits]:
    """The bits of a row of which there are two parts, by model."""
    pairs = zip(one, other, strict=True)
    return [[a if b is None else b if a is None else a + b] for (a,), (b,) in pairs]
