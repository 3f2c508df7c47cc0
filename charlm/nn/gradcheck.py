"""Hand-written gradients against central differences, in float64.

The check knows no cell and no layer: it takes a function of parameters and of a carried state,
and compares the claimed gradients with measured ones.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array, Shape
from charlm.nn.loss import softmax_cross_entropy
from charlm.nn.model import Model
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace

TOLERANCE = 1e-6
"""Largest relative error of a gradient that counts as right."""

STEP = 1e-3
"""Distance of the outer two of the four points at which a difference is taken; the inner two
are half as far. In float64, rounding of the loss then gives the slope an error of about
1e-16 / STEP = 1e-13, and the formula one of about STEP⁴ = 1e-12."""

FLOOR = 3e-6
"""Smaller gradients are compared absolutely, to TOLERANCE · FLOOR: about the rounding error of a
measured slope."""


@dataclass(frozen=True)
class Check:
    """How far one array's gradient is from the measured one."""

    name: str
    worst: float
    """Largest relative error, over entries and over random directions through all of them."""
    checked: int
    """Entries measured one by one."""
    size: int
    """Entries of the array."""

    @property
    def right(self) -> bool:
        """Whether the error is within TOLERANCE."""
        return self.worst <= TOLERANCE


def slope(loss: Callable[[], float], array: Array, direction: Array) -> float:
    """The derivative of `loss()` along `direction` at `array`, which is moved and put back.

    Two central differences, combined so that their errors of order STEP² cancel (Richardson):
    `(8 (f(h/2) - f(-h/2)) - (f(h) - f(-h))) / 6h`.
    """
    before = array.copy()

    def at(distance: float) -> float:
        np.add(before, distance * direction, array)
        return loss()

    h = STEP
    inner, outer = at(h / 2) - at(-h / 2), at(h) - at(-h)
    array[...] = before
    return (8 * inner - outer) / (6 * h)


def relative_error(claimed: float, measured: float) -> float:
    """`|claimed - measured|` over the larger of the two (and of `FLOOR`)."""
    return abs(claimed - measured) / max(abs(claimed), abs(measured), FLOOR)


def check(
    loss: Callable[[], float],
    arrays: Mapping[str, Array],
    gradients: Mapping[str, Array],
    rng: np.random.Generator,
    entries: int,
    progress: Callable[[str, int], object] = lambda what, count: None,
) -> list[Check]:
    """Compare `gradients` with measured slopes of `loss()` at `arrays`, which are put back.

    Up to `entries` entries of each array are measured one by one. If it has more, so are two random
    directions through all of its entries: an error anywhere shows there, and where it is in the entries.

    `progress` is called with "total" and the number of slopes, then with every slope that is measured.
    """
    progress("total", sum(min(array.size, entries) + 2 * (array.size > entries) for array in arrays.values()))
    checks = []
    for name, array in arrays.items():
        errors = [0.0]
        for direction in _directions(array.shape, entries, rng):
            claimed = float(np.vdot(gradients[name], direction))
            errors.append(relative_error(claimed, slope(loss, array, direction)))
            progress("checking gradients", 1)
        # a gradient that is not a number is not right: `np.max` gives NaN for it
        checks.append(Check(name, float(np.max(errors)), min(array.size, entries), array.size))
    return checks


def _directions(shape: Shape, entries: int, rng: np.random.Generator) -> Iterator[Array]:
    """Up to `entries` directions along one entry each; then two random ones, if entries are left out."""
    size = math.prod(shape)
    for place in rng.permutation(size)[:entries]:
        direction = np.zeros(shape)
        direction.flat[place] = 1.0
        yield direction
    for _ in range(2 * (size > entries)):
        direction = rng.standard_normal(shape)
        yield direction / np.linalg.norm(direction)


def check_model(
    model: Model,
    init: str,
    seed: int,
    entries: int,
    steps: int = 5,
    batch: int = 3,
    shards: Sequence[slice] = (slice(None),),
    seconds: float = math.inf,
    progress: Callable[[str, int], object] = lambda what, count: None,
) -> list[Check]:
    """Check every gradient of a model on one made-up window `[steps, batch]`.

    The loss is the mean cross-entropy of a window that begins from a carried state other than zero,
    plus a random linear form of the state after the window: both ends of the window are checked too.
    Gradients with respect to the carried state are called `state.LAYER.NAME`. The masks are drawn once.

    `shards` divide the batch as training does. Each shard runs forward and backward separately, so
    the products, tiles and blocks are the same as in training. At most `entries` entries of
    each array are measured; fewer, but two at least, where all of them would take more than about
    `seconds`. For `progress` see `check`.
    """
    rng = np.random.default_rng(seed)
    params = model.initialise(rng, init, np.float64)
    # zero biases and a loss that is flat at the start would hide errors: move everything a little
    params.flat += 0.1 * rng.standard_normal(params.flat.size)
    # some ids often, some rarely or never, as in a text (Zipf's law)
    frequencies = 1.0 / np.arange(1, model.vocab + 1)
    x, y = rng.choice(model.vocab, (2, steps, batch), p=frequencies / frequencies.sum())
    state, pull = 0.5 * rng.standard_normal((2, *model.zero_state(batch).shape))
    workspace = Workspace()
    noise = model.noise(steps, batch)
    masks = {name: one.draw(rng, np.empty(one.shape)) for name, one in noise.items()}

    def forward(shard: slice) -> tuple[float, Array, Pass]:
        own = {name: one.cut(masks[name], shard) for name, one in noise.items()}
        window = model.forward(params, x[:, shard], state[:, :, shard], workspace, own)
        targets = y[:, shard].reshape(-1)
        loss, dlogits = softmax_cross_entropy(window.output.reshape(-1, model.vocab), targets, y.size)
        loss += float((window.state * pull[:, :, shard]).sum())
        return loss, dlogits.reshape(window.output.shape), window

    grads, dstate = params.zeros_like(), np.empty_like(state)
    for shard in shards:
        _, dlogits, window = forward(shard)
        own = params.zeros_like()
        _, dstate[:, :, shard] = window.backward(own, dlogits, pull[:, :, shard])
        grads.flat += own.flat
    arrays = {**params, **model.named(state, "state.")}
    if math.isfinite(seconds):
        started = time.perf_counter()
        sum(forward(shard)[0] for shard in shards)
        # a slope takes the loss at four points; two of the slopes are along directions
        affordable = seconds / (4 * (time.perf_counter() - started) * len(arrays)) - 2
        entries = min(entries, max(2, int(affordable)))
    gradients = {**grads, **model.named(dstate, "state.")}
    return check(
        lambda: sum(forward(shard)[0] for shard in shards), arrays, gradients, rng, entries, progress
    )
