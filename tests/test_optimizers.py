from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charlm.config.keys import KEYS, TrainConfig
from charlm.optim.optimizers import _BLOCK, OPTIMIZERS, Optimizer

Vector = npt.NDArray[np.floating]
Rule = Callable[..., Any]

# all different, and none so near 0 or 1 that a rule could read another one's and not be noticed;
# ε so large that it shows where it is added
H = TrainConfig(momentum=0.7, beta1=0.8, beta2=0.6, rms_decay=0.85, epsilon=0.05, weight_decay=0.3)
LR = 0.1

# The twins: a parameter after all the gradients it was given, from the formulas as they are
# published. They only add, multiply, divide and take roots, so that `p` and the entries of `gs` may
# be numbers, or arrays of numbers that know nothing of one another.


def sgd(p: Any, gs: Sequence[Any], lr: float, h: TrainConfig = H) -> Any:
    """Go down the gradient."""
    for g in gs:
        p = p - lr * g
    return p


def momentum(p: Any, gs: Sequence[Any], lr: float, h: TrainConfig = H) -> Any:
    """Go down the sum of all gradients, each counted less and less."""
    for t in range(len(gs)):
        p = p - lr * sum(h.momentum ** (t - k) * gs[k] for k in range(t + 1))
    return p


def adagrad(p: Any, gs: Sequence[Any], lr: float, h: TrainConfig = H) -> Any:
    """Go down the gradient divided by the root of the sum of squares."""
    for t, g in enumerate(gs):
        p = p - lr * g / (sum(past**2 for past in gs[: t + 1]) ** 0.5 + h.epsilon)
    return p


def rmsprop(p: Any, gs: Sequence[Any], lr: float, h: TrainConfig = H) -> Any:
    """Go down the gradient divided by the root of the decaying mean of squares."""
    s = 0.0
    for g in gs:
        s = h.rms_decay * s + (1 - h.rms_decay) * g**2
        p = p - lr * g / (s**0.5 + h.epsilon)
    return p


def adam(p: Any, gs: Sequence[Any], lr: float, h: TrainConfig = H, weight_decay: float = 0.0) -> Any:
    """Kingma & Ba's Algorithm 1, line by line; and the decay of Loshchilov & Hutter before it."""
    m = v = 0.0
    for t, g in enumerate(gs, start=1):
        p = p - lr * weight_decay * p
        m = h.beta1 * m + (1 - h.beta1) * g
        v = h.beta2 * v + (1 - h.beta2) * g**2
        m_hat = m / (1 - h.beta1**t)
        v_hat = v / (1 - h.beta2**t)
        p = p - lr * m_hat / (v_hat**0.5 + h.epsilon)
    return p


def adamw(p: Any, gs: Sequence[Any], lr: float, h: TrainConfig = H) -> Any:
    """Adam with decay that does not go through the means."""
    return adam(p, gs, lr, h, h.weight_decay)


TWINS: dict[str, Rule] = {
    "sgd": sgd,
    "momentum": momentum,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}

every_optimizer = pytest.mark.parametrize("name", list(TWINS))


def make(name: str, size: int, kind: npt.DTypeLike = np.float64) -> Optimizer:
    """Return a fresh optimiser with this file's settings."""
    return OPTIMIZERS[name](size, kind, H)


def drawn(size: int, updates: int, kind: npt.DTypeLike = np.float64) -> tuple[Vector, list[Vector]]:
    """Return parameters, and gradients for so many updates, some of them zero."""
    rng = np.random.default_rng(size)
    p = rng.standard_normal(size).astype(kind)
    gs = rng.standard_normal((updates, size)) * 10.0 ** rng.integers(-3, 2, size)
    gs[0, 0] = 0.0  # a parameter that nothing has moved yet
    gs[-1, -1] = 0.0
    return p, [g.astype(kind) for g in gs]


def run(optimizer: Optimizer, p: Vector, gs: Sequence[Vector], first: int = 1) -> Vector:
    """The parameters after these updates, numbered from `first`; neither `p` nor `gs` is changed."""
    p = p.copy()
    for t, g in enumerate(gs, first):
        optimizer.update(p, g.copy(), LR, t)
    return p


def test_every_optimizer_of_the_configuration_has_a_twin() -> None:
    """The names in the configuration, the rules, and the twins of this file are the same."""
    assert set(KEYS["train.optimizer"].choices) == set(OPTIMIZERS) == set(TWINS)


@every_optimizer
@pytest.mark.parametrize(
    ("size", "updates"),
    [(9, 1), (9, 2), (9, 7), (1, 3), (_BLOCK - 1, 3), (_BLOCK, 3), (_BLOCK + 1, 3), (3 * _BLOCK + 7, 3)],
)
def test_updates_agree_with_the_formula(name: str, size: int, updates: int) -> None:
    """After any number of updates, and across blocks, every parameter is what the formula gives for it."""
    p, gs = drawn(size, updates)
    np.testing.assert_allclose(run(make(name, size), p, gs), TWINS[name](p, gs, LR), rtol=1e-12)


@every_optimizer
def test_spans_of_an_update_are_an_update(name: str) -> None:
    """However an update is cut, it is the same to the last bit, and nothing outside a span changes."""
    p, gs = drawn(2 * _BLOCK + 99, 3)
    expected = run(make(name, p.size), p, gs)
    optimizer, whole = make(name, p.size), p.copy()
    for t, g in enumerate(gs, 1):
        for span in (slice(_BLOCK + 7_000, None), slice(0, 7), slice(7, _BLOCK + 7_000)):
            before = whole.copy()
            optimizer.update(whole, g.copy(), LR, t, span)
            before[span] = whole[span]
            np.testing.assert_array_equal(whole, before)
    np.testing.assert_array_equal(whole, expected)


@every_optimizer
def test_the_learning_rate_is_that_of_the_update(name: str) -> None:
    """Each update uses the learning rate it is given: with 0 nothing moves, and the state does."""
    p, gs = drawn(9, 2)
    optimizer, twin = make(name, 9), make(name, 9)
    resting = p.copy()
    optimizer.update(resting, gs[0].copy(), 0.0, 1)
    np.testing.assert_array_equal(resting, p)
    twin.update(p.copy(), gs[0].copy(), LR, 1)
    for slot in twin.slot_names:
        np.testing.assert_array_equal(optimizer.slots[slot], twin.slots[slot])
    optimizer.update(resting, gs[1].copy(), LR, 2)
    assert (resting != p).any()


@every_optimizer
def test_float32_stays_float32(name: str) -> None:
    """In float32, parameters and slots keep their type and agree with the formula as far as that goes."""
    p, gs = drawn(_BLOCK + 9, 5, np.float32)
    optimizer = make(name, p.size, np.float32)
    updated = run(optimizer, p, gs)
    assert {array.dtype for array in (updated, *optimizer.slots.values())} == {np.dtype(np.float32)}
    exact = TWINS[name](p.astype(np.float64), [g.astype(np.float64) for g in gs], LR)
    np.testing.assert_allclose(updated, exact, rtol=1e-5, atol=1e-6)


@every_optimizer
@pytest.mark.parametrize("before", [0, 1, 4])
def test_slots_are_all_the_state(name: str, before: int) -> None:
    """Moved to a fresh optimiser, they make it go on exactly as if there had been only one."""
    p, gs = drawn(_BLOCK + 9, 7)
    whole = make(name, p.size)
    at_once = run(whole, p, gs)

    first, second = make(name, p.size), make(name, p.size)
    halfway = run(first, p, gs[:before])
    for slot, values in first.slots.items():
        second.slots[slot][...] = values
    np.testing.assert_array_equal(run(second, halfway, gs[before:], before + 1), at_once)
    for slot in whole.slot_names:
        np.testing.assert_array_equal(second.slots[slot], whole.slots[slot])


@every_optimizer
def test_slots_are_as_long_as_the_parameters_and_start_at_zero(name: str) -> None:
    """A fresh optimiser keeps a zero for every parameter in every slot."""
    optimizer = make(name, 5)
    assert tuple(optimizer.slots) == optimizer.slot_names
    for values in optimizer.slots.values():
        np.testing.assert_array_equal(values, np.zeros(5), strict=True)
