"""What teachers say of a training text, which a network learns beside the text itself.

A teacher is a network, or the counts of the text. It reads the text once, before it teaches. Of its
distribution at each place the likeliest units are kept, so that an update with teachers takes hardly
longer than one without.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from charlm.arrays import Ids
from charlm.data.texts import Text
from charlm.inference.counts import Counts, block
from charlm.inference.score import Scorer
from charlm.nn.loss import SoftTargets, likeliest
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.system.team import ALONE, Team
from charlm.system.workers import shared

NAMED = 16
"""Units that a teacher names at each place, at most: with an alphabet they have 99 % of the probability."""

_TOGETHER = 16
"""Blocks that the workers are given at a time; the answers to all of a text might not fit a message."""


def table_bytes(places: int, vocab: int, teachers: int) -> int:
    """The memory that a `Table` needs."""
    return places * teachers * min(NAMED, vocab) * (np.min_scalar_type(vocab).itemsize + 2)


class Table:
    """What some teachers say of each place of a text; workers that are made after it see it too."""

    def __init__(self, text: Text, vocab: int, most: int, share: float) -> None:
        """The table of a training text, for `most` teachers; `share` is `train.teacher_share`."""
        self.text, self.vocab = text, vocab
        self.named = min(NAMED, vocab)
        shape = len(text.ids), most * self.named
        self._ids = shared(shape, np.min_scalar_type(vocab))
        self._q = shared(shape, np.float16)
        self._teachers = shared((1,), np.int64)
        self._share = shared((1,), np.float64)
        self._share[0] = share

    @property
    def teachers(self) -> int:
        """The number of teachers that have read the text."""
        return int(self._teachers[0])

    @property
    def share(self) -> float:
        """The share of the loss that is the teachers'."""
        return float(self._share[0])

    def begin_again(self, share: float) -> None:
        """Forget what the teachers said; others will teach, with another share."""
        self._teachers[0], self._share[0] = 0, share

    def at(self, places: Ids) -> SoftTargets | None:
        """The mean of the teachers' distributions at places of the text; None without teachers."""
        if not self.teachers:
            return None
        columns, shape = self.teachers * self.named, (len(places), self.teachers, self.named)
        ids, q = (array[places, :columns].reshape(shape) for array in (self._ids, self._q))
        return SoftTargets(ids, q, self.share)

    def add_network(self, model: Model, params: Parameters, team: Team = ALONE) -> Iterator[float]:
        """Let a network read the text as it is scored: without dropout, with the state carried through.

        Each line is read from a zero state. Yields the share of the text that is read, before each piece
        of it; the network is one of the teachers once it has read all.
        """
        columns, read = self._next(), 0
        scorer = Scorer(model, params, self.text.ids, team, named=self.named)
        with contextlib.closing(scorer):
            for values in scorer.text(self.text):
                yield read / self.text.targets
                ids, q = np.split(values[1:], 2)
                places = self.text.target_places(read, read + values.shape[1])
                self._ids[places, columns], self._q[places, columns] = ids.T, q.T
                read += values.shape[1]
        self._teachers += 1

    def add_counts(self, team: Team = ALONE, trained: Ids | None = None) -> Iterator[float]:
        """Let the counts of the text read it, each place without its own occurrence.

        They read the places of `trained`, by default all. Yields what `add_network` does.
        """
        yield 0.0  # counting takes seconds of a long text
        columns, counts = self._next(), Counts(self.text, self.vocab)
        places = self.text.target_places(0, self.text.targets)
        numbers = np.arange(len(places)) if trained is None else np.flatnonzero(np.isin(places, trained))
        size = block(self.vocab)
        blocks = -(-len(numbers) // size)

        def read(number: int) -> None:
            own = numbers[number * size : (number + 1) * size]
            ids, q = likeliest(counts.predict(own), self.named)
            self._ids[places[own], columns], self._q[places[own], columns] = ids, q

        with team.pool(blocks, read) as pool:
            for first in range(0, blocks, _TOGETHER):
                yield first / blocks
                pool.map(read, range(first, min(first + _TOGETHER, blocks)))
        self._teachers += 1

    def _next(self) -> slice:
        """The columns of the next teacher."""
        return slice(self.teachers * self.named, (self.teachers + 1) * self.named)
