from __future__ import annotations

import math
from typing import Any

import pytest

from charlm.config.keys import TrainConfig
from charlm.optim.schedules import Plateau, Schedule

KINDS = ("constant", "linear", "cosine", "exponential", "step", "plateau")

STEPS = 100


def make(schedule: str, epochs: float = 10.0, **settings: Any) -> Schedule:
    """A schedule with ten updates per epoch."""
    return Schedule(TrainConfig(schedule=schedule, epochs=epochs, **settings), steps_per_epoch=10)


def after(schedule: Schedule, losses: list[float]) -> list[float]:
    """Return the plateau's share after each of these validations."""
    plateau = Plateau()
    shares = []
    for loss in losses:
        plateau = schedule.after_validation(loss, plateau)
        shares.append(schedule.factor(0, plateau))
    return shares


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        (make("constant"), {0: 1.0, 50: 1.0, 99: 1.0, 1000: 1.0}),
        (make("linear"), {0: 1.0, 1: 0.99, 25: 0.75, 50: 0.5, 99: 0.01, 100: 0.0, 150: 0.0}),
        (make("linear", lr_final=0.2), {0: 1.0, 25: 0.8, 50: 0.6, 75: 0.4, 100: 0.2, 150: 0.2}),
        (make("linear", lr_final=1.0), {0: 1.0, 50: 1.0, 100: 1.0}),
        (
            make("cosine"),
            {0: 1.0, 25: (2 + math.sqrt(2)) / 4, 50: 0.5, 75: (2 - math.sqrt(2)) / 4, 100: 0.0, 150: 0.0},
        ),
        # a third of the way cos is 1/2, so that 3/4 of the fall is still to come
        (make("cosine", epochs=3.0, lr_final=0.2), {0: 1.0, 10: 0.8, 15: 0.6, 20: 0.4, 30: 0.2, 45: 0.2}),
        (
            make("exponential", lr_decay=0.5, lr_decay_after=2),
            {0: 1.0, 19: 1.0, 20: 0.5, 29: 0.5, 30: 0.25, 39: 0.25, 99: 0.5**8},
        ),
        (make("exponential", lr_decay=0.5, lr_decay_after=0), {0: 0.5, 9: 0.5, 10: 0.25}),
        (make("exponential", lr_decay=0.5, lr_decay_after=10), {0: 1.0, 99: 1.0, 100: 0.5}),
        (
            make("step", lr_decay=0.1, lr_decay_every=3),
            {0: 1.0, 29: 1.0, 30: 0.1, 59: 0.1, 60: 0.01, 89: 0.01, 90: 0.001},
        ),
        (make("step", lr_decay=0.5, lr_decay_every=1), {9: 1.0, 10: 0.5, 19: 0.5, 20: 0.25}),
        (make("plateau"), {0: 1.0, 50: 1.0, 99: 1.0}),
    ],
    ids=lambda value: value.settings.schedule if isinstance(value, Schedule) else "",
)
def test_shares_are_as_computed_by_hand(schedule: Schedule, shares: dict[int, float]) -> None:
    """At the start, in the middle, at every edge and past the end the share is the formula's."""
    assert {step: schedule.factor(step, Plateau()) for step in shares} == pytest.approx(shares, abs=1e-12)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("warmup", [0, 20, 99])
def test_linear_and_cosine_end_at_their_final_share(kind: str, final: float, warmup: int) -> None:
    """The end of the run is at `final`, and after it nothing changes, with a warm-up or without."""
    schedule = make(kind, lr_final=final, warmup=warmup)
    assert [schedule.factor(step, Plateau()) for step in (STEPS, STEPS + 7)] == pytest.approx([final] * 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_up_rises_in_equal_parts(kind: str) -> None:
    """Over the first updates, whatever the kind, the rate rises from its first part to the whole."""
    schedule = make(kind, warmup=4)
    shares = [schedule.factor(step, Plateau()) for step in range(5)]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        # the way from the end of the warm-up to the end of the run: 80 updates
        (make("linear", warmup=20), {9: 0.5, 19: 1.0, 20: 1.0, 60: 0.5, 80: 0.25}),
        (make("cosine", warmup=20), {9: 0.5, 20: 1.0, 60: 0.5, 40: (2 + math.sqrt(2)) / 4}),
        # reductions go by epochs, and meet what is left of the warm-up
        (
            make("exponential", warmup=20, lr_decay=0.5, lr_decay_after=1),
            {9: 0.5, 10: 0.275, 19: 0.5, 20: 0.25},
        ),
        (make("step", warmup=20, lr_decay=0.5, lr_decay_every=1), {9: 0.5, 10: 0.275, 19: 0.5, 20: 0.25}),
        (make("constant", warmup=200), {0: 0.005, 99: 0.5}),
        (make("linear", warmup=200), {0: 0.005, 99: 0.5}),
        (make("cosine", warmup=100), {0: 0.01, 49: 0.5, 99: 1.0}),
    ],
    ids=lambda value: value.settings.schedule if isinstance(value, Schedule) else "",
)
def test_schedules_go_on_from_the_warm_up(schedule: Schedule, shares: dict[int, float]) -> None:
    """Linear and cosine begin where the warm-up ends, if it does; the others keep their epochs."""
    assert {step: schedule.factor(step, Plateau()) for step in shares} == pytest.approx(shares)


@pytest.mark.parametrize(
    ("patience", "losses", "shares"),
    [
        (2, [3.0, 3.1, 3.2, 3.3], [1.0, 1.0, 1.0, 0.5]),
        (2, [3.0, 3.1, 3.1, 2.9, 3.0, 3.0, 3.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]),
        (2, [3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0], [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]),
        (1, [3.0, 4.0, 3.9, 3.8, 3.7], [1.0, 1.0, 0.5, 0.5, 0.25]),
        (0, [3.0, 3.0, 2.0, 2.5, 2.5], [1.0, 0.5, 0.5, 0.25, 0.125]),
        (0, [math.nan, 3.0, math.inf], [0.5, 0.5, 0.25]),
    ],
    ids=["worse", "better again", "equal", "against the best", "impatient", "not a number"],
)
def test_plateau_reduces_exactly_after_its_patience(
    patience: int, losses: list[float], shares: list[float]
) -> None:
    """After `patience` validations without improvement the next one reduces, and counting starts again."""
    assert after(make("plateau", lr_patience=patience, lr_decay=0.5), losses) == shares


def test_plateau_remembers_the_best_loss() -> None:
    """A better loss becomes the one to beat; neither a worse one nor a reduction changes it."""
    schedule = make("plateau", lr_patience=0, lr_decay=0.5)
    plateau = Plateau()
    best = []
    for loss in (3.0, 2.0, 2.5, 1.0):
        plateau = schedule.after_validation(loss, plateau)
        best.append(plateau.best)
    assert best == [3.0, 2.0, 2.0, 1.0]


def test_a_warm_up_and_a_plateau_multiply() -> None:
    """A reduction during the warm-up is kept, and the rise goes on."""
    schedule = make("plateau", warmup=4)
    reduced = Plateau(factor=0.5)
    assert [schedule.factor(step, reduced) for step in (0, 3, 50)] == [0.125, 0.5, 0.5]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "plateau"])
def test_only_plateau_listens_to_losses(kind: str) -> None:
    """Any other schedule is a function of the update alone."""
    schedule = make(kind, warmup=4)
    shares = [
        [schedule.factor(step, plateau) for step in range(STEPS)]
        for plateau in (Plateau(), Plateau(factor=0.1))
    ]
    assert shares[0] == shares[1]
