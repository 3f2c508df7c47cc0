"""Batches: the order in which truncated BPTT reads a text, or lines, window by window.

A text is cut into `B` contiguous streams that are read in parallel. Each stream is cut into
windows of `T` steps. A window begins where the previous window of its stream ended, so the carried
state fits.

Every epoch trains on every character. A text of `N` characters has `M = N - 1` targets. If `B`
does not divide `M`, the streams are `S = ceil(M / B)` long and neighbours overlap by one
character, so that no remainder is left out. If `T` does not divide `S`, all windows have nearly
the same length, at most `T`. A short last window would have the noisiest gradient and count as
much as the others.

Lines are streams of different lengths. `B` lines are read in parallel until the longest ends. The
shorter ones are padded; padding is neither trained on nor counted. A batch consists of lines of
similar length, so there is little padding.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charlm.arrays import Ids


class Window(NamedTuple):
    """The steps of one update, all `[T, B]`: one row per step, one column per stream."""

    x: Ids
    """Inputs."""
    y: Ids
    """Targets: the inputs shifted by one step."""
    mask: npt.NDArray[np.bool] | None
    """False for padding; None if there is no padding."""
    places: Ids
    """Places of the targets in the text."""


class Batches(ABC):
    """`B` parallel streams, window by window.

    `step` counts the updates of the whole run, from 0. Every result depends on `step` alone, so a
    run that is resumed within an epoch, and every worker, reads the same windows.
    """

    batch: int
    """B."""
    seq_len: int
    """The largest T of a window."""
    windows: int
    """Windows per epoch, the same in every epoch."""

    @abstractmethod
    def window(self, step: int) -> Window:
        """Inputs and targets."""

    @abstractmethod
    def _span(self, step: int) -> tuple[int, int]:
        """First step of one window in its streams, and the step after its last."""

    def window_length(self, step: int) -> int:
        """T of one window."""
        first, stop = self._span(step)
        return stop - first

    def characters(self, step: int) -> int:
        """Number of targets in one window, without padding."""
        return self.window_length(step) * self.batch

    def places(self, windows: int) -> Ids:
        """Places in the text of all targets of the first windows, in no order."""
        return np.concatenate([self.window(step).places.reshape(-1) for step in range(windows)])

    def resets_state(self, step: int) -> bool:
        """Whether all streams begin with this window, from a zero state; otherwise all continue."""
        return self._span(step)[0] == 0


class Streams(Batches):
    """A text as `B` streams in windows of at most `T` steps."""

    def __init__(self, ids: Ids, batch: int, seq_len: int) -> None:
        """`ids` `[N]`, N ≥ 2; `batch` is at most N - 1."""
        self.ids, self.batch, self.seq_len = ids, batch, seq_len
        self._length = math.ceil((len(ids) - 1) / batch)  # S: steps per stream and epoch
        self.windows = math.ceil(self._length / seq_len)

    def _span(self, step: int) -> tuple[int, int]:
        return _cut(self._length, self.windows, step % self.windows)

    def window(self, step: int) -> Window:
        """Inputs and targets, without padding."""
        first, stop = self._span(step)
        # stream b starts at floor(b M / B), so the last one ends exactly at the end of the text
        starts = np.arange(self.batch) * (len(self.ids) - 1) // self.batch
        index = starts[None, :] + np.arange(first, stop)[:, None]  # [T, B]
        return Window(self.ids[index], self.ids[index + 1], None, index + 1)


_PADDING_LIMIT = 0.5
"""Largest fraction of padding without a warning."""


@dataclass(frozen=True)
class _Order:
    """The order in which one epoch reads the lines."""

    epoch: int
    lines: Ids
    """`[L]`, numbers of the lines by increasing length; lines of one length are shuffled."""
    batches: Ids
    """`[K]`, numbers of the batches in reading order, shuffled."""
    starts: Ids
    """`[K]`, the window of the epoch at which each of these batches begins."""


class LineBatches(Batches):
    """Lines in batches of at most `batch`, each in windows of at most `seq_len` steps.

    Every epoch trains on every line once. The lines, sorted by length, are cut into `K` batches
    whose sizes differ by at most one line; a column without a line is padding. Each epoch draws
    again which lines of one length share a batch, and the order of the batches. The lengths of the
    batches do not change, so every epoch has the same number of windows. `batch` then is the
    number of lines in the largest batch, and `seq_len` at most the length of the longest line.
    """

    def __init__(self, ids: Ids, starts: Ids, lengths: Ids, batch: int, seq_len: int, seed: int) -> None:
        """For L ≥ 1 `Lines` of `ids` with these `starts` and `lengths` `[L]`; `seed` is `train.seed`."""
        self.ids, self.starts, self.lengths, self.seed = ids, starts, lengths, seed
        L = len(lengths)
        K = math.ceil(L / batch)
        self._edges = np.arange(K + 1) * L // K
        self.batch = math.ceil(L / K)
        # length of batch k [K]: the last of its lines is the longest
        self._longest = np.sort(lengths)[self._edges[1:] - 1].astype(np.int64)
        self.seq_len = min(seq_len, int(self._longest[-1]))
        self._counts = -(-self._longest // self.seq_len)  # windows in batch k [K]
        self.windows = int(self._counts.sum())
        self._order = self._draw(0)

    def warning(self) -> str | None:
        """A warning if most of the work is padding, as when one line is far longer than all others."""
        targets = int(self.lengths.sum(dtype=np.int64))
        padding = 1 - targets / int(self._longest.sum() * self.batch)
        if padding <= _PADDING_LIMIT:
            return None
        return (
            f"{100 * padding:.0f} % of the work is padding beside long lines: the longest has "
            f"{self._longest[-1]:,} characters, the average {targets / len(self.lengths):,.0f}"
        )

    def characters(self, step: int) -> int:
        """Number of targets in one window, without padding."""
        chosen, first, stop = self._find(step)
        return int(np.clip(self.lengths[chosen], first, stop).sum(dtype=np.int64)) - first * len(chosen)

    def window(self, step: int) -> Window:
        """Inputs and targets; the first input of a line is the line break before it."""
        chosen, first, stop = self._find(step)
        # a column without a line is treated as a line of length 0
        starts, lengths = np.ones(self.batch, np.int64), np.zeros(self.batch, np.int64)
        starts[: len(chosen)], lengths[: len(chosen)] = self.starts[chosen], self.lengths[chosen]
        steps = np.arange(first, stop)[:, None]
        mask = steps < lengths  # [T, B]
        # padding repeats the last step of the line; any valid id works
        targets = starts + np.minimum(steps, np.maximum(lengths - 1, 0))
        return Window(self.ids[targets - 1], self.ids[targets], None if mask.all() else mask, targets)

    def _span(self, step: int) -> tuple[int, int]:
        return self._find(step)[1:]

    def _find(self, step: int) -> tuple[Ids, int, int]:
        """Numbers of the lines of one window `[≤ B]`, its first step, and the step after its last."""
        epoch, number = divmod(step, self.windows)
        order = self._order
        if order.epoch != epoch:
            order = self._order = self._draw(epoch)
        position = np.searchsorted(order.starts, number, side="right") - 1
        k = order.batches[position]
        first, stop = _cut(int(self._longest[k]), int(self._counts[k]), number - int(order.starts[position]))
        return order.lines[self._edges[k] : self._edges[k + 1]], first, stop

    def _draw(self, epoch: int) -> _Order:
        # the generators of the trainer are children 0 and 1 of the same seed
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(2, epoch)))
        lines, batches = rng.permutation(len(self.lengths)), rng.permutation(len(self._counts))
        lines = lines[np.argsort(self.lengths[lines], kind="stable")]
        counts = self._counts[batches]
        return _Order(epoch, lines, batches, np.cumsum(counts) - counts)


def _cut(length: int, windows: int, number: int) -> tuple[int, int]:
    """First step of one of `windows` nearly equal windows, and the step after its last."""
    return number * length // windows, (number + 1) * length // windows


def fit(characters: int, batch: int, seq_len: int) -> tuple[int, int, str | None]:
    """Reduce the batch and the window for a text that is too small for them.

    Every stream must hold a whole window. The batch is reduced first, to the number of windows in
    the text. If the text is shorter than one window, the window is reduced to the text. Returns
    the batch, the window, and a warning if either was reduced.
    """
    targets = characters - 1
    fitted = min(batch, max(1, targets // seq_len)), min(seq_len, targets)
    names = ("train.batch", "train.seq_len")
    sizes = zip(names, (batch, seq_len), fitted, strict=True)
    reduced = [f"{name} from {size} to {smaller}" for name, size, smaller in sizes if smaller < size]
    warning = f"the training split has only {characters} characters: {' and '.join(reduced)}"
    return *fitted, warning if reduced else None
