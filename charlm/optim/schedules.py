"""Learning-rate schedules: the factor of `train.lr` for each update.

All schedules except `plateau` depend only on the position in the run. `plateau` also depends on
validation losses; its state is an argument and a result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Schedule:
    """A schedule with its settings.

    Attributes
    ----------
    kind
        `constant`, `linear`, `cosine`, `exponential`, `step` or `plateau`.
    steps
        Updates planned in the whole run (linear and cosine end there).
    steps_per_epoch
        Updates in an epoch.
    warmup
        Updates over which the rate first rises linearly; with any kind.
    final
        Linear, cosine: the factor at the end.
    decay
        Exponential, step, plateau: the factor of one reduction.
    decay_after
        Exponential: whole epochs before the first reduction.
    decay_every
        Step: whole epochs between reductions.
    patience
        Plateau: consecutive validations without improvement to tolerate before a reduction.
    """

    kind: str
    steps: int
    steps_per_epoch: int
    warmup: int
    final: float
    decay: float
    decay_after: int
    decay_every: int
    patience: int

    def factor(self, step: int, plateau: Plateau) -> float:
        """The factor of `lr` for update number `step`, counted from 0."""
        warming = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return warming * self._after_warmup(step, plateau)

    def _after_warmup(self, step: int, plateau: Plateau) -> float:
        epoch = step // self.steps_per_epoch
        # position between the end of the warm-up and the end of the run, 0 to 1
        position = min(1.0, max(0.0, (step - self.warmup) / max(1, self.steps - self.warmup)))
        if self.kind == "linear":
            return 1.0 - (1.0 - self.final) * position
        if self.kind == "cosine":  # Loshchilov & Hutter 2017, without restarts
            return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * position))
        if self.kind == "exponential":
            return float(self.decay ** max(0, epoch - self.decay_after + 1))
        if self.kind == "step":
            return float(self.decay ** (epoch // self.decay_every))
        if self.kind == "plateau":
            return plateau.factor
        return 1.0

    def after_validation(self, loss: float, plateau: Plateau) -> Plateau:
        """The state of the plateau schedule after a validation with this loss."""
        if loss < plateau.best:
            return replace(plateau, best=loss, waited=0)
        if plateau.waited + 1 > self.patience:
            return replace(plateau, waited=0, factor=plateau.factor * self.decay)
        return replace(plateau, waited=plateau.waited + 1)


@dataclass(frozen=True)
class Plateau:
    """The state of the plateau schedule."""

    best: float = math.inf
    waited: int = 0
    factor: float = 1.0
