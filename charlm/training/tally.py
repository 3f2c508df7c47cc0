"""The counters of a run: its updates, sums and scores. A checkpoint keeps all of it."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from charlm.optim.schedules import Plateau


@dataclass(frozen=True)
class Update:
    """What one update did."""

    loss: float
    """Mean nats per character of its window, before the update."""
    norm: float
    """Global norm of the gradient before clipping."""
    lr: float
    characters: int
    clipped: bool = False
    """Whether the gradient was clipped, by its norm or in some of its values."""
    dropped: str | None = None
    """The quantity that was not finite, if the update was dropped for it."""


@dataclass
class Means:
    """Sums since the last report, for means that survive a resume."""

    loss_sum: float = 0.0
    characters: int = 0
    norms: float = 0.0
    updates: int = 0
    seconds: float = 0.0
    clipped: int = 0

    @property
    def loss(self) -> float | None:
        """Mean training loss in nats per character; None if all updates were dropped."""
        return self.loss_sum / self.characters if self.characters else None

    @property
    def norm(self) -> float | None:
        """Mean gradient norm before clipping; None without updates."""
        return self.norms / self.updates if self.updates else None

    @property
    def clipped_share(self) -> float | None:
        """Share of the updates whose gradient was clipped; None without updates."""
        return self.clipped / self.updates if self.updates else None

    @property
    def chars_per_s(self) -> float:
        """Characters trained on a second of training (validation and saving not counted)."""
        return self.characters / self.seconds if self.seconds else 0.0

    def add(self, report: Update, seconds: float) -> None:
        """Count one more update."""
        self.loss_sum += report.loss * report.characters
        self.characters += report.characters
        self.norms += report.norm
        self.updates += 1
        self.clipped += report.clipped
        self.seconds += seconds


@dataclass
class Tally:
    """The counts, sums and scores of a run: all of its state that is not an array."""

    step: int = 0
    """Updates done."""
    generation: int = 0
    """Networks of the run that are finished."""
    begun: int = 0
    """Updates done before this network."""
    applied_before: int = 0
    """Updates before this network that changed parameters."""
    plateau: Plateau = field(default_factory=Plateau)
    best: float | None = None
    """Lowest loss so far, in nats per character, of what `Trainer.best_of` says."""
    best_step: int = 0
    validation: float | None = None
    """The last loss that could become the best."""
    lowest: float | None = None
    """Lowest such loss of this network."""
    joined: int = 0
    """Updates after which the networks were joined; 0 if they were not."""
    waited: int = 0
    """Validations in a row without improvement."""
    skipped: int = 0
    """Updates dropped because they were not finite."""
    skipped_in_a_row: int = 0
    """Updates dropped since the last one that was done."""
    log_bytes: int = 0
    """Length of the log."""
    since_log: Means = field(default_factory=Means)
    since_validation: Means = field(default_factory=Means)
    total: Means = field(default_factory=Means)

    @property
    def applied(self) -> int:
        """Updates that changed the parameters."""
        return self.step - self.skipped

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; infinities become None."""
        values = asdict(self)
        if math.isinf(self.plateau.best):
            values["plateau"]["best"] = None
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The reverse of `to_json`; raises `KeyError`, `TypeError` or `ValueError` if it is not one."""
        plateau = dict(values["plateau"])
        plateau["best"] = math.inf if plateau["best"] is None else plateau["best"]
        means = {name: Means(**values[name]) for name in ("since_log", "since_validation", "total")}
        return cls(**{**values, **means, "plateau": Plateau(**plateau)})
