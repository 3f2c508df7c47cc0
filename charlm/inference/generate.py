"""Generating text one unit at a time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from charlm.arrays import Array, Ids
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.system.errors import ConfigError

_PRIME_STEPS = 100
"""Steps of one forward pass over a prime."""

_COLDEST = 1e-260
"""Temperature below which only the likeliest is left, and a difference of float32 logits would overflow."""


@dataclass(frozen=True)
class Sampling:
    """How the next unit is chosen from the logits."""

    temperature: float = 1.0
    """Logits are divided by it: below 1 is safer, above 1 wilder."""
    top_k: int = 0
    """Only the k likeliest units are drawn; 0 keeps all."""
    top_p: float = 1.0
    """Only the fewest units whose probabilities sum to p are drawn, after `temperature` and `top_k`;
    1 keeps all (Holtzman et al. 2020)."""
    greedy: bool = False
    """The likeliest unit every time; the others do not matter then."""

    def __post_init__(self) -> None:
        """Raise `ConfigError` for a number that is out of its range."""
        if not 0 < self.temperature < math.inf:
            instead = "" if self.temperature else ": `greedy=True` takes the likeliest every time"
            raise ConfigError(f"temperature: {self.temperature} is not a finite number above 0{instead}")
        if self.top_k < 0:
            raise ConfigError(f"top_k: {self.top_k} is below 0")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p: {self.top_p} is not above 0 and at most 1")

    def weights(self, logits: Array) -> Array:
        """What `logits [V]` are drawn in proportion to, in float64; the likeliest has 1."""
        p = logits.astype(np.float64)
        np.subtract(p, p.max(), p)
        np.divide(p, max(self.temperature, _COLDEST), p)
        np.exp(p, p)
        if 0 < self.top_k < p.size or self.top_p < 1:
            order = np.argsort(-p, kind="stable")  # likeliest first, ties by id
            kept = self.top_k or p.size
            if self.top_p < 1:
                reached = np.cumsum(p[order[:kept]])
                # the first place at which the sum is reached is the last one kept
                kept = int(np.searchsorted(reached, self.top_p * reached[-1])) + 1
            p[order[kept:]] = 0.0
        return p

    def draw(self, logits: Array, rng: np.random.Generator) -> int:
        """The next unit's id, from `logits [V]`."""
        if self.greedy:
            return int(logits.argmax())
        p = self.weights(logits)
        cumulative = p.cumsum()
        place = int(cumulative.searchsorted(rng.random() * cumulative[-1], side="right"))
        # a product that rounds up to the whole sum is beyond the last unit that can be drawn
        return place if place < p.size else int(np.flatnonzero(p)[-1])


def generate(
    model: Model,
    parameters: Parameters,
    prime: Ids,
    choice: Sampling,
    rng: np.random.Generator,
    unknown: int | None = None,
    not_first: int | None = None,
) -> Iterator[int]:
    """Yield ids without end, each drawn from what the model expects after `prime` and all before it.

    `prime [N]` is not yielded; if it is empty, all units are as likely: the first id is drawn evenly
    from the vocabulary, and a greedy choice takes the first of equals, 0.
    `unknown` is the id of `<unk>`, the last of the vocabulary, which is never drawn, and
    `not_first` one that is not drawn first.
    """
    state = model.zero_state(1, parameters.flat.dtype)
    if not len(prime):
        first = rng.integers(model.vocab if unknown is None else unknown)
        prime = np.array([0 if choice.greedy else first])
        yield int(prime[0])
    before, drawn, workspace = prime[:-1, None], int(prime[-1]), Workspace()
    for start in range(0, len(before), _PRIME_STEPS):
        state = model.forward(parameters, before[start : start + _PRIME_STEPS], state, workspace).state
    step = model.decoder(parameters, state)
    never = [] if unknown is None else [unknown]
    barred = never if not_first is None else [*never, not_first]
    while True:
        logits = step(drawn)
        logits[barred] = -np.inf
        barred = never
        drawn = choice.draw(logits, rng)
        yield drawn


def generate_until(
    ids: Iterator[int],
    length: int,
    stop: Sequence[int] | Ids = (),
    lines: int = 0,
    line_break: int | None = None,
) -> Iterator[int]:
    """The first `length` of `ids`, ending sooner once they end in `stop`, or hold `lines` line breaks.

    If `stop` is empty, or `lines` 0, it ends nothing.
    """
    recent: deque[int] = deque(maxlen=len(stop))
    wanted = deque(int(drawn) for drawn in stop)
    for drawn in islice(ids, length):
        yield drawn
        recent.append(drawn)
        lines -= drawn == line_break
        if (wanted and recent == wanted) or (lines == 0 and drawn == line_break):
            return
