"""How surprising each character of a text is, for one model or several, while the text is read.

Each model reads the text in its own units (see `Judge`). A character has the bits of its units.

Letters: `M` models, `N` units of a piece of text, `A` characters of it.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids
from charlm.config.keys import CorpusConfig
from charlm.data.alignment import aligned, in_common
from charlm.data.characters import Flags, code_points, is_space, limits
from charlm.data.corpus import Progress, nothing
from charlm.data.reader import text_of_file
from charlm.data.sources import LiveInput, Source, find
from charlm.data.units import LINE_BREAK
from charlm.inference.judge import Judge, Reading
from charlm.inference.rows import Scored
from charlm.inference.score import LONG
from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import ConfigError, VocabularyError
from charlm.system.files import STANDARD_INPUT

Reset = Literal["none", "line", "text"]
"""Where the state begins from zero: once in the files of a path, with each line, or with each file."""

Texts = Iterable[tuple[str, Iterable[str], str]]
"""Texts that follow one another: of each the name, the contents in blocks, and what is added behind."""


_HELD = 4 * LONG
"""Characters from which on a line is read in pieces, as a text is. It has LONG units, composed ones too."""


@dataclass(frozen=True)
class _Waiting:
    """A piece of text whose values are not there yet."""

    piece: Scored
    reads: Sequence[Reading]
    fed: Sequence[Flags]
    """For each model, which of its units `[N]` it was given."""
    counted: Sequence[Flags]
    """For each model, which of its units `[N]` count: units that it lacks may be read as `<unk>`."""


class Surprisal:
    """Reads texts with several models, and gives the surprise of each character.

    With `by_line`, each line begins from a zero state and is read from a line break; an empty line is not
    scored, and a last line without a line break is scored as if it had one. With `count_unknown`, a
    character that a model lacks is left out by that model, or read as its `<unk>`, and not scored by it.
    """

    def __init__(self, judges: Sequence[Judge], by_line: bool = False, count_unknown: bool = False) -> None:
        """Raises `ConfigError` if lines are asked of a model that knows no line breaks."""
        if by_line and any(judge.vocabulary.line_break is None for judge in judges):
            raise ConfigError("the model knows no line breaks, from which to read a line: use `reset=text`")
        self.judges, self.by_line, self.count_unknown = judges, by_line, count_unknown
        self._folds = all(judge.units.newlines == "lf" for judge in judges)
        self._end_of_line = re.compile("\r\n?|\n" if self._folds else "\n")
        self._queue: deque[_Waiting] = deque()
        self._begin_text()

    def close(self) -> None:
        """End the workers."""
        for judge in self.judges:
            judge.close()

    def _begin_text(self) -> None:
        self._offset, self._line, self._column = 0, 1, 1
        self._within = False  # a line that is read in several pieces

    def scored(self, texts: Texts, live: bool = False, alone: bool = False) -> Iterator[Scored]:
        """Some pieces of texts that follow one another, read from a zero state; `flushed` gives the rest.

        The state is carried from text to text. If `live`, lines are scored as soon as they are there. A short
        text, if it is `alone`, waits for others like it, and is scored side by side with them.

        Raises `VocabularyError` for a character that a model lacks, unless it is counted.
        """
        if alone and not self.by_line:
            ((name, contents, behind),) = texts
            blocks = iter(contents)
            begin, ended = _beginning(blocks, LONG)
            if ended:
                self._begin_text()
                yield from self._add(name, begin + behind, ends=True, alone=True)
                return
            texts = [(name, chain([begin], blocks), behind)]
        if not self.by_line:
            yield from self.flushed()
        for judge in self.judges:
            judge.begin()
        for name, contents, behind in texts:
            self._begin_text()
            held: list[str] = []
            for text in contents:
                held.append(text)
                waits = self.by_line and not self._within and sum(map(len, held)) < _HELD
                if waits and "\n" not in text and "\r" not in text:
                    continue
                whole = "".join(held)
                cut = self._cut(whole)
                held = [whole[cut:]]
                if cut:
                    yield from self._add(name, whole[:cut])
                    if live and not self._within:
                        yield from self.flushed()
            yield from self._add(name, "".join(held) + behind, ends=True)
            if live:
                yield from self.flushed()
        if not self.by_line:
            yield from self.flushed()

    def _cut(self, text: str) -> int:
        """Where a piece can end: behind a line, or where neither units nor characters are divided."""
        if self.by_line:
            end = text.rfind("\n")
            end = 1 + (max(end, text.rfind("\r", 0, -1)) if self._folds else end)
            if end or not (self._within or len(text) >= _HELD):
                return end
        cut = min(judge.units.cut(text) for judge in self.judges)
        blank = max(text.rfind(" ", 0, cut), text.rfind("\n", 0, cut))
        if blank > 0 and len(limits(text[blank - 1 : blank + 1])) > 2:  # before it: a mark may follow
            return blank
        return int(limits(text[:cut])[:-1].max(initial=0))

    def _add(self, name: str, text: str, ends: bool = False, alone: bool = False) -> Iterator[Scored]:
        """Give a piece of text to all models; yields the pieces whose values are there."""
        if self._within and (end := self._end_of_line.search(text)) and end.end() < len(text):
            yield from self._add(name, text[: end.end()])
            text = text[end.end() :]
        if self.by_line and not (self._within or ends or self._is_break(text[-1])):
            yield from self.flushed()
            self._within = True
            for judge in self.judges:
                judge.begin(line=True)
        added = self.by_line and ends and text != "" and not self._is_break(text[-1])
        whole = text + "\n" * added
        edges = limits(whole)
        reads = [judge.read(whole, edges) for judge in self.judges]
        common = in_common([read.edges for read in reads])
        edges = edges[common]
        reads = [replace(read, edges=read.edges[common]) for read in reads]
        piece = self._piece(name, whole, edges, ends)
        lacking = [_any(read.lacking, read.edges) for read in reads]  # [A]
        if not self.count_unknown:
            for judge, read, some in zip(self.judges, reads, lacking, strict=True):
                if some.any() and not judge.vocabulary.has_unknown:
                    self._refuse(judge, read, piece, int(np.flatnonzero(some)[0]))
            lacking = [np.zeros_like(some) for some in lacking]
        if self.by_line:  # a line ends even where a model lacks the carriage return
            lacking = [some & ~piece.is_break for some in lacking]
        empty = self._empty_lines(piece) if self.by_line else np.zeros(len(edges) - 1, np.bool)
        sizes = np.diff(edges)
        scored = np.tile(np.where(piece.is_break, 1, sizes) if self.by_line else sizes, (len(reads), 1))
        unknown = np.where(np.array(lacking), sizes, 0)  # [M, A]
        fed, counted = [], []
        for number, (judge, read) in enumerate(zip(self.judges, reads, strict=True)):
            unscored, left_out = lacking[number] | empty, empty
            if not judge.vocabulary.has_unknown:
                left_out = left_out | lacking[number]
            scored[number, unscored] = 0
            units = np.diff(read.edges)  # [A]
            fed.append(np.repeat(~left_out, units))
            if not judge.vocabulary.has_unknown:
                fed[-1] &= ~read.lacking
            counted.append(np.repeat(~unscored, units))
            if len(units):
                units = np.add.reduceat(fed[-1].astype(np.int64), read.edges[:-1])
            ids = read.ids[fed[-1]]
            if self.by_line and not self._within:
                judge.feed_lines(ids, _lengths(units, piece.is_break & ~left_out))
                continue
            if len(ids) and (alone or not judge.begun):  # the first character of all is not predicted
                first = int(np.flatnonzero(units)[0])
                scored[number, first] = max(0, scored[number, first] - 1)
            if alone:
                judge.feed_text(ids)
            else:
                judge.feed(ids)
        if added:  # it is not in the text
            edges = edges.copy()
            edges[-1] -= 1
        piece = replace(piece, text=text, limits=edges, scored=scored, unknown=unknown)
        self._queue.append(_Waiting(piece, reads, fed, counted))
        if self._within and (ends or self._is_break(text[-1])):
            self._within = False
            yield from self.flushed()
        else:
            yield from self._ready()

    def _is_break(self, character: str) -> bool:
        return character == "\n" or (self._folds and character == "\r")

    def _piece(self, name: str, text: str, edges: Ids, ends: bool) -> Scored:
        """A piece without its values, and the places of its characters."""
        points = code_points(text)
        A = len(edges) - 1
        last = points[edges[1:] - 1]
        is_break = (last == LINE_BREAK) | ((last == ord("\r")) & self._folds)
        starts = np.concatenate(
            [[1 - self._column], np.where(is_break, edges[1:], -len(text) - self._column)]
        )
        starts = np.maximum.accumulate(starts)  # of the line of each character
        lines = self._line + np.concatenate([[0], np.cumsum(is_break)])
        none: npt.NDArray[Any] = np.zeros((len(self.judges), A), np.int64)
        spaces = np.logical_and.reduceat(is_space(points), edges[:-1]) if A else np.zeros(0, np.bool)
        piece = Scored(
            name,
            text,
            edges,
            self._offset,
            lines[:-1],
            edges[:-1] - starts[:-1] + 1,
            spaces,
            is_break,
            none,
            none,
            none,
            none,
            self.by_line,
            ends,
        )
        self._offset += len(text)
        self._line, self._column = int(lines[-1]), len(text) - int(starts[-1]) + 1
        return piece

    def _empty_lines(self, piece: Scored) -> Flags:
        """Which characters `[A]` are the line break of an empty line."""
        before: Flags = np.concatenate([[True], piece.is_break[:-1]])[: len(piece.is_break)]
        return before & piece.is_break

    def _refuse(self, judge: Judge, read: Reading, piece: Scored, place: int) -> None:
        """Raise the error about a character that a model lacks."""
        units = slice(read.edges[place], read.edges[place + 1])
        unit = int(np.flatnonzero(read.lacking[units])[0]) + int(units.start)
        codes, _ = aligned(judge.units, piece.text, piece.limits)
        column = int(piece.columns[place])
        if units.stop - units.start == piece.limits[place + 1] - piece.limits[place]:
            column += unit - int(units.start)  # one unit for each code point
        where = f"{piece.name}, line {piece.lines[place]}, column {column}"
        raise VocabularyError(
            f"{where}: the model's vocabulary of {len(judge.vocabulary)} lacks "
            f"{judge.units.describe(int(codes[unit]))}; `unknown=count` counts such characters instead"
        )

    def flushed(self) -> Iterator[Scored]:
        """The pieces that wait, scored."""
        for judge in self.judges:
            judge.flush()
        yield from self._ready()

    def _ready(self) -> Iterator[Scored]:
        """The pieces at the head of the queue whose values are there, with them."""
        while self._queue:
            waiting = self._queue[0]
            sizes = [int(np.count_nonzero(fed)) for fed in waiting.fed]
            if any(judge.available < size for judge, size in zip(self.judges, sizes, strict=True)):
                return
            self._queue.popleft()
            bits, ranks = [], []
            for judge, read, fed, counted, size in zip(
                self.judges, waiting.reads, waiting.fed, waiting.counted, sizes, strict=True
            ):
                values = np.full((judge.K, len(read.ids)), np.nan)
                values[:, fed] = judge.take(size)
                values[:, ~counted] = np.nan
                bits.append(_summed(values[0], read.edges) / math.log(2))
                largest = np.nan_to_num(values[-1]) if judge.K > 1 else np.zeros(len(read.ids))
                ranks.append(np.maximum.reduceat(largest, read.edges[:-1]) if len(largest) else np.zeros(0))
            yield replace(waiting.piece, bits=np.array(bits), ranks=np.array(ranks))


def _beginning(blocks: Iterator[str], most: int) -> tuple[str, bool]:
    """The blocks of a text until they have more than `most` characters, and whether that is all."""
    begin: list[str] = []
    for block in blocks:
        begin.append(block)
        if sum(map(len, begin)) > most:
            return "".join(begin), False
    return "".join(begin), True


def _any(flags: Flags, edges: Ids) -> Flags:
    """For which characters `[A]` a flag of their units `[N]` is set."""
    if len(edges) < 2:
        return np.zeros(0, np.bool)
    some: Flags = np.logical_or.reduceat(flags, edges[:-1])
    return some


def _lengths(units: Ids, ends: Flags) -> Ids:
    """The units of each line, from the units `[A]` of characters and which of them end a line."""
    totals = np.cumsum(units)[ends]
    return np.diff(totals, prepend=0)


def _summed(nats: Array, edges: Ids) -> Array:
    """The nats of each character `[A]`, NaN where no unit of it is predicted."""
    if len(edges) < 2:
        return np.zeros(0)
    predicted = np.logical_or.reduceat(~np.isnan(nats), edges[:-1])
    sums: Array = np.add.reduceat(np.nan_to_num(nats), edges[:-1])
    return np.where(predicted, np.maximum(sums, 0.0), np.nan)


@contextlib.contextmanager
def surprisal(
    judges: Sequence[Judge], by_line: bool = False, count_unknown: bool = False
) -> Iterator[Surprisal]:
    """A `Surprisal` whose workers end with the block."""
    with contextlib.ExitStack() as stack:
        for judge in judges:
            stack.callback(judge.close)
        yield Surprisal(judges, by_line, count_unknown)


def usual_reset(models: Sequence[Checkpoint]) -> Reset:
    """Where the state began when the models were trained; raises `ConfigError` if they differ."""
    modes = {model.config.corpus.mode for model in models}
    if len(modes) > 1:
        raise ConfigError(
            "some models are of lines and some are not: say where the state begins with `reset`"
        )
    return "line" if modes == {"lines"} else "none"


def pieces_of(
    reading: Surprisal,
    paths: Sequence[str],
    reset: Reset,
    corpus: CorpusConfig,
    announce: Callable[[str], object] = lambda what: None,
    remark: Callable[[str], object] = lambda what: None,
    progress: Progress = nothing,
) -> Iterator[Scored]:
    """The scored pieces of the texts at `paths`, as they are read; `-` is standard input, as it comes.

    `corpus` says their encoding, and what stands between the files of one path. For `announce` and
    `remark` see `sources.find`. Where all texts are files, `progress` is called with `total` and their
    bytes, then with the bytes just read.

    Raises what `find` does, `EncodingError` for a text that cannot be decoded, and what
    `Surprisal.scored` does.
    """
    encoding = None if all(judge.units.is_byte for judge in reading.judges) else corpus.encoding
    lives = [path == STANDARD_INPUT for path in paths]
    each: list[list[Source]] = [
        [LiveInput(announce)] if live else find([path], announce, remark)
        for path, live in zip(paths, lives, strict=True)
    ]
    if not any(lives):
        progress("total", sum(source.stamp()[0] for sources in each for source in sources))

    def advance(size: int) -> None:
        if not any(lives):
            progress("scoring", size)

    for path, live, sources in zip(paths, lives, each, strict=True):
        for group in [[source] for source in sources] if reset == "text" else [sources]:
            texts = (
                (
                    path if live else source.name,
                    text_of_file(source, encoding, advance),
                    "" if reset == "line" or source is group[-1] else corpus.separator,
                )
                for source in group
            )
            yield from reading.scored(texts, live and reset == "line", len(group) == 1)
    yield from reading.flushed()
