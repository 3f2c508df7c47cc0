"""How well a model predicts a text.

Units: nats per character, `-ln p`; bits per character, nats / ln 2; perplexity, exp(nats).
Letters: `T` time steps, `B` streams side by side, `H` hidden units.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from charlm.arrays import Array, Ids
from charlm.data.texts import Text
from charlm.nn.loss import cross_entropy
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.system.team import ALONE, Team
from charlm.system.workers import FEWEST, shared, slices

SHOWN = 5000
"""Most predicted units of a text that is shown with its score."""

STREAMS = 64
"""Most streams in which a text is scored side by side."""

STREAM_LENGTH = 1000
"""Fewest characters of such a stream: shorter ones would spend their time at seams."""

STEPS = 100
"""Steps of one forward pass."""

LINES = (256, 64, 16, 4, 1)
"""Lines that are scored side by side: at first, and as lines end."""

LINE_STEPS = STREAMS * STEPS // LINES[0]
"""Steps of one forward pass of lines: it takes no more memory than one of a text."""

SEAM_STEPS = 25
"""Steps between two comparisons at a seam: a wrong start is often forgotten soon."""

SEAM_TOLERANCE = 1e-5
"""Mean difference, in nats per character of one window, below which a wrong start counts as forgotten:
a tenth of what the two ways of scoring may differ by."""

SEAM_ROUNDS = 3
"""How often all streams are begun again before the text is scored as one stream, which is slow."""


@dataclass(frozen=True, repr=False)
class Score:
    """The loss of the scored characters."""

    nll: float
    """Their negative log-likelihood in nats."""
    characters: int
    shaded: Callable[[], str] | None = field(default=None, compare=False, repr=False)
    """Makes the HTML of the text, each character shaded by its loss; None if it is not to be shown."""

    @property
    def nats_per_char(self) -> float:
        """Cross-entropy in nats."""
        return self.nll / self.characters

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

    @property
    def account(self) -> str:
        """The figures in a line."""
        return (
            f"{self.nats_per_char:.4f} nats/char, {self.bits_per_char:.4f} bits/char, "
            f"perplexity {self.perplexity:.4f}, {self.characters:,} scored"
        )

    def __repr__(self) -> str:
        """The figures in a line."""
        return f"<Score: {self.account}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the figures, and the text if it is not too long."""
        text = f"<div>a text of more than {SHOWN:,} units is not shown</div>"
        if self.shaded is not None:
            text = self.shaded()
        return f"<div><div>{self.account}</div>{text}</div>"

    def __reduce__(self) -> tuple[type[Score], tuple[float, int]]:
        """A copy of it in another process has the figures, without the model and the text."""
        return Score, (self.nll, self.characters)


@np.errstate(over="ignore", invalid="ignore")  # a model that diverged has a score: not finite
def score(
    model: Model,
    params: Parameters,
    text: Text,
    window: int | None = None,
    team: Team = ALONE,
    progress: Callable[[int], object] = lambda characters: None,
) -> Score:
    """Score every character of a text `[N]` but the first, which nothing comes before; or lines.

    Without `window` the state is carried from the first character to the last. With it, the text
    is scored in windows of `window` characters, each from a zero state: the protocol of models
    with a fixed context. Lines are scored each from a zero state, the line break before it its
    first input and its own its last target.

    All ranks of `team` score the same text together. Streams side by side are divided into its parts.
    `progress` is called with the number of characters just scored.

    Raises `ValueError` if there is nothing to score, or a window is given with lines.
    """
    if not text.targets:
        raise ValueError("it takes two characters to score one")
    with contextlib.closing(_Scorer(model, params, text.ids, team, progress)) as scorer:
        if text.lines is not None:
            if window is not None:
                raise ValueError("lines are scored one by one, not in windows")
            nll = scorer.lines(text)
        else:
            nll = scorer.carried() if window is None else scorer.windows(window)
    return Score(nll, text.targets)


class _Lanes:
    """`B` streams of a text, advanced side by side by a pool of workers, on every rank.

    Everything it needs is made once, and used again from pass to pass.
    """

    def __init__(
        self,
        model: Model,
        params: Parameters,
        ids: Ids,
        B: int,
        team: Team,
    ) -> None:
        self.model, self.params, self.ids = model, params, ids
        self.starts = shared((B,), np.int64)
        self.shards = slices(B, team.parts, FEWEST)
        widths = [shard.stop - shard.start for shard in self.shards]
        self.nll = [shared((STEPS, b), np.float64) for b in widths]
        self.state = [shared(model.zero_state(b).shape, params.flat.dtype) for b in widths]
        self.workspaces = [Workspace() for _ in self.shards]
        by_rank = team.divide(len(self.shards))
        self.own = by_rank[team.rank]
        results = [[*self.nll[own.start : own.stop], *self.state[own.start : own.stop]] for own in by_rank]
        self.share = team.exchange([results[team.rank]] * team.size, results)
        self.pool = team.pool(len(self.own), self._advance)

    def advance(self, starts: Ids, steps: int, state: Array) -> tuple[Array, Array]:
        """Score `steps` characters of every stream: loss of each `[T, B]`, and the state after."""
        self.starts[...] = starts
        for number in self.own:
            self.state[number][...] = state[:, :, self.shards[number]]
        self.pool.map(self._advance, self.own, steps)
        self.share()
        return np.concatenate([nll[:steps] for nll in self.nll], axis=1), np.concatenate(self.state, axis=2)

    @np.errstate(over="ignore", invalid="ignore")  # a model that diverged has a score: not finite
    def _advance(self, number: int, steps: int) -> None:
        shard = self.shards[number]
        index = self.starts[None, shard] + np.arange(steps)[:, None]  # [T, B]
        # a line that has ended beside a longer one is read on, as far as there is a text; its
        # losses there are not used
        index = np.minimum(index, len(self.ids) - 2)
        window = self.model.forward(self.params, self.ids[index], self.state[number], self.workspaces[number])
        rows = cross_entropy(window.output.reshape(index.size, -1), self.ids[index + 1].reshape(-1))
        self.nll[number][:steps] = rows.reshape(index.shape)
        self.state[number][...] = window.state


class _Scorer:
    """Forward passes over streams of a text, or lines of it."""

    def __init__(
        self,
        model: Model,
        params: Parameters,
        ids: Ids,
        team: Team = ALONE,
        progress: Callable[[int], object] = lambda characters: None,
    ) -> None:
        self.model, self.params, self.ids = model, params, ids
        self.team, self.progress = team, progress
        self.lanes: dict[int, _Lanes] = {}

    def close(self) -> None:
        """End the workers."""
        for lanes in self.lanes.values():
            lanes.pool.close()

    def zero_state(self, B: int) -> Array:
        return self.model.zero_state(B, self.params.flat.dtype)

    def run(self, starts: Ids, steps: int, state: Array) -> tuple[Array, Array]:
        """Score `steps` characters after each of `starts [B]`: loss `[B]` in nats, and the state after."""
        nll = np.zeros(len(starts))
        for first in range(0, steps, STEPS):
            rows, state = self.window(starts + first, min(STEPS, steps - first), state)
            nll += rows.sum(axis=0)
            self.progress(rows.size)
        return nll, state

    def window(self, starts: Ids, steps: int, state: Array) -> tuple[Array, Array]:
        """One forward pass of up to STEPS steps: loss of every character `[T, B]`, and the state after."""
        B = len(starts)
        if B not in self.lanes:
            self.lanes[B] = _Lanes(self.model, self.params, self.ids, B, self.team)
        return self.lanes[B].advance(starts, steps, state)

    def single(self) -> float:
        """The whole text as one stream."""
        nll, _ = self.run(np.zeros(1, np.intp), len(self.ids) - 1, self.zero_state(1))
        return float(nll[0])

    def carried(self) -> float:
        """The text with its state carried through, in parallel streams where it is long enough.

        All streams first start from zero, which is wrong for all but the first. Then each is
        begun again from the state in which its left neighbour ended, side by side with the wrong
        start, and its score is corrected by the difference, until no stream differs by more than
        SEAM_TOLERANCE nats per character: the wrong start is forgotten. Streams that end before it
        is have better ends now, from which all are begun again in the same way. If SEAM_ROUNDS are
        not enough, the text is scored as one stream.
        """
        targets = len(self.ids) - 1
        streams = min(STREAMS, targets // STREAM_LENGTH)
        if streams < 2:
            return self.single()
        length = targets // streams
        # the fewer than `streams` characters that are left over come before the first stream
        rest = targets - streams * length
        before, state = self.run(np.zeros(1, np.intp), rest, self.zero_state(1))
        starts = rest + np.arange(streams) * length
        nll, ends = self.run(starts, length, np.concatenate([state, self.zero_state(streams - 1)], axis=2))
        correction = self.seams(starts[1:], length, ends)
        if correction is None:
            return self.single()
        return float(before[0] + nll.sum() + correction)

    def seams(self, starts: Ids, length: int, ends: Array) -> float | None:
        """Nats by which the streams at `starts [B]` change when they begin where their neighbours ended.

        `ends` is the state `[L, S, B+1, H]` after every stream, the first one's included. None if
        after SEAM_ROUNDS a stream still differs at its end.
        """
        B = len(starts)
        both = np.concatenate([starts, starts])  # better starts, then worse ones
        first_end, better = ends[:, :, :1], ends[:, :, :-1]
        worse = np.zeros_like(better)
        correction = 0.0
        for _ in range(SEAM_ROUNDS):
            state = np.concatenate([better, worse], axis=2)
            for first in range(0, length, SEAM_STEPS):
                nll, state = self.window(both + first, min(SEAM_STEPS, length - first), state)
                difference = nll[:, :B] - nll[:, B:]  # [T, B]
                correction += float(difference.sum())
                if np.abs(difference).mean(axis=0).max() < SEAM_TOLERANCE:
                    return correction
            worse, better = better, np.concatenate([first_end, state[:, :, : B - 1]], axis=2)
        return None

    def windows(self, window: int) -> float:
        """The text in windows, each from a zero state, up to STREAMS of them side by side."""
        targets = len(self.ids) - 1
        whole = targets // window
        nll = 0.0
        for first in range(0, whole, STREAMS):
            starts = np.arange(first, min(first + STREAMS, whole)) * window
            nll += float(self.run(starts, window, self.zero_state(len(starts)))[0].sum())
        rest = targets - whole * window
        if rest:
            nll += float(self.run(np.array([whole * window]), rest, self.zero_state(1))[0][0])
        return nll

    def lines(self, lines: Text) -> float:
        """Lines, each from a zero state, side by side with others of similar lengths."""
        first_inputs, all_lengths = lines.examples()
        order = np.argsort(all_lengths, kind="stable")[::-1]  # the longest first
        nll = 0.0
        for start in range(0, len(order), LINES[0]):
            group = order[start : start + LINES[0]]
            starts, lengths = first_inputs[group], all_lengths[group]
            state = self.zero_state(len(group))
            for first in range(0, int(lengths[0]), LINE_STEPS):
                # those that have not ended come first
                alive = np.count_nonzero(lengths > first)
                width = min(width for width in LINES if width >= alive)
                starts, lengths, state = starts[:width], lengths[:width], state[:, :, :width]
                steps = min(LINE_STEPS, int(lengths[0]) - first)
                rows, state = self.window(starts + first, steps, state)
                mask = np.arange(first, first + steps)[:, None] < lengths  # [T, B]
                nll += float(rows.sum(where=mask))
                self.progress(int(mask.sum()))
        return nll


def unit_losses(model: Model, params: Parameters, text: Text, window: int | None = None) -> Array:
    """The loss in nats of every unit of a text that is predicted, in their order.

    Of a text `[N]` all but the first: `[N-1]`, with the state carried through, or in windows as
    `score` has them. Of lines all, each line from a zero state. One stream at a time, so that it is
    slower than `score`.
    """
    starts, lengths = text.examples()
    if window is not None:
        starts = np.arange(0, text.targets, window)
        lengths = np.minimum(window, text.targets - starts)
    losses: list[Array] = [np.zeros(0)]
    with contextlib.closing(_Scorer(model, params, text.ids)) as scorer:
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            state = scorer.zero_state(1)
            for first in range(0, length, STEPS):
                rows, state = scorer.window(np.array([start + first]), min(STEPS, length - first), state)
                losses.append(rows[:, 0])
    return np.concatenate(losses)
