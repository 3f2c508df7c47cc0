"""One model that gives the surprise of each unit of a text, while the text is read.

The text may be longer than the memory. The model reads it in its own units and scores a block of them
at a time with the same `Scorer` that sums up a whole text.

Letters: `N` units of a piece of text, `A` characters of it, `K` values per unit.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids
from charlm.data.alignment import aligned
from charlm.data.characters import Flags
from charlm.data.units import LINE_BREAK
from charlm.data.vocabulary import translated
from charlm.inference.dynamic import Constants, Learner
from charlm.inference.evaluate import adaptation
from charlm.inference.score import BLOCK, Scorer, blocks_of_lines
from charlm.runs.checkpoint import Checkpoint
from charlm.system.team import ALONE, Team
from charlm.system.workers import shared

_FEWEST = 1 << 12
"""Units for which there is room at first."""

_MANY = 16
"""Texts from which on they are scored side by side. Fewer have the bits that each has alone, to 1e-9."""


@dataclass(frozen=True)
class Reading:
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
        self._size = self._first = 0
        self._room, self._ids = _FEWEST, shared((_FEWEST + 1,), self._table.dtype)
        self._learner: Learner | None = None
        if learned is not None:
            self._learner = Learner(loaded.network, loaded.parameters, *learned, self._ids, ranks=ranks)
        self._scorer: Scorer | Learner = self._learner or self._new()
        self.begin()

    def _new(self) -> Scorer:
        model, params = self._loaded.network, self._loaded.parameters
        return Scorer(model, params, self._ids, self._team, ranks=self.K > 1)

    def close(self) -> None:
        """End the workers."""
        self._scorer.close()

    def begin(self, line: bool = False) -> None:
        """Begin a text from a zero state; with `line`, a line, which is read from a line break."""
        self._state, self.begun = self._scorer.zero_state(), line
        if line:
            self._ids[0] = self._table[LINE_BREAK]

    def read(self, text: str, limits: Ids) -> Reading:
        """A piece of text with the `limits [A+1]` of its characters."""
        codes, edges = aligned(self.units, text, limits)
        ids = translated(codes, self._table)
        return Reading(edges, ids, ids == len(self.vocabulary.codes))

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
        self._wait(ids, lengths, first=0)

    def feed_text(self, ids: Ids) -> None:
        """Score a whole text `[N]` from a zero state, side by side with others; its first unit has NaN."""
        self._wait(ids, np.array([len(ids)] if len(ids) else [], np.int64), first=1)

    def _wait(self, ids: Ids, lengths: Ids, first: int) -> None:
        """Lines or texts wait for others; the first unit that is predicted is the one at place `first`."""
        self._first = first
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
        """Score lines or texts in blocks; with `keep`, leave those of the last, which may not be full."""
        ids, lengths = self._waited(), np.concatenate(self._lengths)
        self._lengths.clear()
        blocks, start = list(blocks_of_lines(lengths, BLOCK)), 0
        kept = blocks.pop() if keep else slice(0, 0)
        for lines in blocks:
            size = int(lengths[lines].sum())
            self._fill(ids[start : start + size])
            if not self._first:
                self._ids[0] = self._table[LINE_BREAK]
            some = lengths[lines]
            starts = np.cumsum(some) - some
            places, targets = starts + self._first, some - self._first
            if self._first and len(some) < _MANY:
                zero, each = self._scorer.zero_state(), zip(places.tolist(), targets.tolist(), strict=True)
                parts = [self._scorer.carried(place, count, zero)[0] for place, count in each]
                values = np.concatenate([np.zeros((self.K, 0)), *parts], axis=1)
            else:
                values = self._scorer.lines(places, targets)
            if self._first:
                values = np.insert(values, starts - np.arange(len(some)), np.nan, axis=1)
            self._put(values)
            start += size
        if keep:
            self._waiting.append(ids[start:])
            self._lengths.append(lengths[kept])
        self._size = len(ids) - start


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
