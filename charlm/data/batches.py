"""Batches: the order in which truncated BPTT reads a text, or lines, window by window.

One text is cut into `B` contiguous streams that are read side by side, and these into windows of
`T` steps that follow one another, so that each window begins where the last one of the same
stream ended and the carried state fits.

Every character is trained on in every epoch. A text of `N` characters has `M = N - 1` to predict;
where `B` does not shard_slices `M`, the streams are `S = ceil(M / B)` long and neighbours overlap by one
character rather than leave a remainder out. Where `T` does not shard_slices `S`, all windows are made
alike, `T` or some steps fewer each, rather than `T` with a short one at the end, whose gradient
would be the noisiest and count as much as the others.

Lines are streams of their own, of different lengths, `B` side by side until the longest of them
ends; the steps by which the others are shorter are padding, which is neither trained on nor
counted. So that there is little of it, batches are made of lines of like lengths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from charlm.arrays import Ids
from charlm.data.lines import Lines, Text


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

    `step` counts the updates of the whole run, from 0. Everything follows from it, so that a run that
    is resumed in the middle of an epoch, and every worker, reads the same windows.
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
        """Whether all streams begin with this window, from a zero state; otherwise all continue."""


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
        first, stop = self._span(step)
        return stop - first

    def characters(self, step: int) -> int:
        """T·B: a text has no padding."""
        return self.window_length(step) * self.batch

    def resets_state(self, step: int) -> bool:
        """At the first window of an epoch."""
        return step % self.windows == 0

    def _span(self, step: int) -> tuple[int, int]:
        """The steps of a stream at which one window begins and ends."""
        return _cut(self.length, self.windows, step % self.windows)

    def window(self, step: int) -> Window:
        """Inputs and targets; nothing is padding."""
        first, stop = self._span(step)
        # stream b starts at floor(b M / B); the last one then ends exactly at the end of the text
        starts = np.arange(self.batch) * (len(self.ids) - 1) // self.batch
        index = starts[None, :] + np.arange(first, stop)[:, None]  # [T, B]
        return Window(self.ids[index], self.ids[index + 1], None)


_MOST_PADDING = 0.5
"""Share of padding in the steps of all lines above which there is a warning."""


@dataclass(frozen=True)
class _Order:
    """How the lines of one epoch are read."""

    epoch: int
    lines: Ids
    """`[L]`, numbers of the lines from the shortest to the longest, those of one length mixed."""
    batches: Ids
    """`[K]`, numbers of the batches as they are read, mixed."""
    starts: Ids
    """`[K]`, the window of the epoch at which each of them begins."""


class LineBatches:
    """Lines in batches of at most `batch`, each in windows of at most `seq_len` steps.

    Every line is trained on once an epoch. From the shortest to the longest they are cut into `K`
    batches, which differ by one line at most; the row that then lacks a line is padding. Which
    lines of one length meet, and the order of the batches, are drawn again in every epoch; lengths of
    batches, and so the number of windows, are always the same.

    Attributes
    ----------
    batch
        B: as many rows as the largest batch has lines.
    seq_len
        The largest T; never more than the longest line has.
    """

    def __init__(self, lines: Lines, batch: int, seq_len: int, seed: int) -> None:
        """`lines` one at least; `seed` that of the run."""
        self.lines, self.seed = lines, seed
        K = math.ceil(len(lines) / batch)
        self._edges = np.arange(K + 1) * len(lines) // K
        self.batch = math.ceil(len(lines) / K)
        # of batch k [K]: the last of its lines is the longest
        self._longest = np.sort(lines.lengths)[self._edges[1:] - 1].astype(np.int64)
        self.seq_len = min(seq_len, int(self._longest[-1]))
        self._counts = -(-self._longest // self.seq_len)  # windows of batch k [K]
        self.windows = int(self._counts.sum())
        self._order = self._draw(0)

    def warning(self) -> str | None:
        """What to say if most of the work is for padding, as where one line is far longer than all others."""
        padding = 1 - self.lines.targets / int(self._longest.sum() * self.batch)
        if padding <= _MOST_PADDING:
            return None
        return (
            f"{100 * padding:.0f} % of the work is padding beside long lines: the longest has "
            f"{self._longest[-1]:,} characters, the average {self.lines.targets / len(self.lines):,.0f}"
        )

    def window_length(self, step: int) -> int:
        """T of one window."""
        _, first, stop = self._find(step)
        return stop - first

    def characters(self, step: int) -> int:
        """Targets of one window, padding not counted."""
        chosen, first, stop = self._find(step)
        return int(np.clip(self.lines.lengths[chosen], first, stop).sum(dtype=np.int64)) - first * len(chosen)

    def resets_state(self, step: int) -> bool:
        """At the first window of a batch."""
        return self._find(step)[1] == 0

    def window(self, step: int) -> Window:
        """Inputs and targets: a line's first input is the line break before it."""
        chosen, first, stop = self._find(step)
        # a row that lacks a line is a line of no length
        starts, lengths = np.ones(self.batch, np.int64), np.zeros(self.batch, np.int64)
        starts[: len(chosen)], lengths[: len(chosen)] = self.lines.starts[chosen], self.lines.lengths[chosen]
        reached = np.arange(first, stop)[:, None]
        mask = reached < lengths  # [T, B]
        # padding repeats the line's last step: any ids would do
        targets = starts + np.minimum(reached, np.maximum(lengths - 1, 0))
        ids = self.lines.ids
        return Window(ids[targets - 1], ids[targets], None if mask.all() else mask)

    def _find(self, step: int) -> tuple[Ids, int, int]:
        """Numbers of the lines of one window `[≤ B]`, and their steps at which it begins and ends."""
        epoch, number = divmod(step, self.windows)
        order = self._order
        if order.epoch != epoch:
            order = self._order = self._draw(epoch)
        turn = np.searchsorted(order.starts, number, side="right") - 1
        k = order.batches[turn]
        first, stop = _cut(int(self._longest[k]), int(self._counts[k]), number - int(order.starts[turn]))
        return order.lines[self._edges[k] : self._edges[k + 1]], first, stop

    def _draw(self, epoch: int) -> _Order:
        # the trainer's own generators are children 0 and 1 of the same seed
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(2, epoch)))
        lines, batches = rng.permutation(len(self.lines)), rng.permutation(len(self._counts))
        lines = lines[np.argsort(self.lines.lengths[lines], kind="stable")]
        counts = self._counts[batches]
        return _Order(epoch, lines, batches, np.cumsum(counts) - counts)


def _cut(length: int, windows: int, number: int) -> tuple[int, int]:
    """First step of a window, and the one after its last, where `windows` of them are alike."""
    return number * length // windows, (number + 1) * length // windows


def batches_of(text: Text, batch: int, seq_len: int, seed: int) -> tuple[Batches, str | None]:
    """The batches of a training text, and a warning if it is too small for batch or window.

    `seed`, that of the run, is for the order of lines; one text is read in its own.
    """
    if isinstance(text, Lines):
        batch, warning = fit_lines(len(text), batch)
        batches = LineBatches(text, batch, seq_len, seed)
        return batches, warning or batches.warning()
    batch, seq_len, warning = fit(len(text), batch, seq_len)
    return Streams(text.ids, batch, seq_len), warning


def fit(characters: int, batch: int, seq_len: int) -> tuple[int, int, str | None]:
    """Shrink the batch and the window to a text that is too small for them.

    Every stream is to hold a whole window: the batch shrinks first, to as many windows as there
    are, and if there is not even one, the window to the text. Returns batch, window, and a
    warning if either shrank.
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
        (f"the training split has only {characters} characters: {' and '.join(shrunk)}"),
    )


def fit_lines(lines: int, batch: int) -> tuple[int, str | None]:
    """Shrink the batch to as many lines as there are; returns it, and a warning if it shrank.

    Lines shorter than the window are what is to be expected, and shrink it without a word.
    """
    if batch <= lines:
        return batch, None
    return lines, f"the training split has only {lines} lines: train.batch from {batch} to {lines}"
