"""The networks of a run as one, at its end."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from charlm.config.build import build_model
from charlm.nn.joined import joined
from charlm.nn.parameters import Parameters
from charlm.runs.checkpoint import Checkpoint
from charlm.training.trainer import Trainer

_STEP = 0.1
"""Distance of the factors of the logits that are tried first."""

_FARTHEST = 4.0
"""Largest distance of the last factor from 1, in such steps."""


class Join(NamedTuple):
    """The networks of a run as one."""

    loss: float
    """Its validation loss in nats per character."""
    factor: float
    """The factor of the mean of the logits."""
    best: Checkpoint | None
    """The network, if it is better than every one that was validated."""


def join(trainer: Trainer, should_stop: Callable[[], bool] = lambda: False) -> Join | None:
    """Join the networks of a run (see `nn.joined`), with a factor that suits the validation text.

    The loss is convex in the factor: the vertex of a parabola through three losses is near the lowest. It
    is sought from 0.6 to 1.4. `should_stop` is asked before each scoring; None if it says so.
    """
    networks, tally = [*trainer.earlier, trainer.mean], trainer.tally
    config = trainer.config.replace({"model.hidden": len(networks) * trainer.config.model.hidden})
    model = build_model(config.model, trainer.model.vocab, config.run.kernel)
    losses: dict[float, float] = {}

    def params(factor: float) -> Parameters:
        return joined(networks, model.shapes(), factor / len(networks))

    def factors() -> Iterator[float]:
        yield from (1 - _STEP, 1.0, 1 + _STEP)
        less, middle, more = losses.values()
        slope, curvature = (more - less) / 2, more - 2 * middle + less
        steps = -slope / curvature if curvature > 0 else 0.0
        yield round(1 + _STEP * min(_FARTHEST, max(-_FARTHEST, steps)), 2)

    for factor in factors():
        if trainer.team.agree(should_stop()):
            return None
        losses[factor] = trainer.score(model, params(factor), trainer.validation).nats_per_char
    factor = min(losses, key=lambda one: (losses[one], abs(one - 1)))
    best, lowest = None, losses[factor]
    tally.joined = tally.step
    if tally.best is None or lowest < tally.best:
        tally.best, tally.best_step = lowest, tally.step
        whole = trainer.snapshot()
        made = {"validation": lowest, "networks": len(networks), "factor": factor}
        progress = whole.progress | made
        best = replace(whole, config=config, parameters=params(factor), progress=progress, training={})
    return Join(lowest, factor, best)
