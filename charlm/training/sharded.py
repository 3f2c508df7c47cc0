"""One update of truncated BPTT, divided into shards that workers share.

The batch is divided into shards. Each has a forward and a backward pass of its own, and gradients
of its own. These are summed in a fixed order, so that the result does not depend on who computed
what: one process, several workers, or several machines. The sums, the norm and the update are
divided too, into spans of the flat buffer, as many as there are shards.

Each rank has arrays for all of this, and computes a part of it: the shards that are its own, and
the sums over all shards in its own spans. What the others have computed comes into the same arrays
in two exchanges: of every shard the spans of this rank, then the sums in the spans of the others.
The order of the sums is a tree, so that a rank adds neighbouring shards of its own before the first
exchange, and sends their sum in their place: one buffer, if ranks have a power of two of shards.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from charlm.arrays import Array
from charlm.config.keys import TrainConfig
from charlm.data.batches import Batches
from charlm.nn.loss import softmax_cross_entropy
from charlm.nn.model import OUTPUT, Model
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.optim.averaging import update_mean
from charlm.optim.clipping import clip_values
from charlm.optim.optimizers import Optimizer
from charlm.system.team import Team
from charlm.system.workers import FEWEST, shared, slices
from charlm.training.teachers import Table


def default_shards(batch: int, team: Team) -> int:
    """Shards of a batch: one per worker, but none with fewer than `FEWEST` streams."""
    return len(slices(batch, team.workers * team.size, FEWEST))


Additions = Sequence[tuple[int, int]]
"""Pairs of shards; the second of each is added to the first."""


def additions(shards: int, own: range | None = None) -> Additions:
    """The order in which gradients of `shards` are summed; of it, what needs those of `own` only.

    `((0 + 1) + (2 + 3)) + ((4 + 5) + 6)`: neighbours, then neighbouring sums, and so on.
    """
    own = range(shards) if own is None else own
    found, width = [], 1
    while width < shards:
        for shard in range(0, shards - width, 2 * width):
            if own.start <= shard and min(shard + 2 * width, shards) <= own.stop:
                found.append((shard, shard + width))
        width *= 2
    return found


def left_to_add(shards: int, own: range) -> list[int]:
    """The shards of `own` that hold what is left after their `additions`."""
    added = {second for _, second in additions(shards, own)}
    return [shard for shard in own if shard not in added]


def reduce_shards(grads: Sequence[Array], span: slice, order: Additions) -> Array:
    """`grads[a][span] += grads[b][span]` for every `a, b` of `order`; returns `grads[0][span]`, a view.

    The one place where gradients of shards meet. Floating-point sums depend on their order, so the
    shards are always added in the one of `additions`, by whichever worker or machine they were computed.
    """
    for first, second in order:
        np.add(grads[first][span], grads[second][span], grads[first][span])
    return grads[0][span]


class ShardedUpdate:
    """Windows of a training text, one at a time: `backpropagate`, `clip_values`, `update`.

    Attributes
    ----------
    params, grads
        Shared with the workers; change parameters in place.
    mean
        The running mean of the parameters; without one, the parameters themselves.
    state
        Carried from window to window, `[L, S, B, H]`; change it in place too.
    pool
        The workers.
    """

    def __init__(
        self,
        model: Model,
        params: Parameters,
        batches: Batches,
        optimizer: Optimizer,
        train: TrainConfig,
        team: Team,
        taught: Table | None = None,
    ) -> None:
        """`optimizer` must have its state in shared memory; `train.shards` is above 0.

        `taught` is what teachers say of the text that `batches` read.
        """
        B, size, dtype = batches.batch, params.flat.size, params.flat.dtype
        self.model, self.batches, self.optimizer = model, batches, optimizer
        self.train, self.taught = train, taught
        output = params.span(OUTPUT)
        self._rates = [(slice(0, output.start), 1.0), (output, train.output_lr)]
        self.params = Parameters(params.shapes, flat=shared((size,), dtype))
        self.params.flat[...] = params.flat
        self.mean = self.params
        if train.average:
            self.mean = Parameters(params.shapes, flat=shared((size,), dtype))
            self.mean.flat[...] = params.flat
        self.state = shared(model.zero_state(B).shape, dtype)
        self._noise = {
            name: shared((noise.size,), dtype) for name, noise in model.noise(batches.seq_len, B).items()
        }
        self._shards = slices(B, train.shards)
        self._grads = [Parameters(params.shapes, flat=shared((size,), dtype)) for _ in self._shards]
        self.grads = self._grads[0]
        self._spans = slices(size, len(self._shards))
        self._losses, self._squares = np.zeros(len(self._shards)), np.zeros((len(self._spans), 2))
        self._team = team
        self._share_gradients, self._share_sums = self._exchanges()
        self._workspaces = [Workspace() for _ in self._shards]
        # last: workers know what was made before them
        tasks = (self._backpropagate, self._combine, self._reduce, self._update)
        self.pool = team.pool(len(self._own), *tasks)

    def _exchanges(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """The two exchanges between ranks: of the shards' gradients, and of their sums.

        The losses of the shards go with the former, the squares of the sums with the latter.
        """
        team, count = self._team, len(self._shards)
        shards, spans = team.divide(count), team.divide(len(self._spans))
        self._own, self._own_spans = shards[team.rank], spans[team.rank]
        # one process has nothing to send, and sums in one pass
        by_rank = [additions(count, own) for own in shards] if team.size > 1 else [()]
        self._before = by_rank[team.rank]
        self._after = [pair for pair in additions(count) if not any(pair in pairs for pairs in by_rank)]
        edges = [0, *(span.stop for span in self._spans)]

        def gradients(shards: range, spans: range) -> list[Array]:
            within = slice(edges[spans.start], edges[spans.stop])
            of_shards = [self._grads[shard].flat[within] for shard in left_to_add(count, shards)]
            return [*of_shards, self._losses[shards.start : shards.stop]]

        def sums(spans: range) -> list[Array]:
            within = slice(edges[spans.start], edges[spans.stop])
            return [self.grads.flat[within], self._squares[spans.start : spans.stop]]

        return (
            team.exchange(
                [gradients(self._own, theirs) for theirs in spans],
                [gradients(theirs, self._own_spans) for theirs in shards],
            ),
            team.exchange([sums(self._own_spans)] * team.size, [sums(theirs) for theirs in spans]),
        )

    def backpropagate(self, step: int, rng: np.random.Generator, drop: float = 1.0) -> float:
        """Loss and gradients of the window of update `step` of the network; `state` advances.

        `rng` draws the noise, whose rates are multiplied by `drop`. Returns the mean loss of the window, in
        nats per character.
        """
        T = self.batches.window_length(step)
        for name, noise in self.model.noise(T, self.batches.batch).items():
            replace(noise, rate=drop * noise.rate).draw(
                rng, self._noise[name][: noise.size].reshape(noise.shape)
            )
        losses = self.pool.map(self._backpropagate, self._own, step)
        self._losses[self._own.start : self._own.stop] = losses
        if self._before:
            self.pool.map(self._combine, range(len(self._spans)))
        self._share_gradients()
        return math.fsum(self._losses)

    def clip_values(self) -> tuple[float, float]:
        """Sum the gradients of the shards, and clip their values; their global norm before and after.

        If the norm is not finite, nothing is clipped, and `update` must not follow.
        """
        for number, squares in zip(
            self._own_spans, self.pool.map(self._reduce, self._own_spans), strict=True
        ):
            self._squares[number] = squares
        self._share_sums()
        before, after = (math.sqrt(math.fsum(column)) for column in self._squares.T)
        return before, after

    def update(self, lr: float, factor: float, t: int) -> None:
        """Update number `t`, from 1, of the parameters by the gradients times `factor`."""
        self.pool.map(self._update, range(len(self._spans)), lr, factor, t)

    def first_not_finite(self) -> str:
        """Name of the first parameter whose gradient holds a number that is not finite."""
        return next(name for name, array in self.grads.items() if not np.isfinite(array).all())

    def reset_not_finite(self) -> None:
        """Set the carried state of a stream to zero in every array of it that is not finite."""
        for layer in self.state:
            for array in layer:
                array[~np.isfinite(array).all(axis=1)] = 0.0

    def complete_state(self) -> None:
        """Bring the carried state of every stream to all ranks; each has advanced that of its own shards."""
        streams = [self._shards[shard] for shard in self._own]
        for told in self._team.gather([(shard, self.state[:, :, shard]) for shard in streams]):
            for shard, state in told:
                self.state[:, :, shard] = state

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is found by the caller
    def _backpropagate(self, number: int, step: int) -> float:
        """One shard: its loss; it leaves its gradients and advances its state."""
        shard = self._shards[number]
        x, y, mask, places = self.batches.window(step)
        scored = self.batches.characters(step)  # of the whole window
        x, y = x[:, shard], y[:, shard].reshape(-1)
        mask = None if mask is None else mask[:, shard].reshape(-1)
        soft = self.taught.at(places[:, shard].reshape(-1)) if self.taught else None
        masks = {
            name: noise.cut(self._noise[name][: noise.size].reshape(noise.shape), shard)
            for name, noise in self.model.noise(len(x), self.batches.batch).items()
        }
        window = self.model.forward(self.params, x, self.state[:, :, shard], self._workspaces[number], masks)
        logits = window.output
        loss, dlogits = softmax_cross_entropy(logits.reshape(y.size, self.model.vocab), y, scored, mask, soft)
        window.backward(self._grads[number], dlogits.reshape(logits.shape))
        self.state[:, :, shard] = window.state
        return loss

    @np.errstate(over="ignore", invalid="ignore")
    def _combine(self, number: int) -> None:
        """One span of the gradients: the sums over shards of this rank."""
        reduce_shards([grads.flat for grads in self._grads], self._spans[number], self._before)

    @np.errstate(over="ignore", invalid="ignore")
    def _reduce(self, number: int) -> tuple[float, float]:
        """One span of the gradients: summed over the shards and its values clipped; sums of squares."""
        total = reduce_shards([grads.flat for grads in self._grads], self._spans[number], self._after)
        return clip_values(total, self.train.clip_value)

    @np.errstate(over="ignore", invalid="ignore")  # the next loss is not finite then
    def _update(self, number: int, lr: float, factor: float, t: int) -> None:
        """One span of the parameters."""
        span = self._spans[number]
        if factor < 1:
            np.multiply(self.grads.flat[span], factor, self.grads.flat[span])
        for layers, rate in self._rates:
            part = slice(max(span.start, layers.start), min(span.stop, layers.stop))
            self.optimizer.update(self.params.flat, self.grads.flat, rate * lr, t, part)
        if self.train.average:
            update_mean(self.mean.flat, self.params.flat, self.train.average, t, span)
