"""Batches: the order in which truncated BPTT reads a text, or lines, window by window.

One text is cut into `B` contiguous streams that are read side by side, and these into windows of
`T` steps that follow one another: each window begins where the previous one of its stream
ended, so that the state can be carried.

Every character is trained on in every epoch. A text of `N` characters has `M = N - 1` targets.
Streams are `S = ceil(M / B)` steps long; if `B` does not divide `M`, some neighbours overlap by one
character, and no remainder is left out. If `T` does not divide `S`, windows are made equally long,
to within one step: a short window at the end would have the noisiest gradient and the same weight.

Lines are streams of their own with different lengths, `B` side by side until the longest ends.
The steps by which the others are shorter are padding, which is neither trained on nor counted. To
keep padding small, a batch holds lines of similar lengths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from charlm.arrays import Ids


class Window(NamedTuple):
    """The steps of one update, all `[T, B]`: steps go down, streams go across."""

    x: Ids
    """Inputs."""
    y: Ids
    """Targets: the text one step on."""
    mask: npt.NDArray[np.bool] | None
    """False where there is padding; None if there is none."""


class Batches(Protocol):
    """`B` streams side by side, window by window.

    `step` counts the updates of the whole run, from 0, and determines everything, so that a run
    resumed in the middle of an epoch, and every worker, reads the same windows.
    """

    @property
    def batch(self) -> int:
        """B."""

    @property
    def seq_len(self) -> int:
        """The largest T of a window."""

    @property
    def windows(self) -> int:
        """Windows of an epoch, the same in every one."""

    def window(self, step: int) -> Window:
        """Inputs and targets."""

    def window_length(self, step: int) -> int:
        """T of one window."""

    def characters(self, step: int) -> int:
        """Targets of one window, padding not counted."""

    def resets_state(self, step: int) -> bool:
        """Whether all streams start at this window, from a zero state; else all continue."""


@dataclass(frozen=True)
class Streams:
    """A text as `B` streams in windows of at most `T` steps."""

    ids: Ids
    """`[N]`, N ≥ 2."""
    batch: int
    """B; at most N - 1."""
    seq_len: int
    """T."""

    @property
    def length(self) -> int:
        """S: steps of a stream in an epoch."""
        return math.ceil((len(self.ids) - 1) / self.batch)

    @property
    def windows(self) -> int:
        """Windows of an epoch."""
        return math.ceil(self.length / self.seq_len)

    def window_length(self, step: int) -> int:
        """T of one window."""
        first, stop = self._bounds(step)
        return stop - first

    def characters(self, step: int) -> int:
        """T·B: a text has no padding."""
        return self.window_length(step) * self.batch

    def resets_state(self, step: int) -> bool:
        """At the first window of an epoch."""
        return step % self.windows == 0

    def _bounds(self, step: int) -> tuple[int, int]:
        """First step of one window in its stream, and the one after its last."""
        return _span(self.length, self.windows, step % self.windows)

    def window(self, step: int) -> Window:
        """Inputs and targets; nothing is padding."""
        first, stop = self._bounds(step)
        # stream b starts at floor(b M / B); the last one then ends exactly at the end of the text
        starts = np.arange(self.batch) * (len(self.ids) - 1) // self.batch
        index = starts[None, :] + np.arange(first, stop)[:, None]  # [T, B]
        return Window(self.ids[index], self.ids[index + 1], None)


_MOST_PADDING = 0.5
"""Fraction of padding above which there is a warning."""


@dataclass(frozen=True)
class _Order:
    """How the lines of one epoch are read."""

    epoch: int
    lines: Ids
    """`[L]`, numbers of the lines from the shortest to the longest, shuffled within a length."""
    batches: Ids
    """`[K]`, numbers of the batches in the order of reading, shuffled."""
    starts: Ids
    """`[K]`, the first window of each of them in the epoch."""


class LineBatches:
    """Lines in batches of at most `batch`, each in windows of at most `seq_len` steps.

    Every line is trained on once an epoch. Sorted by length, they are cut into `K` batches whose
    sizes differ by one line at most; a row without a line is padding. The order of lines of the
    same length and the order of batches are drawn anew every epoch. The lengths of batches, and so
    the number of windows, stay the same.

    Attributes
    ----------
    batch
        B: lines of the largest batch.
    seq_len
        The largest T; at most the length of the longest line.
    """

    def __init__(self, ids: Ids, starts: Ids, lengths: Ids, batch: int, seq_len: int, seed: int) -> None:
        """`starts` and `lengths` `[L]` of the lines in `ids [N]`, L ≥ 1; `seed` is that of the run.

        A line has its first target at its start, and its first input one before.
        """
        self.ids, self.starts, self.lengths, self.seed = ids, starts, lengths, seed
        L = len(lengths)
        K = math.ceil(L / batch)
        self._edges = np.arange(K + 1) * L // K
        self.batch = math.ceil(L / K)
        # of each batch [K]: its last line is the longest
        self._longest = np.sort(lengths)[self._edges[1:] - 1].astype(np.int64)
        self.seq_len = min(seq_len, int(self._longest[-1]))
        self._counts = -(-self._longest // self.seq_len)  # windows of batch k [K]
        self.windows = int(self._counts.sum())
        self._order = self._draw(0)

    def warning(self) -> str | None:
        """What to tell the user if most of the steps are padding, as beside one very long line."""
        targets = int(self.lengths.sum(dtype=np.int64))
        padding = 1 - targets / int(self._longest.sum() * self.batch)
        if padding <= _MOST_PADDING:
            return None
        return (
            f"{100 * padding:.0f} % of the work is padding beside long lines: the longest has "
            f"{self._longest[-1]:,} characters, the average {targets / len(self.lengths):,.0f}"
        )

    def window_length(self, step: int) -> int:
        """T of one window."""
        _, first, stop = self._find(step)
        return stop - first

    def characters(self, step: int) -> int:
        """Targets of one window, padding not counted."""
        chosen, first, stop = self._find(step)
        return int(np.clip(self.lengths[chosen], first, stop).sum(dtype=np.int64)) - first * len(chosen)

    def resets_state(self, step: int) -> bool:
        """At the first window of a batch."""
        return self._find(step)[1] == 0

    def window(self, step: int) -> Window:
        """Inputs and targets: a line's first input is the line break before it."""
        chosen, first, stop = self._find(step)
        # a row without a line has the length 0
        starts, lengths = np.ones(self.batch, np.int64), np.zeros(self.batch, np.int64)
        starts[: len(chosen)], lengths[: len(chosen)] = self.starts[chosen], self.lengths[chosen]
        reached = np.arange(first, stop)[:, None]
        mask = reached < lengths  # [T, B]
        # padding repeats the line's last step: any ids would do
        targets = starts + np.minimum(reached, np.maximum(lengths - 1, 0))
        return Window(self.ids[targets - 1], self.ids[targets], None if mask.all() else mask)

    def _find(self, step: int) -> tuple[Ids, int, int]:
        """Numbers of the lines of one window `[≤ B]`, its first step in them, and the one after its last."""
        epoch, number = divmod(step, self.windows)
        order = self._order
        if order.epoch != epoch:
            order = self._order = self._draw(epoch)
        turn = np.searchsorted(order.starts, number, side="right") - 1
        k = order.batches[turn]
        first, stop = _span(int(self._longest[k]), int(self._counts[k]), number - int(order.starts[turn]))
        return order.lines[self._edges[k] : self._edges[k + 1]], first, stop

    def _draw(self, epoch: int) -> _Order:
        # the trainer's own generators are children 0 and 1 of the same seed
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(2, epoch)))
        lines, batches = rng.permutation(len(self.lengths)), rng.permutation(len(self._counts))
        lines = lines[np.argsort(self.lengths[lines], kind="stable")]
        counts = self._counts[batches]
        return _Order(epoch, lines, batches, np.cumsum(counts) - counts)


def _span(length: int, windows: int, number: int) -> tuple[int, int]:
    """First step of one of `windows` equal windows, and the one after its last."""
    return number * length // windows, (number + 1) * length // windows


def fit(characters: int, batch: int, seq_len: int) -> tuple[int, int, str | None]:
    """Shrink the batch and the window to a text that is too small for them.

    Every stream holds at least one whole window. The batch shrinks first, to the number of whole
    windows in the text; if there is none, the window shrinks to the text. Returns batch, window,
    and a warning if either shrank.
    """
    targets = characters - 1
    fitted_len = min(seq_len, targets)
    fitted_batch = min(batch, max(1, targets // seq_len))
    shrunk = [
        f"{name} from {asked} to {fitted}"
        for name, asked, fitted in (
            ("train.batch", batch, fitted_batch),
            ("train.seq_len", seq_len, fitted_len),
        )
        if fitted < asked
    ]
    if not shrunk:
        return batch, seq_len, None
    return (
        fitted_batch,
        fitted_len,
        f"the training split has only {characters} characters: {' and '.join(shrunk)}",
    )


def fit_lines(lines: int, batch: int) -> tuple[int, str | None]:
    """Shrink the batch to the number of lines; returns it, and a warning if it shrank.

    Lines shorter than the window are normal and shrink it without a warning.
    """
    if batch <= lines:
        return batch, None
    return lines, f"the training split has only {lines} lines: train.batch from {batch} to {lines}"
