"""Dynamic evaluation: a model goes on learning from the text that it is scored on.

Krause, Kahembwe, Murray, Renals 2018, "Dynamic evaluation of neural sequence models"
(arXiv 1709.07432), with the RMS rule and its pull back to the trained parameters. The text is read
in segments, in its order. Each is scored before it is learned from, so that no loss depends on a later
character. The trained parameters are only read: a copy of them learns.

Letters: `T` time steps, `V` vocabulary, `P` numbers in the flat buffer of parameters.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from charlm.arrays import Array, Ids
from charlm.data.texts import Text
from charlm.nn.ensemble import Network
from charlm.nn.loss import cross_entropy, ranks_of, softmax_cross_entropy
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.system.team import ALONE, Team
from charlm.system.workers import shared, slices

SEGMENT = 50
"""Most characters that are scored before they are learned from: S. Of lines, each is a segment."""

EPSILON = 1e-4
"""ε: bounds the step of weights whose gradient is nearly always zero; about a tenth of a usual mean(MS)."""

RATES = (1e-4, 2e-4, 4e-4, 8e-4)
"""Values of η to choose from. The paper's, about 1e-4, belong to the smaller MS of whole batches."""

PULL_BACKS = (1e-3, 3e-3)
"""Values of λ to choose from."""

PIECES = 4
"""Pieces of the training text, evenly spaced, whose gradients are measured."""

MEASURED = 25_000
"""Characters of these pieces together, at most."""

TRIED = 10_000
"""Characters on which the constants are chosen, at most."""

_BLOCK = 1 << 15
"""Numbers updated at a time: the arrays of a block stay in the cache between operations."""


@dataclass(frozen=True)
class Constants:
    """The constants that are chosen: η and λ."""

    rate: float
    """η: how far a segment moves a weight whose gradient is as large as usual."""
    pull_back: float
    """λ: by what part of its way back a segment returns a weight of the usual mean square."""


DEFAULT = Constants(3e-4, 1e-3)
"""Where there is no text to choose on."""

GRID = tuple(Constants(rate, pull_back) for rate, pull_back in product(RATES, PULL_BACKS))
"""Every combination that is tried."""


@np.errstate(over="ignore", invalid="ignore")  # a model that diverged has gradients: not finite
def rms_gradients(model: Network, params: Parameters, text: Text, team: Team = ALONE) -> Array:
    """`MS = √(mean over segments of g²)` of every weight, `[P]`, over a part of a training text.

    g is the gradient of the mean loss of a segment, without dropout. The pieces that are read are
    the same for any team, and so is the order in which they are added.
    """
    parts = slices(len(text), PIECES, fewest=2)
    pieces = [text.between(part.start, part.stop).excerpt(MEASURED // len(parts)) for part in parts]
    squares = shared((len(pieces), params.flat.size), params.flat.dtype)

    def measure(number: int) -> int:
        sizes, square, piece = list[int](), np.empty_like(params.flat), pieces[number]

        def add(grads: Array, size: int) -> None:
            squares[number] += np.multiply(grads, grads, square)
            sizes.append(size)

        _Reading(model, params, piece.ids, add).lines(*piece.examples())
        return len(sizes)

    with team.pool(len(pieces), measure) as pool:
        counts = pool.map(measure, range(len(pieces)))
    total: Array = squares[0]
    for others in squares[1:]:
        total += others
    total /= max(1, sum(counts))
    np.sqrt(total, total)
    return total


def choose(
    model: Network, params: Parameters, rms: Array, text: Text, team: Team = ALONE
) -> Constants | None:
    """Those constants of `GRID` with the lowest loss on `text`; the first of equal ones.

    For `rms` see `rms_gradients`. A combination whose loss is not finite is dropped; None if all are.
    """

    def attempt(number: int) -> float:
        return float(dynamic_losses(model, params, rms, text, GRID[number]).sum())

    with team.pool(len(GRID), attempt) as pool:
        nats = pool.map(attempt, range(len(GRID)))
    finite = [number for number, loss in enumerate(nats) if math.isfinite(loss)]
    return GRID[min(finite, key=lambda number: nats[number])] if finite else None


@np.errstate(over="ignore", invalid="ignore")  # what diverges has losses that are not finite
def dynamic_losses(
    model: Network,
    params: Parameters,
    rms: Array,
    text: Text,
    constants: Constants,
    done: Callable[[int], object] = lambda units: None,
) -> Array:
    """The loss in nats of every predicted unit `[N]`, each segment learned from after it is scored.

    The losses have the order of `score.unit_losses`. `params` are those that were trained, and only read;
    for `rms` see `rms_gradients`. `done` is called with the number of units of each segment.
    """
    learner = Learner(model, params, rms, constants, text.ids, done)
    losses: Array = learner.lines(*text.examples())[0]
    return losses


class _Reading:
    """Reads a text in segments, and learns from each once it is scored.

    It gives the rows that `score.Scorer` gives: K values of each predicted unit, the loss in nats
    and, with `ranks`, the rank. Units are named by their places in `ids`, whose contents may be
    changed between two calls.
    """

    # The state of the forward pass goes into the next segment. Computing it again with
    # the changed parameters costs another forward pass, and gains .0001 nats per character on the
    # first 20,000 characters of the validation split of data/tales.txt: 1.2205 in place of 1.2206,
    # where the static score is 1.2297.

    def __init__(
        self,
        model: Network,
        params: Parameters,
        ids: Ids,
        learn: Callable[[Array, int], object],
        ranks: bool = False,
    ) -> None:
        """`learn` is called with the gradient `[P]` of the mean loss of each segment, and its units."""
        self.model, self.params, self.ids, self.learn, self.K = model, params, ids, learn, 1 + ranks
        self._grads, self._workspace = params.zeros_like(), Workspace()
        self._rows = np.empty((SEGMENT, model.vocab), params.flat.dtype)

    def zero_state(self) -> Array:
        """The state in which a text begins."""
        return self.model.zero_state(1, self.params.flat.dtype)

    @np.errstate(over="ignore", invalid="ignore")  # what diverges has losses that are not finite
    def carried(self, start: int, targets: int, state: Array) -> tuple[Array, Array]:
        """The values `[K, targets]` of the units after place `start`, and the state after them."""
        values = np.empty((self.K, targets))
        for first in range(0, targets, SEGMENT):
            size = min(SEGMENT, targets - first)
            state = self._segment(start + first, values[:, first : first + size], state)
            self.learn(self._grads.flat, size)
        return values, state

    def lines(self, first_inputs: Ids, lengths: Ids) -> Array:
        """The values `[K, n]` of lines or other examples, one after the other, each from a zero state."""
        examples = zip(first_inputs.tolist(), lengths.tolist(), strict=True)
        values = [self.carried(start, length, self.zero_state())[0] for start, length in examples]
        return np.concatenate([np.zeros((self.K, 0)), *values], axis=1)

    def _segment(self, start: int, values: Array, state: Array) -> Array:
        """Write the values `[K, size]` of the units after place `start`; returns the state after them."""
        size = values.shape[1]
        x, y = self.ids[start : start + size, None], self.ids[start + 1 : start + size + 1]
        window = self.model.forward(self.params, x, state, self._workspace)
        logits, rows = window.output.reshape(size, self.model.vocab), self._rows[:size]
        rows[...] = logits  # both functions overwrite what they are given
        if self.K > 1:
            values[1] = ranks_of(rows, y)
        values[0] = cross_entropy(rows, y)
        _, dlogits = softmax_cross_entropy(logits, y)
        window.backward(self._grads, dlogits.reshape(window.output.shape))
        return window.state


class Learner(_Reading):
    """A copy of a model that learns from each segment; what it has learned is kept from call to call."""

    def __init__(
        self,
        model: Network,
        params: Parameters,
        rms: Array,
        constants: Constants,
        ids: Ids,
        progress: Callable[[int], object] = lambda units: None,
        ranks: bool = False,
    ) -> None:
        """`progress` is called with the number of units of each segment; for `rms` see `rms_gradients`."""
        learned, rule = params.copy(), _Rule(params.flat, rms, constants)

        def learn(grads: Array, size: int) -> None:
            rule.update(learned.flat, grads)
            progress(size)

        super().__init__(model, learned, ids, learn, ranks)

    def close(self) -> None:
        """There are no workers."""

    def move(self, ids: Ids) -> None:
        """Read from other memory from now on."""
        self.ids = ids


class _Rule:
    """`θ += -η g / (MS + ε) + min(1, λ MS / mean(MS)) (θ0 - θ)` for all weights, `[P]` each.

    θ0 are the trained parameters and θ those that go on learning; g and MS as in `rms_gradients`.
    """

    def __init__(self, trained: Array, rms: Array, constants: Constants) -> None:
        self.trained = trained
        # step = η / (MS + ε)
        self.step = constants.rate / (rms + EPSILON)
        # back = min(1, λ MS / mean(MS)); the mean is zero where nothing can be learned
        self.back = np.minimum(1.0, rms * (constants.pull_back / (float(rms.mean()) or 1.0)))
        self._scratch = np.empty(_BLOCK, trained.dtype)

    def update(self, params: Array, grads: Array) -> None:
        """Update `params` in place; `grads` are overwritten."""
        for first in range(0, params.size, _BLOCK):
            block = slice(first, first + _BLOCK)
            p, g = params[block], grads[block]
            change = self._scratch[: p.size]
            # θ += back (θ0 - θ) - step g
            np.subtract(self.trained[block], p, change)
            change *= self.back[block]
            g *= self.step[block]
            change -= g
            p += change
