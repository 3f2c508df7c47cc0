"""How well a model predicts a text.

Units: nats per character, `-ln p`; bits per character, nats / ln 2; perplexity, exp(nats).
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array, Ids
from charlm.data.lines import Lines, Text, target_count
from charlm.nn.model import Model, States
from charlm.nn.ops import cross_entropy
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.system.workers import WorkerPool, shard_slices, shared

STREAMS = 64
"""Most streams that a text is scored in side by side."""

STREAM_LENGTH = 1000
"""Fewest characters of such a stream: shorter ones would spend their time on seams."""

STEPS = 100
"""Steps of one forward pass."""

LINES = (256, 64, 16, 4, 1)
"""Lines that are scored side by side: the most first, and to how few they narrow as lines end."""

LINE_STEPS = STREAMS * STEPS // LINES[0]
"""Steps of one forward pass of lines: so many that it takes no more memory than one of a text."""

SEAM_STEPS = 25
"""Steps after which a seam is looked at again: a wrong start is often forgotten soon."""

SEAM_TOLERANCE = 1e-5
"""Mean difference, in nats a character of one window, at which a stream's wrong start is forgotten:
a tenth of what the two ways of scoring may differ by."""


@dataclass(frozen=True)
class Score:
    """The nats of so many scored characters."""

    nats: float
    characters: int

    @property
    def nats_per_char(self) -> float:
        """Cross-entropy in nats."""
        return self.nats / self.characters

    @property
    def bits_per_char(self) -> float:
        """Cross-entropy in bits: nats / ln 2."""
        return self.nats_per_char / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(nats per character); infinite where that is beyond a float."""
        try:
            return math.exp(self.nats_per_char)
        except OverflowError:
            return math.inf


def score(
    model: Model, parameters: Parameters, text: Text, window: int | None = None, threads: int = 1
) -> Score:
    """Score every character of one text `[N]` but the first, which nothing stands before; or lines.

    Without `window` the state is carried from the first character to the last. With it, the text
    is scored in windows of so many characters, each from a zero state: the protocol of models
    with a fixed context. Lines are scored each from a zero state, the line break before it its
    first input and its own its last target.

    Raises `ValueError` if there is nothing to score, or a window is given with lines.
    """
    if not target_count(text):
        raise ValueError("it takes two characters to score one")
    if isinstance(text, Lines):
        if window is not None:
            raise ValueError("lines are scored one by one, not in windows")
        with closing(_Scorer(model, parameters, text.ids, threads)) as scorer:
            nats = scorer.lines(text)
    else:
        with closing(_Scorer(model, parameters, text, threads)) as scorer:
            nats = scorer.carried() if window is None else scorer.windows(window)
    return Score(nats, target_count(text))


class _Lanes:
    """`B` streams of a text, advanced side by side by a team; everything stays between passes."""

    def __init__(self, model: Model, parameters: Parameters, ids: Ids, batch: int, threads: int) -> None:
        dtype = parameters.flat.dtype
        self.model, self.parameters, self.ids = model, parameters, ids
        self.starts, self.steps = shared((batch,), np.int64), shared((1,), np.int64)
        self.nats = shared((STEPS, batch), np.float64)
        self.state = tuple(
            tuple(shared(array.shape, dtype) for array in layer) for layer in model.zero_state(batch, dtype)
        )
        parts = shard_slices(batch, threads)
        self.workspaces = [Workspace() for _ in parts]
        self.team = WorkerPool(parts, self._work)

    @np.errstate(over="ignore", invalid="ignore")  # a model that diverged has a score: not finite
    def _work(self, number: int, part: slice) -> None:
        steps = int(self.steps[0])
        places = self.starts[None, part] + np.arange(steps)[:, None]  # [T, B]
        # beside a longer line one that has ended reads on, unheeded, as far as there is a text
        places = np.minimum(places, len(self.ids) - 2)
        before = tuple(tuple(array[part] for array in layer) for layer in self.state)
        logits, after, _ = self.model.forward(
            self.parameters, self.ids[places], before, self.workspaces[number]
        )
        rows = cross_entropy(logits.reshape(places.size, -1), self.ids[places + 1].reshape(-1))
        self.nats[:steps, part] = rows.reshape(places.shape)
        for layer, layer_after in zip(self.state, after, strict=True):
            for array, array_after in zip(layer, layer_after, strict=True):
                array[part] = array_after


class _Scorer:
    """Forward passes over streams of a text, or lines of it."""

    def __init__(self, model: Model, parameters: Parameters, ids: Ids, threads: int = 1) -> None:
        self.model, self.parameters, self.ids, self.threads = model, parameters, ids, threads
        self.lanes: dict[int, _Lanes] = {}

    def close(self) -> None:
        """Dismiss the workers."""
        for lanes in self.lanes.values():
            lanes.team.close()

    def zero_state(self, batch: int) -> States:
        return self.model.zero_state(batch, self.parameters.flat.dtype)

    def run(self, starts: Ids, steps: int, state: States) -> tuple[Array, States]:
        """Score `steps` characters behind each place of `starts [B]`: nats `[B]`, and the state after."""
        nats = np.zeros(len(starts))
        for first in range(0, steps, STEPS):
            rows, state = self.piece(starts + first, min(STEPS, steps - first), state)
            nats += rows.sum(axis=0)
        return nats, state

    def piece(self, starts: Ids, steps: int, state: States) -> tuple[Array, States]:
        """One forward pass of up to STEPS steps: nats of every character `[T, B]`, and the state after."""
        B = len(starts)
        if B not in self.lanes:
            self.lanes[B] = _Lanes(self.model, self.parameters, self.ids, B, self.threads)
        lanes = self.lanes[B]
        lanes.starts[...], lanes.steps[0] = starts, steps
        for layer, layer_before in zip(lanes.state, state, strict=True):
            for array, array_before in zip(layer, layer_before, strict=True):
                array[...] = array_before
        lanes.team.run()
        return lanes.nats[:steps].copy(), tuple(
            tuple(array.copy() for array in layer) for layer in lanes.state
        )

    def single(self) -> float:
        """The whole text as one stream."""
        nats, _ = self.run(np.zeros(1, np.intp), len(self.ids) - 1, self.zero_state(1))
        return float(nats[0])

    def carried(self) -> float:
        """The text with its state carried through, in parallel streams where it is long enough.

        All streams first start from nothing, which is wrong for all but the first. Then each is
        begun again from the state in which its left neighbour ended, side by side with the wrong
        start, and its score is corrected by the difference, until no stream differs by more than
        SEAM_TOLERANCE nats a character any longer: the wrong start is forgotten. If a stream ends
        before it is, the text is scored as one stream.
        """
        targets = len(self.ids) - 1
        streams = min(STREAMS, targets // STREAM_LENGTH)
        if streams < 2:
            return self.single()
        length = targets // streams
        starts = np.arange(streams) * length
        nats, ends = self.run(starts, length, self.zero_state(streams))
        # the fewer than `streams` characters that are left over follow the last stream
        last = tuple(tuple(array[-1:] for array in layer) for layer in ends)
        rest, _ = self.run(starts[-1:] + length, targets - streams * length, last)
        correction = self.seams(starts[1:], length, ends)
        if correction is None:
            return self.single()
        return float(nats.sum() + rest[0] + correction)

    def seams(self, starts: Ids, length: int, ends: States) -> float | None:
        """Nats by which the streams at `starts [B]` change when they begin where their neighbours ended.

        `ends` is the state `[B+1, H]` after every stream, the first one's included. None if a
        stream still differs at its end.
        """
        B = len(starts)
        both = np.concatenate([starts, starts])  # right starts, then wrong ones
        state = tuple(
            tuple(np.concatenate([array[:-1], np.zeros_like(array[:-1])]) for array in layer)
            for layer in ends
        )
        correction = 0.0
        for first in range(0, length, SEAM_STEPS):
            nats, state = self.piece(both + first, min(SEAM_STEPS, length - first), state)
            difference = nats[:, :B] - nats[:, B:]  # [T, B]
            correction += float(difference.sum())
            if np.abs(difference).mean(axis=0).max() < SEAM_TOLERANCE:
                return correction
        return None

    def windows(self, window: int) -> float:
        """The text in windows, each from nothing, as many side by side as there are streams."""
        targets = len(self.ids) - 1
        whole = targets // window
        nats = 0.0
        for first in range(0, whole, STREAMS):
            starts = np.arange(first, min(first + STREAMS, whole)) * window
            nats += float(self.run(starts, window, self.zero_state(len(starts)))[0].sum())
        rest = targets - whole * window
        if rest:
            nats += float(self.run(np.array([whole * window]), rest, self.zero_state(1))[0][0])
        return nats

    def lines(self, lines: Lines) -> float:
        """Lines, each from nothing, side by side with others of like lengths."""
        order = np.argsort(lines.lengths, kind="stable")[::-1]  # the longest first
        nats = 0.0
        for start in range(0, len(order), LINES[0]):
            group = order[start : start + LINES[0]]
            starts, lengths = lines.places[group].astype(np.int64) - 1, lines.lengths[group]
            state = self.zero_state(len(group))
            for first in range(0, int(lengths[0]), LINE_STEPS):
                # those that have not ended stand in front
                alive = np.count_nonzero(lengths > first)
                width = min(width for width in LINES if width >= alive)
                starts, lengths = starts[:width], lengths[:width]
                state = tuple(tuple(array[:width] for array in layer) for layer in state)
                steps = min(LINE_STEPS, int(lengths[0]) - first)
                rows, state = self.piece(starts + first, steps, state)
                real = np.arange(first, first + steps)[:, None] < lengths  # [T, B]
                nats += float(rows.sum(where=real))
        return nats
