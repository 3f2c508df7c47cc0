"""How well a model predicts a text.

Everything that is said of the surprise of a text sums the rows of one `Scorer`: the loss of each
predicted unit, and its rank where that is asked for.

Units: nats per character, `-ln p`; bits per character, nats / ln 2; perplexity, exp(nats).
Letters: `T` time steps, `B` streams side by side, `H` hidden units, `K` values per unit.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from charlm.arrays import Array, Ids
from charlm.data.texts import Text
from charlm.nn.ensemble import Network
from charlm.nn.loss import cross_entropy, likeliest, ranks_of, softmax
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.system.team import ALONE, Team
from charlm.system.workers import FEWEST, WorkerPool, shared, slices

SHOWN = 5000
"""Most predicted units of a text that is shown with its score."""

BLOCK = 1_000_000
"""Most units of a text that are scored before the next are needed: whole segments of `dynamic`."""

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

LONG = STREAMS * STREAM_LENGTH
"""Units from which on a line is scored as a text is, in parallel streams."""

SEAM_STEPS = 25
"""Steps between two comparisons at a seam: a wrong start is often forgotten soon."""

SEAM_TOLERANCE = 1e-5
"""Mean difference, in nats per character of one window, below which a wrong start counts as forgotten:
a tenth of what the two ways of scoring may differ by."""

SEAM_ROUNDS = 3
"""How often all streams are begun again before the text is scored as one stream, which is slow."""

_WIDEST, _LONGEST = max(*LINES, 2 * STREAMS), max(STEPS, LINE_STEPS, SEAM_STEPS)
"""Most streams and steps of one forward pass."""


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
    model: Network,
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
    if text.lines is not None and window is not None:
        raise ValueError("lines are scored one by one, not in windows")
    with contextlib.closing(Scorer(model, params, text.ids, team, progress)) as scorer:
        nll = sum(float(values[0].sum()) for values in scorer.text(text, window))
    return Score(nll, text.targets)


def unit_losses(
    model: Network, params: Parameters, text: Text, window: int | None = None, team: Team = ALONE
) -> Array:
    """The loss in nats of every unit of a text that is predicted, in their order; `score` sums them.

    Of a text `[N]` all but the first: `[N-1]`, with the state carried through, or in windows. Of
    lines all, each line from a zero state.
    """
    with contextlib.closing(Scorer(model, params, text.ids, team)) as scorer:
        return np.concatenate([np.zeros(0), *(values[0] for values in scorer.text(text, window))])


def scores(model: Network, params: Parameters, texts: Sequence[Text], team: Team = ALONE) -> list[Score]:
    """The score of each of several texts, which are scored side by side, each from a zero state.

    Raises `ValueError` if there is nothing to score in one.
    """
    if not all(text.targets for text in texts):
        raise ValueError("it takes two characters to score one")
    ids = np.concatenate([np.zeros(0, np.uint8), *(text.ids for text in texts)])
    offsets = np.cumsum([0, *(len(text.ids) for text in texts)])
    examples = [text.examples() for text in texts]
    starts = np.concatenate(
        [np.zeros(0, int), *(k + one[0] for k, one in zip(offsets[:-1], examples, strict=True))]
    )
    lengths = np.concatenate([np.zeros(0, int), *(one[1] for one in examples)])
    nll: list[Array] = [np.zeros(0)]
    with contextlib.closing(Scorer(model, params, ids, team)) as scorer:
        for some in blocks_of_lines(lengths):
            values = scorer.lines(starts[some], lengths[some])[0]
            nll.append(np.add.reduceat(values, np.cumsum(lengths[some]) - lengths[some]))
    each = np.split(np.concatenate(nll), np.cumsum([len(one[1]) for one in examples])[:-1]) if texts else []
    return [Score(float(some.sum()), text.targets) for some, text in zip(each, texts, strict=True)]


class _Lanes:
    """Up to _WIDEST streams of a text, advanced side by side by a pool of workers, on every rank.

    Everything it needs is made once, and used again from pass to pass. Workers see the contents that
    `ids` have when a pass begins, if it is `shared`.
    """

    def __init__(
        self, model: Network, params: Parameters, ids: Ids, team: Team, ranks: bool, named: int
    ) -> None:
        self.model, self.params, self.ids, self.team = model, params, ids, team
        self.ranks, self.named = ranks, named
        self.K = 1 + ranks + 2 * named
        self._starts, self._stops = shared((2, _WIDEST), np.int64)
        self._values = shared((self.K * _LONGEST * _WIDEST,), np.float64)
        self._state = shared((model.zero_state(_WIDEST).size,), params.flat.dtype)
        self._workspaces: dict[int, Workspace] = {}  # by shard
        self._shares: dict[int, Callable[[], None]] = {}
        self._pool: WorkerPool | None = None

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.close()

    def advance(self, starts: Ids, steps: int, state: Array, stops: Ids) -> tuple[Array, Array]:
        """Score `steps` characters of every stream: values of each `[K, T, B]`, and the state after.

        No input is read from `stops [B]` on: a line that has ended beside a longer one repeats its last
        input, so that nothing depends on what follows it. Its values there are not used.
        """
        B = len(starts)
        shards = slices(B, self.team.parts, FEWEST)
        by_rank = self.team.divide(len(shards))
        own = by_rank[self.team.rank]
        self._starts[:B], self._stops[:B] = starts, stops
        for number in own:
            self._state_of(shards[number])[...] = state[:, :, shards[number]]
        if len(own) > 1:
            if self._pool is None:
                self._pool = self.team.pool(self.team.parts, self._advance)
            self._pool.map(self._advance, own, B, steps)
        else:
            for number in own:
                self._advance(number, B, steps)
        if B not in self._shares:
            arrays = [
                [
                    part
                    for number in one
                    for part in (self._values_of(shards[number]), self._state_of(shards[number]))
                ]
                for one in by_rank
            ]
            self._shares[B] = self.team.exchange([arrays[self.team.rank]] * self.team.size, arrays)
        self._shares[B]()
        values = np.concatenate([self._values_of(shard)[:, :steps] for shard in shards], axis=2)
        return values, np.concatenate([self._state_of(shard) for shard in shards], axis=2)

    def _values_of(self, shard: slice) -> Array:
        """The values `[K, _LONGEST, b]` of the streams of a shard."""
        each, width = self.K * _LONGEST, shard.stop - shard.start
        return self._values[each * shard.start : each * shard.stop].reshape(self.K, _LONGEST, width)

    def _state_of(self, shard: slice) -> Array:
        """The state `[L, S, b, H]` of the streams of a shard."""
        shape = self.model.zero_state(shard.stop - shard.start).shape
        each = math.prod(shape) // (shard.stop - shard.start)
        return self._state[each * shard.start : each * shard.stop].reshape(shape)

    @np.errstate(over="ignore", invalid="ignore")  # a model that diverged has a score: not finite
    def _advance(self, number: int, B: int, steps: int) -> None:
        shard = slices(B, self.team.parts, FEWEST)[number]
        workspace = self._workspaces.setdefault(number, Workspace())
        index = self._starts[None, shard] + np.arange(steps)[:, None]  # [T, b]
        index = np.minimum(index, self._stops[shard] - 1)
        state, values = self._state_of(shard), self._values_of(shard)
        window = self.model.forward(self.params, self.ids[index], state, workspace)
        logits, targets = window.output.reshape(index.size, -1), self.ids[index + 1].reshape(-1)
        if self.ranks:
            values[1, :steps] = ranks_of(logits, targets).reshape(index.shape)
        if self.named:
            pair = np.stack(likeliest(softmax(logits), self.named))  # [2, T b, named]
            values[-2 * self.named :, :steps] = pair.swapaxes(1, 2).reshape(-1, *index.shape)
        values[0, :steps] = cross_entropy(logits, targets).reshape(index.shape)  # overwrites the logits
        state[...] = window.state


class Scorer:
    """The rows that every score sums: `K` values of each predicted unit, in the order of the text.

    The first is the loss in nats. With `ranks` the second is the rank: 1 for the likeliest unit, one
    more than the units with a larger logit. With `named` the last are the ids of that many likeliest
    units, and then their probabilities (`loss.likeliest`). Units of the text are named by their places
    in `ids`. If `ids` is `shared`, its contents may be changed between two calls.
    """

    def __init__(
        self,
        model: Network,
        params: Parameters,
        ids: Ids,
        team: Team = ALONE,
        progress: Callable[[int], object] = lambda characters: None,
        ranks: bool = False,
        named: int = 0,
    ) -> None:
        """`progress` is called with the number of characters just scored."""
        self.model, self.params, self.ids = model, params, ids
        self.progress, self.block = progress, BLOCK // (1 + named)
        self.lanes = _Lanes(model, params, ids, team, ranks, named)
        self.K = self.lanes.K

    def close(self) -> None:
        """End the workers."""
        self.lanes.close()

    def zero_state(self, B: int = 1) -> Array:
        """The state in which `B` texts begin."""
        return self.model.zero_state(B, self.params.flat.dtype)

    def text(self, text: Text, window: int | None = None) -> Iterator[Array]:
        """The values `[K, n]` of a whole text, in pieces: in windows, line by line, or carried through."""
        if window is not None:
            yield from self.windows(text.targets, window)
        elif text.lines is not None:
            starts, lengths = text.examples()
            for lines in blocks_of_lines(lengths, self.block):
                yield self.lines(starts[lines], lengths[lines])
        else:
            state = self.zero_state()
            for start in range(0, text.targets, self.block):
                values, state = self.carried(start, min(self.block, text.targets - start), state)
                yield values

    def window(self, starts: Ids, steps: int, state: Array, stops: Ids | None = None) -> tuple[Array, Array]:
        """One forward pass of up to STEPS steps: values `[K, T, B]` of every character, and the state.

        With `stops [B]`, lines that end before the last step end at these places.
        """
        return self.lanes.advance(starts, steps, state, starts + steps if stops is None else stops)

    def run(self, starts: Ids, steps: int, state: Array) -> tuple[Array, Array]:
        """Score `steps` characters after each of `starts [B]`: values `[K, B, steps]`, and the state."""
        values = np.empty((self.K, len(starts), steps))
        for first in range(0, steps, STEPS):
            rows, state = self.window(starts + first, min(STEPS, steps - first), state)
            values[:, :, first : first + STEPS] = rows.swapaxes(1, 2)
            self.progress(rows[0].size)
        return values, state

    def single(self, start: int, targets: int, state: Array) -> tuple[Array, Array]:
        """Score `targets` units after place `start` as one stream: values `[K, targets]`, and the state."""
        values, state = self.run(np.array([start]), targets, state)
        return values[:, 0], state

    def carried(self, start: int, targets: int, state: Array) -> tuple[Array, Array]:
        """What `single` gives, in parallel streams where the text is long enough.

        All streams but the first start from zero, which is wrong. Then each is begun again from the
        state in which its left neighbour ended, side by side with the wrong start, and the better
        rows take the place of the wrong ones, until no stream differs by more than SEAM_TOLERANCE
        nats per character: the wrong start is forgotten. Streams that end before it is have better
        ends now, from which all are begun again in the same way. If SEAM_ROUNDS are not enough, the
        text is scored as one stream.
        """
        streams = min(STREAMS, targets // STREAM_LENGTH)
        if streams < 2:
            return self.single(start, targets, state)
        length = targets // streams
        # the fewer than `streams` characters that are left over come before the first stream
        rest = targets - streams * length
        before, first = self.single(start, rest, state)
        starts = start + rest + np.arange(streams) * length
        values, ends = self.run(starts, length, np.concatenate([first, self.zero_state(streams - 1)], axis=2))
        end = self.seams(starts[1:], values[:, 1:], ends)
        if end is None:
            return self.single(start, targets, state)
        return np.concatenate([before, values.reshape(len(values), -1)], axis=1), end

    def seams(self, starts: Ids, values: Array, ends: Array) -> Array | None:
        """Correct the `values [K, B, length]` of streams at `starts [B]` that began from zero.

        Each is begun again where its neighbour ended: `ends` is the state `[L, S, B+1, H]` after every
        stream, the first one's included. Returns the state after the last one; None if after
        SEAM_ROUNDS a stream still differs at its end.
        """
        B, length = values.shape[1:]
        both = np.concatenate([starts, starts])  # better starts, then worse ones
        first_end, better, end = ends[:, :, :1], ends[:, :, :-1], ends[:, :, -1:]
        worse = np.zeros_like(better)
        for _ in range(SEAM_ROUNDS):
            state = np.concatenate([better, worse], axis=2)
            for first in range(0, length, SEAM_STEPS):
                rows, state = self.window(both + first, min(SEAM_STEPS, length - first), state)
                values[:, :, first : first + SEAM_STEPS] = rows[:, :, :B].swapaxes(1, 2)
                difference = rows[0, :, :B] - rows[0, :, B:]  # [T, B]
                if np.abs(difference).mean(axis=0).max() < SEAM_TOLERANCE:
                    return end
            end = state[:, :, B - 1 : B]
            worse, better = better, np.concatenate([first_end, state[:, :, : B - 1]], axis=2)
        return None

    def windows(self, targets: int, window: int) -> Iterator[Array]:
        """The values of the text in windows, each from a zero state, up to STREAMS of them side by side."""
        whole = targets // window
        for first in range(0, whole, STREAMS):
            starts = np.arange(first, min(first + STREAMS, whole)) * window
            values, _ = self.run(starts, window, self.zero_state(len(starts)))
            yield values.reshape(len(values), -1)
        if rest := targets - whole * window:
            yield self.single(whole * window, rest, self.zero_state())[0]

    def lines(self, first_inputs: Ids, all_lengths: Ids) -> Array:
        """The values of lines, each from a zero state, side by side with others of similar lengths.

        A line has the place of its first input and the number of its targets; values `[K, n]` of one
        line after the other.
        """
        ends = np.cumsum(all_lengths, dtype=np.int64)
        places = ends - all_lengths  # of the values of each line
        values = np.empty((self.K, int(ends[-1]) if len(ends) else 0))
        order = np.argsort(all_lengths, kind="stable")[::-1]  # the longest first
        alone = int(np.count_nonzero(all_lengths >= LONG))
        for line in order[:alone].tolist():
            length = int(all_lengths[line])
            state = self.zero_state()
            for first in range(0, length, BLOCK):
                rows, state = self.carried(first_inputs[line] + first, min(BLOCK, length - first), state)
                values[:, places[line] + first :][:, : rows.shape[1]] = rows
        for start in range(alone, len(order), LINES[0]):
            group = order[start : start + LINES[0]]
            starts, lengths, outs = first_inputs[group], all_lengths[group], places[group]
            state = self.zero_state(len(group))
            for first in range(0, int(lengths[0]), LINE_STEPS):
                # those that have not ended come first
                alive = np.count_nonzero(lengths > first)
                width = min(width for width in LINES if width >= alive)
                starts, lengths, outs = starts[:width], lengths[:width], outs[:width]
                steps = np.arange(first, min(first + LINE_STEPS, int(lengths[0])))[:, None]
                stops = starts + lengths
                rows, state = self.window(starts + first, len(steps), state[:, :, :width], stops)
                mask = steps < lengths  # [T, B]
                values[:, (outs + steps)[mask]] = rows[:, mask]
                self.progress(int(mask.sum()))
        return values


def blocks_of_lines(lengths: Ids, most: int = BLOCK) -> Iterator[slice]:
    """Lines of these lengths in blocks of as many as have `most` units together; of one at least."""
    ends = np.cumsum(lengths, dtype=np.int64)
    start = 0
    while start < len(ends):
        before = int(ends[start] - lengths[start])
        stop = max(start + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield slice(start, stop)
        start = stop
