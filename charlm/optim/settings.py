"""Settings of update rules and schedules."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What rules and schedules read, without defaults; the docstring of each rule names its settings.

    Attributes
    ----------
    epochs
        Passes over the training split planned in the whole run (linear and cosine end there).
    schedule
        `constant`, `linear`, `cosine`, `exponential`, `step` or `plateau`.
    warmup
        Updates over which the rate first rises linearly; with any schedule.
    lr_final
        Linear, cosine: the factor at the end.
    lr_decay
        Exponential, step, plateau: the factor of one reduction.
    lr_decay_after
        Exponential: whole epochs before the first reduction.
    lr_decay_every
        Step: whole epochs between reductions.
    lr_patience
        Plateau: consecutive validations without improvement to tolerate before a reduction.
    """

    momentum: float
    beta1: float
    beta2: float
    rms_decay: float
    epsilon: float
    weight_decay: float
    epochs: float
    schedule: str
    warmup: int
    lr_final: float
    lr_decay: float
    lr_decay_after: int
    lr_decay_every: int
    lr_patience: int
