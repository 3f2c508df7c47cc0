"""Learning-rate schedules: the factor of `train.lr` for each update.

All schedules except `plateau` depend only on the position in the run. `plateau` also depends on
validation losses; its state is an argument and a result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.config.keys import TrainConfig


@dataclass(frozen=True)
class Schedule:
    """A schedule with its settings, and with the updates in an epoch."""

    settings: TrainConfig
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Updates in the whole run; a fraction of an epoch counts as that fraction of its updates."""
        return max(1, math.ceil(round(self.settings.epochs * self.steps_per_epoch, 6)))

    def factor(self, step: int, plateau: Plateau) -> float:
        """The factor of `lr` for update number `step`, counted from 0."""
        warmup = self.settings.warmup
        warming = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return warming * self._after_warmup(step, plateau)

    def _after_warmup(self, step: int, plateau: Plateau) -> float:
        s = self.settings
        epoch = step // self.steps_per_epoch
        # position between the end of the warm-up and the end of the run, 0 to 1
        position = min(1.0, max(0.0, (step - s.warmup) / max(1, self.steps - s.warmup)))
        match s.schedule:
            case "linear":
                return 1.0 - (1.0 - s.lr_final) * position
            case "cosine":  # Loshchilov & Hutter 2017, without restarts
                return s.lr_final + (1.0 - s.lr_final) * 0.5 * (1.0 + math.cos(math.pi * position))
            case "exponential":
                return float(s.lr_decay ** max(0, epoch - s.lr_decay_after + 1))
            case "step":
                return float(s.lr_decay ** (epoch // s.lr_decay_every))
            case "plateau":
                return plateau.factor
            case _:
                return 1.0

    def after_validation(self, loss: float, plateau: Plateau) -> Plateau:
        """The state of the plateau schedule after a validation with this loss."""
        if loss < plateau.best:
            return replace(plateau, best=loss, waited=0)
        if plateau.waited + 1 > self.settings.lr_patience:
            return replace(plateau, waited=0, factor=plateau.factor * self.settings.lr_decay)
        return replace(plateau, waited=plateau.waited + 1)


@dataclass(frozen=True)
class Plateau:
    """The state of the plateau schedule."""

    best: float = math.inf
    waited: int = 0
    factor: float = 1.0
