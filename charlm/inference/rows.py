"""The rows of a table of surprise: a unit, word, line or text each, from a text that has been scored.

Letters: `M` models, `A` characters of a piece of text, `R` rows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids
from charlm.data.characters import Flags

By = Literal["unit", "word", "line", "text"]
"""What a row is for."""

Bits = Sequence[float | None]
"""Bits by model; None if nothing in the row is predicted."""


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
class Row:
    """A row of the table."""

    by: By
    name: str
    line: int
    column: int
    start: int
    """Where it begins in its text, in code points."""
    stop: int
    """Where it ends; for a word, without the white space behind it."""
    text: str
    """The unit or word; a line without its line break; empty for a whole text."""
    bits: list[float | None]
    """`[M]`; of a word without the white space behind it."""
    bits_after: list[float | None]
    """`[M]`, of the white space behind a word."""
    ranks: list[int]
    """`[M]`; of a character of several units the largest, 0 if nothing is predicted."""
    characters: list[int]
    """`[M]`, code points that are scored."""
    unknown: list[int]
    """`[M]`, code points that a model lacks."""
    parts: Sequence[str] = ()
    """The text, as long as the row goes on."""

    def per_char(self) -> list[float | None]:
        """Bits per scored character, of each model."""
        pairs = zip(self.bits, self.characters, strict=True)
        return [None if bits is None or not count else bits / count for bits, count in pairs]

    def least_surprised(self) -> int | None:
        """The number of the model with the fewest bits, where a character that it lacks costs UNKNOWN."""
        costs = [
            ((bits or 0.0) + UNKNOWN * lacking, number)
            for number, (bits, lacking) in enumerate(zip(self.bits, self.unknown, strict=True))
            if bits is not None or lacking
        ]
        return min(costs)[1] if costs else None


UNKNOWN = math.log2(0x110000)
"""Bits of any code point, if all are equally likely: what a model that lacks a character can know of it."""


_TOGETHER = 1 << 12
"""Most rows that are made at once: more objects would keep the garbage collector busy."""


class Rows:
    """Makes rows of the pieces of texts; a row may go on from piece to piece."""

    def __init__(self, by: By) -> None:
        self.by = by
        self._open: Row | None = None
        self._after_space = self._after_break = True

    def add(self, piece: Scored) -> Iterator[Row]:
        """The rows that the next piece completes."""
        A = len(piece.limits) - 1
        if A:
            begins = self._begins(piece)
            if begins[0]:
                yield from self._closed()
            rows = self._rows(piece, begins)
            row = next(rows)
            self._open = row if self._open is None else _joined(self._open, row)
            for row in rows:
                yield from self._closed()
                self._open = row
            self._after_space, self._after_break = bool(piece.is_space[-1]), bool(piece.is_break[-1])
        elif self.by == "text" and self._open is None:
            M = len(piece.bits)
            self._open = Row(self.by, piece.name, 1, 1, 0, 0, "", [None] * M, [], [], [0] * M, [0] * M)
        is_whole = self.by == "unit" or (self._after_break and (self.by == "line" or piece.by_line))
        if piece.ends or (A and is_whole and self.by != "text"):
            yield from self._closed()
            self._after_space = self._after_break = True

    def _closed(self) -> Iterator[Row]:
        """The open row, whole, if there is one."""
        row, self._open = self._open, None
        if row is not None:
            yield _whole(row)

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

    def _rows(self, piece: Scored, begins: Flags) -> Iterator[Row]:
        """All rows with a part in a piece, as if they were whole; the first may go on with the open one."""
        begins[0] = True
        first = np.flatnonzero(begins)  # [R]
        last = np.append(first[1:], len(begins))  # [R], behind the last character
        is_shown = ~piece.is_space if self.by == "word" else np.ones(len(begins), np.bool)
        # behind the last character that is shown
        ends = first + np.add.reduceat(is_shown.astype(np.int64), first)
        if self.by == "line":
            ends -= piece.is_break[last - 1]
        after = _sums(np.where(is_shown, np.nan, piece.bits), first)
        values = (
            piece.lines[first],
            piece.columns[first],
            piece.limits[first],
            piece.limits[ends],
            _sums(np.where(is_shown, piece.bits, np.nan), first),
            after if self.by == "word" else after[:, :0],
            np.maximum.reduceat(piece.ranks, first, axis=1).astype(np.int64).T,
            np.add.reduceat(piece.scored, first, axis=1).T,
            np.add.reduceat(piece.unknown, first, axis=1).T,
        )
        for start in range(0, len(first), _TOGETHER):
            some = (array[start : start + _TOGETHER].tolist() for array in values)
            for line, column, begin, end, *rest in zip(*some, strict=True):
                text = "" if self.by == "text" else piece.text[begin:end]
                place = line, column, piece.offset + begin, piece.offset + end
                yield Row(self.by, piece.name, *place, text, *rest)


def _sums(bits: Array, first: Ids) -> npt.NDArray[np.object_]:
    """The bits `[M, A]` of rows that begin at `first [R]`: `[R, M]`, None where all are NaN."""
    sums = np.add.reduceat(np.where(np.isnan(bits), 0.0, bits), first, axis=1).astype(np.object_)
    sums[~np.logical_or.reduceat(~np.isnan(bits), first, axis=1)] = None
    return sums.T


def _whole(row: Row) -> Row:
    """A row that does not go on."""
    if row.parts:
        row.text, row.parts = "".join([*row.parts, row.text]), ()
    return row


def _joined(before: Row, after: Row) -> Row:
    """A row that goes on."""
    return dataclasses.replace(
        before,
        stop=max(before.stop, after.stop) if after.text or not before.text else before.stop,
        parts=[*before.parts, before.text] if after.text else before.parts,
        text=after.text or before.text,
        bits=_added(before.bits, after.bits),
        bits_after=_added(before.bits_after, after.bits_after),
        ranks=[max(pair) for pair in zip(before.ranks, after.ranks, strict=True)],
        characters=[a + b for a, b in zip(before.characters, after.characters, strict=True)],
        unknown=[a + b for a, b in zip(before.unknown, after.unknown, strict=True)],
    )


def _added(one: Bits, other: Bits) -> list[float | None]:
    pairs = zip(one, other, strict=True)
    return [a if b is None else b if a is None else a + b for a, b in pairs]
