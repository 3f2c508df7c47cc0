"""Hand-written gradients against central differences, in float64.

The check knows no cell and no layer: it takes a function of parameters and of a carried state,
and compares the claimed gradients with measured ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array
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


_CHECKING = "checking gradients"


@dataclass(frozen=True)
class Check:
    """How far one array's gradient is from the measured one."""

    name: str
    worst: float
    """Worst relative error, over entries and over random directions through all of them."""
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
    directions: int = 2,
    progress: Callable[[str, int], object] = lambda what, count: None,
) -> list[Check]:
    """Compare `gradients` with measured slopes of `loss()` at `arrays`, which are put back.

    Of each array, up to `entries` entries are measured one by one (all of them if it has no
    more), and `directions` random directions through every entry at once: an error anywhere
    shows in the second, and where it is in the first.

    `progress` is called with "total" and the number of slopes, then with every slope that is measured.
    """
    checks = []
    numbers = [min(array.size, entries) + directions * (array.size > entries) for array in arrays.values()]
    progress("total", sum(numbers))
    for name, array in arrays.items():
        claimed = gradients[name]
        places = rng.permutation(array.size)[:entries]
        worst = 0.0
        for place in places:
            direction = np.zeros(array.size)
            direction[place] = 1.0
            measured = slope(loss, array, direction.reshape(array.shape))
            progress(_CHECKING, 1)
            worst = max(worst, relative_error(float(claimed.flat[place]), measured))
        if len(places) < array.size:
            for _ in range(directions):
                direction = rng.standard_normal(array.shape)
                direction /= np.linalg.norm(direction)
                measured = slope(loss, array, direction)
                progress(_CHECKING, 1)
                worst = max(worst, relative_error(float((claimed * direction).sum()), measured))
        checks.append(Check(name, worst, len(places), array.size))
    return checks


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

    The function checked is the mean cross-entropy of a window that begins from a carried state
    that is not zero, plus a random linear form of the state after the window, so that what comes
    back through both ends of the window is checked too. Gradients with respect to the carried
    state are called `state.LAYER.NAME`. The masks are drawn once.

    `shards` divide the batch as training does. Each shard runs forward and backward separately, so
    the products, tiles and blocks are the same as in training. At most `entries` entries of
    each array are measured; fewer, but two at least, where all of them would take more than about
    `seconds`. `progress` is that of `check`.
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
    arrays = {**params, **_named(model, state)}
    if math.isfinite(seconds):
        started = time.perf_counter()
        sum(forward(shard)[0] for shard in shards)
        # a slope takes the loss at four points; two of the slopes are along directions
        affordable = seconds / (4 * (time.perf_counter() - started) * len(arrays)) - 2
        entries = min(entries, max(2, int(affordable)))
    return check(
        lambda: sum(forward(shard)[0] for shard in shards),
        arrays,
        {**grads, **_named(model, dstate)},
        rng,
        entries,
        progress=progress,
    )


def _named(model: Model, state: Array) -> dict[str, Array]:
    """The states of every layer `[B, H]`, as `state.LAYER.NAME`."""
    return {
        f"state.{layer}.{name}": state[layer, number]
        for layer in range(model.layers)
        for number, name in enumerate(model.cell.states)
    }
