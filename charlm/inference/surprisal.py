"""How surprising each character of a text is, for one model or several, while the text is read.

The text may be longer than the memory. Each model reads it in its own units and scores a block of them
at a time with the same `Scorer` that sums up a whole text. A character has the bits of its units.

Letters: `M` models, `N` units of a piece of text, `A` characters of it, `K` values per unit.
"""

from __future__ import annotations

import contextlib
import html
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids
from charlm.config.keys import CorpusConfig
from charlm.data.alignment import aligned, in_common
from charlm.data.characters import Flags, code_points, is_space, limits
from charlm.data.reader import text_of_file
from charlm.data.sources import LiveInput, Source, find
from charlm.data.units import LINE_BREAK
from charlm.data.vocabulary import translated
from charlm.inference.dynamic import Constants, Learner
from charlm.inference.evaluate import adaptation
from charlm.inference.rows import By, Row, Rows, Scored
from charlm.inference.score import BLOCK, Scorer, blocks_of_lines
from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import ConfigError, VocabularyError
from charlm.system.files import STANDARD_INPUT
from charlm.system.team import ALONE, Team
from charlm.system.workers import shared
from charlm.web.signs import without_effect
from charlm.web.text import shade

Reset = Literal["none", "line", "text"]
"""Where the state begins from zero: once in the files of a path, with each line, or with each file."""

_FEWEST = 1 << 12
"""Units for which there is room at first."""

_TAIL = 64
"""Code points at the end of a piece in which the last character is looked for."""


@dataclass(frozen=True)
class _Read:
    """What a model makes of a piece of text."""

    edges: Ids
    """`[A+1]`, the unit that follows each limit of a character."""
    ids: Ids
    """`[N]`."""
    lacking: Flags
    """`[N]`, which units the vocabulary lacks."""


class Judge:
    """One model that reads a text in pieces and gives K values of each unit: nats, and the rank if asked.

    The values come in the order of the units, when a block is full or `flush` is called.
    """

    def __init__(
        self,
        loaded: Checkpoint,
        team: Team = ALONE,
        ranks: bool = False,
        learned: tuple[Array, Constants] | None = None,
    ) -> None:
        """With `learned`, the gradients and constants of dynamic evaluation, the model goes on learning."""
        self.vocabulary, self.units = loaded.vocabulary, loaded.vocabulary.units
        self.K, self.available = 1 + ranks, 0
        self._loaded = loaded
        self._team = team.of(parts=loaded.config.train.shards)
        codes = self.vocabulary.codes
        self._table = np.full(int(codes.max(initial=0)) + 2, len(codes), np.min_scalar_type(len(codes)))
        self._table[codes] = np.arange(len(codes))
        self._values: deque[npt.NDArray[Any]] = deque()
        self._waiting: list[Ids] = []
        self._lengths: list[Ids] = []
        self._size = 0
        self._room, self._ids = _FEWEST, shared((_FEWEST + 1,), self._table.dtype)
        self._learner: Learner | None = None
        if learned is not None:
            self._learner = Learner(loaded.model, loaded.parameters, *learned, self._ids, ranks=ranks)
        self._scorer: Scorer | Learner = self._learner or self._new()
        self.begin()

    def _new(self) -> Scorer:
        model, params = self._loaded.model, self._loaded.parameters
        return Scorer(model, params, self._ids, self._team, ranks=self.K > 1)

    def close(self) -> None:
        """End the workers."""
        self._scorer.close()

    def begin(self) -> None:
        """Begin a text from a zero state."""
        self._state, self.begun = self._scorer.zero_state(), False

    def read(self, text: str, limits: Ids) -> _Read:
        """A piece of text with the `limits [A+1]` of its characters."""
        codes, edges = aligned(self.units, text, limits)
        ids = translated(codes, self._table)
        return _Read(edges, ids, ids == len(self.vocabulary.codes))

    def feed(self, ids: Ids) -> None:
        """Score units `[N]` that follow those before; the first one of a text has no values: NaN."""
        if len(ids) and not self.begun:
            self.begun = True
            self._ids[0] = ids[0]
            self._put(np.full((self.K, 1), np.nan))
            ids = ids[1:]
        self._waiting.append(ids)
        self._size += len(ids)
        while self._size >= BLOCK:
            self._score(BLOCK)

    def feed_lines(self, ids: Ids, lengths: Ids) -> None:
        """Score lines, whose units `[N]` follow one another, each from a zero state and a line break."""
        self._waiting.append(ids)
        self._lengths.append(lengths)
        self._size += len(ids)
        if self._size > BLOCK:
            self._score_lines(keep=True)

    def flush(self) -> None:
        """Score everything that waits."""
        if self._lengths:
            self._score_lines(keep=False)
        elif self._size:
            self._score(self._size)

    def take(self, count: int) -> Array:
        """The next values `[K, count]`, which must be available."""
        self.available -= count
        parts = [np.zeros((self.K, 0))]
        while count:
            values = self._values.popleft()
            if values.shape[1] > count:
                self._values.appendleft(values[:, count:])
                values = values[:, :count]
            parts.append(values)
            count -= values.shape[1]
        return np.concatenate(parts, axis=1)

    def _put(self, values: Array) -> None:
        self._values.append(values)
        self.available += values.shape[1]

    def _make(self, room: int) -> None:
        """Make a scorer with room for so many units and one before them."""
        self._room, self._ids = room, shared((room + 1,), self._table.dtype)
        if self._learner is not None:
            self._learner.move(self._ids)
            return
        self._scorer.close()
        self._scorer = self._new()

    def _fill(self, ids: Ids) -> None:
        """Put units `[N]` behind the one that was last."""
        if len(ids) > self._room:
            before = self._ids[0]
            self._make(max(len(ids), min(4 * len(ids), BLOCK)))
            self._ids[0] = before
        self._ids[1 : len(ids) + 1] = ids

    def _waited(self) -> Ids:
        ids: Ids = np.concatenate(self._waiting)
        self._waiting.clear()
        return ids

    def _score(self, count: int) -> None:
        ids = self._waited()
        self._waiting.append(ids[count:])
        self._size -= count
        self._fill(ids[:count])
        values, self._state = self._scorer.carried(0, count, self._state)
        self._put(values)
        self._ids[0] = ids[count - 1]

    def _score_lines(self, keep: bool) -> None:
        """Score lines in blocks; with `keep`, leave those of the last block, which may not be full."""
        ids, lengths = self._waited(), np.concatenate(self._lengths)
        self._lengths.clear()
        blocks, start = list(blocks_of_lines(lengths, BLOCK)), 0
        kept = blocks.pop() if keep else slice(0, 0)
        for lines in blocks:
            size = int(lengths[lines].sum())
            self._fill(ids[start : start + size])
            self._ids[0] = self._table[LINE_BREAK]
            ends = np.cumsum(lengths[lines])
            self._put(self._scorer.lines(ends - lengths[lines], lengths[lines]))
            start += size
        if keep:
            self._waiting.append(ids[start:])
            self._lengths.append(lengths[kept])
        self._size = len(ids) - start


@dataclass(frozen=True)
class _Waiting:
    """A piece of text whose values are not there yet."""

    piece: Scored
    reads: Sequence[_Read]
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
        self._queue: deque[_Waiting] = deque()
        self._begin_text()

    def close(self) -> None:
        """End the workers."""
        for judge in self.judges:
            judge.close()

    def _begin_text(self) -> None:
        self._offset, self._line, self._column = 0, 1, 1

    def scored(self, texts: Iterable[tuple[str, Iterable[str], str]], live: bool = False) -> Iterator[Scored]:
        """The pieces of texts that follow one another, each a name, its contents, and what is added behind.

        The state is carried from text to text. If `live`, lines are scored as soon as they are there.

        Raises `VocabularyError` for a character that a model lacks, unless it is counted.
        """
        for judge in self.judges:
            judge.begin()
        for name, contents, behind in texts:
            self._begin_text()
            held: list[str] = []
            for text in contents:
                held.append(text)
                if self.by_line and "\n" not in text and "\r" not in text:
                    continue
                whole = "".join(held)
                cut = self._cut(whole)
                held = [whole[cut:]]
                if cut:
                    yield from self._add(name, whole[:cut])
                    if live:
                        yield from self._flushed()
            yield from self._add(name, "".join(held) + behind, ends=True)
            if live:
                yield from self._flushed()
        yield from self._flushed()

    def _cut(self, text: str) -> int:
        """Where a piece can end: behind a line, or where neither units nor characters are divided."""
        if self.by_line:
            end = text.rfind("\n")
            return 1 + (max(end, text.rfind("\r", 0, -1)) if self._folds else end)
        cut = min(judge.units.cut(text) for judge in self.judges)
        blank = max(text.rfind(" ", 0, cut), text.rfind("\n", 0, cut))
        if blank > 0:  # before it: a mark may follow
            return blank - (text[blank - 1 : blank + 1] == "\r\n")
        tail = max(0, cut - _TAIL)
        return tail + int(limits(text[tail:cut])[:-1].max(initial=0))

    def _add(self, name: str, text: str, ends: bool = False) -> Iterator[Scored]:
        """Give a piece of text to all models; yields the pieces whose values are there."""
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
            if self.by_line:
                judge.feed_lines(ids, _lengths(units, piece.is_break & ~left_out))
                continue
            if len(ids) and not judge.begun:  # the first character of all is not predicted
                first = int(np.flatnonzero(units)[0])
                scored[number, first] = max(0, scored[number, first] - 1)
            judge.feed(ids)
        if added:  # it is not in the text
            edges = edges.copy()
            edges[-1] -= 1
        piece = replace(piece, text=text, limits=edges, scored=scored, unknown=unknown)
        self._queue.append(_Waiting(piece, reads, fed, counted))
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
        """Which characters `[A]` are the line break of an empty line; a piece holds whole lines."""
        before: Flags = np.concatenate([[True], piece.is_break[:-1]])[: len(piece.is_break)]
        return before & piece.is_break

    def _refuse(self, judge: Judge, read: _Read, piece: Scored, place: int) -> None:
        """Raise the error about a character that a model lacks."""
        units = slice(read.edges[place], read.edges[place + 1])
        unit = int(np.flatnonzero(read.lacking[units])[0]) + int(units.start)
        codes, _ = aligned(judge.units, piece.text, piece.limits)
        where = f"{piece.name}, line {piece.lines[place]}, column {piece.columns[place]}"
        raise VocabularyError(
            f"{where}: the model's vocabulary of {len(judge.vocabulary)} lacks "
            f"{judge.units.describe(int(codes[unit]))}; `unknown=count` counts such characters instead"
        )

    def _flushed(self) -> Iterator[Scored]:
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


def judges_of(
    models: Sequence[Checkpoint],
    team: Team = ALONE,
    ranks: bool = False,
    dynamic_on: Sequence[str] | None = None,
) -> list[Judge]:
    """A judge for each model; with `dynamic_on`, the paths of the texts, they go on learning.

    Raises `CorpusError` if a model is to learn and the text that it was trained on cannot be read.
    """
    if dynamic_on is None:
        return [Judge(model, team, ranks) for model in models]
    texts = sorted(os.path.abspath(path) for path in dynamic_on)
    own = [texts == sorted(os.path.abspath(path) for path in model.config.corpus.paths) for model in models]
    learned = [adaptation(model, same, team) for model, same in zip(models, own, strict=True)]
    return [Judge(model, team, ranks, one) for model, one in zip(models, learned, strict=True)]


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
) -> Iterator[Scored]:
    """The scored pieces of the texts at `paths`, as they are read; `-` is standard input, as it comes.

    `corpus` says their encoding, and what stands between the files of one path. For `announce` and
    `remark` see `sources.find`. Raises what that does, `EncodingError` for a text that cannot be
    decoded, and what `Surprisal.scored` does.
    """
    encoding = None if all(judge.units.is_byte for judge in reading.judges) else corpus.encoding
    for path in paths:
        live = path == STANDARD_INPUT
        sources: list[Source] = [LiveInput(announce)] if live else find([path], announce, remark)
        for group in [[source] for source in sources] if reset == "text" else [sources]:
            texts = (
                (
                    path if live else source.name,
                    text_of_file(source, encoding),
                    "" if reset == "line" or source is group[-1] else corpus.separator,
                )
                for source in group
            )
            yield from reading.scored(texts, live and reset == "line")


@dataclass(frozen=True, slots=True)
class Surprise:
    """How surprising a part of a text is: a row of `charlm score`."""

    start: int
    """Where it begins in the text."""
    stop: int
    """Where it ends; for a word, before the white space behind it."""
    text: str
    """The unit or word, or the line without its line break."""
    bits: float | None
    """`-log2 p`, of all its units; None if none of them is predicted."""
    rank: int | None
    """1 if it was the likeliest; only for units."""
    bits_after: float | None
    """Bits of the white space behind a word."""
    line: int
    """The number of its line, from 1."""
    column: int
    """Its place in the line, from 1."""

    @classmethod
    def of(cls, row: Row) -> Surprise:
        """A row of one model."""
        rank, after = row.ranks[0] or None, row.bits_after[0] if row.bits_after else None
        rank = rank if row.by == "unit" else None
        return cls(row.start, row.stop, row.text, row.bits[0], rank, after, row.line, row.column)


class Surprises(list[Surprise]):
    """Rows of a text, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        """The first rows; the surprise of each is shaded."""
        columns = ("line", "column", "text", "bits", "bits_after", "rank")
        used = [name for name in columns if any(getattr(row, name) is not None for row in self)]
        head = "".join(f"<th>{name}</th>" for name in used)
        body = "".join(
            f"<tr>{''.join(_cell(name, getattr(row, name)) for name in used)}</tr>" for row in self[:_SHOWN]
        )
        more = f"<div>and {len(self) - _SHOWN:,} more</div>" if len(self) > _SHOWN else ""
        return f"<table><tr>{head}</tr>{body}</table>{more}"


_SHOWN = 200
"""Most rows that a notebook shows."""


def _cell(name: str, value: str | float | None) -> str:
    if isinstance(value, str):
        shown = "".join(map(without_effect, value))
        return f'<td style="text-align:left;white-space:pre-wrap">{html.escape(shown)}</td>'
    if isinstance(value, float):
        return f'<td style="{shade(value) if name == "bits" else ""}">{value:.2f}</td>'
    return f"<td>{'' if value is None else value}</td>"


def surprises(
    loaded: Checkpoint,
    text: str,
    by: By,
    reset: Reset | None = None,
    count_unknown: bool = False,
    team: Team = ALONE,
) -> Surprises:
    """The rows of a text in memory; see `Surprisal` for the arguments."""
    by_line = (reset or usual_reset([loaded])) == "line"
    rows = Rows(by)
    with surprisal(judges_of([loaded], team, by == "unit"), by_line, count_unknown) as reading:
        pieces = reading.scored([("the text", [text], "")])
        return Surprises(Surprise.of(row) for piece in pieces for row in rows.add(piece))
