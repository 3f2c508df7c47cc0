"""Hand-written gradients against central differences, in float64.

The check knows no cell and no layer: it takes a function of parameters and of a carried state,
and compares the gradients that the function claims with those it measures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array
from charlm.nn.model import Model, States, Tape
from charlm.nn.ops import softmax_cross_entropy
from charlm.nn.workspace import Workspace

TOLERANCE = 1e-6
"""Largest relative error of a gradient that counts as right."""

STEP = 1e-3
"""Distance of the outer two of the four points at which a difference is taken; the inner two
are half as far. In float64 the loss then carries a rounding error of some 1e-16 / STEP = 1e-13
into the slope, and the formula one of some STEP⁴ = 1e-12."""

FLOOR = 3e-6
"""Gradients smaller than this are compared absolutely, with an error of TOLERANCE · FLOOR
allowed: about what rounding leaves of a measured slope."""


@dataclass(frozen=True)
class Check:
    """How far one array's gradient is from the measured one."""

    name: str
    worst: float
    """Worst relative error, over entries and over random directions through all of them."""
    checked: int
    """Entries measured one by one."""
    size: int
    """Entries there are."""

    @property
    def right(self) -> bool:
        """Whether the gradient is as right as float64 can tell."""
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
) -> list[Check]:
    """Compare `gradients` with measured slopes of `loss()` at `arrays`, which are put back.

    Of each array, up to `entries` entries are measured one by one (all of them if it has no
    more), and `directions` random directions through every entry at once: an error anywhere
    shows in the second, and where it is in the first.
    """
    checks = []
    for name, array in arrays.items():
        claimed = gradients[name]
        places = rng.permutation(array.size)[:entries]
        worst = 0.0
        for place in places:
            direction = np.zeros(array.size)
            direction[place] = 1.0
            measured = slope(loss, array, direction.reshape(array.shape))
            worst = max(worst, relative_error(float(claimed.flat[place]), measured))
        if len(places) < array.size:
            for _ in range(directions):
                direction = rng.standard_normal(array.shape)
                direction /= np.linalg.norm(direction)
                measured = slope(loss, array, direction)
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
    parts: Sequence[slice] = (slice(None),),
    seconds: float = math.inf,
) -> list[Check]:
    """Check every gradient of a model on one made-up window `[steps, batch]`.

    The function checked is the mean cross-entropy of a window that begins from a carried state
    that is not zero, plus a random linear form of the state after the window, so that what comes
    back through both ends of the window is checked too. Gradients with respect to the carried
    state are called `state.LAYER.NAME`. Dropout keeps one set of masks.

    `parts` are the streams that training runs side by side, each with a forward and a backward
    pass of its own, so that the products, tiles and blocks are those of training. At most
    `entries` entries of each array are measured; fewer, but two at least, where all of them would
    take more than about `seconds`.
    """
    rng = np.random.default_rng(seed)
    parameters = model.initialise(rng, init, np.float64)
    # zero biases and a loss that is flat at the start would hide errors: move everything a little
    parameters.flat += 0.1 * rng.standard_normal(parameters.flat.size)
    x, y = rng.integers(0, model.vocab, (2, steps, batch))
    state = _random_state(model, batch, rng)
    pull = _random_state(model, batch, rng)
    workspace = Workspace()
    masks = model.draw_masks(rng, [np.empty(shape) for shape in model.mask_shapes(steps, batch)])

    def forward(part: slice) -> tuple[float, Array, Tape]:
        logits, after, tape = model.forward(
            parameters, x[:, part], _cut(state, part), workspace, tuple(mask[:, part] for mask in masks)
        )
        targets = y[:, part].reshape(-1)
        loss, dlogits = softmax_cross_entropy(logits.reshape(-1, model.vocab), targets, y.size)
        loss += sum(
            float((a * w).sum())
            for s, p in zip(after, _cut(pull, part), strict=True)
            for a, w in zip(s, p, strict=True)
        )
        return loss, dlogits.reshape(logits.shape), tape

    gradients, dstate = parameters.zeros_like(), model.zero_state(batch, np.float64)
    for part in parts:
        _, dlogits, tape = forward(part)
        own = parameters.zeros_like()
        before = model.backward(parameters, own, tape, dlogits, workspace, _cut(pull, part))
        gradients.flat += own.flat
        for layer, layer_before in zip(dstate, before, strict=True):
            for array, array_before in zip(layer, layer_before, strict=True):
                array[part] = array_before
    arrays = {**parameters, **_named(model, state)}
    if math.isfinite(seconds):
        started = time.perf_counter()
        sum(forward(part)[0] for part in parts)
        # a slope takes the loss at four points, of which directions have two
        affordable = seconds / (4 * (time.perf_counter() - started) * len(arrays)) - 2
        entries = min(entries, max(2, int(affordable)))
    return check(
        lambda: sum(forward(part)[0] for part in parts),
        arrays,
        {**gradients, **_named(model, dstate)},
        rng,
        entries,
    )


def _cut(state: States, part: slice) -> States:
    """The state of some of the streams."""
    return tuple(tuple(array[part] for array in layer) for layer in state)


def _random_state(model: Model, batch: int, rng: np.random.Generator) -> States:
    return tuple(
        tuple(0.5 * rng.standard_normal(array.shape) for array in layer)
        for layer in model.zero_state(batch, np.float64)
    )


def _named(model: Model, state: States) -> dict[str, Array]:
    return {
        f"state.{number}.{name}": array
        for number, layer in enumerate(state)
        for name, array in zip(model.cell.states, layer, strict=True)
    }
