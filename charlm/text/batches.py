"""Streams and windows: the order in which truncated BPTT reads a text.

The text is cut into `B` contiguous streams that are read side by side, and these into windows of
`T` steps that follow one another, so that each window begins where the last one of the same
stream ended and the carried state fits.

Every character is trained on in every epoch. A text of `N` characters has `M = N - 1` to predict;
where `B` does not divide `M`, the streams are `S = ceil(M / B)` long and neighbours overlap by one
character rather than leave a remainder out. Where `T` does not divide `S`, all windows are made
alike, `T` or some steps fewer each, rather than `T` with a short one at the end, whose gradient
would be the noisiest and count as much as the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from charlm.nn.parameters import Ids


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

    def steps(self, number: int) -> int:
        """T of one window."""
        return self._first(number + 1) - self._first(number)

    def _first(self, number: int) -> int:
        """The step of a stream at which one window begins."""
        return number * self.length // self.windows

    def window(self, number: int) -> tuple[Ids, Ids]:
        """Inputs `x` and targets `y` of one window, both `[T, B]`; `y` is the text one step on."""
        first, stop = self._first(number), self._first(number + 1)
        # stream b starts at floor(b M / B); the last one then ends exactly at the end of the text
        starts = np.arange(self.batch) * (len(self.ids) - 1) // self.batch
        places = starts[None, :] + np.arange(first, stop)[:, None]  # [T, B]
        return self.ids[places], self.ids[places + 1]


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
