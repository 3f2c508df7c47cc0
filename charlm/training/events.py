"""Events of a run, for a listener to show."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from charlm.config.keys import Config
from charlm.runs.log import Line


@dataclass(frozen=True)
class Started:
    """A run is about to train, from its beginning or from where it stopped."""

    path: Path
    """The run directory."""
    config: Config
    """As it was written to `config.yaml`."""
    units: int
    """Units of the text of `corpus.path`: of lines, those that are predicted."""
    sizes: dict[str, int]
    """Units of each split; of lines, their number."""
    validated: tuple[int, int]
    """Characters that a validation scores, and characters of the whole validation split."""
    lines: int | None
    """Lines of the text; None if it is not one of lines."""
    vocabulary: int
    parameters: int
    streams: int
    """B, as it fits the text."""
    seq_len: int
    """T, as it fits the text."""
    needed_bytes: int
    """Memory of the process so far, and what training needs by the sizes of its arrays."""
    planned_steps: int
    """Updates of the whole run."""
    step: int
    """Updates done before."""
    first_word: str
    """A word to begin a sample with; empty if the text has none that can be typed."""


@dataclass(frozen=True)
class Taught:
    """A network of the run begins, or its teachers read the text, for which its training waits."""

    network: int
    """Its number in the run, from 0."""
    networks: int
    """Networks of the run."""
    is_read: bool = True
    """Whether teachers read the text."""


@dataclass(frozen=True)
class Read:
    """A teacher is about to read the next piece of the text."""

    share: float
    """Share of the text that it has read."""


@dataclass(frozen=True)
class Updated:
    """One more update was done."""

    step: int
    """Updates done."""
    loss: float | None
    """Mean loss of its window in nats per character; None if the update was dropped."""
    chars_per_s: float
    """Characters per second since the last validation."""


class Logged(Line):
    """A line was added to the log, at an update without a validation."""


@dataclass(frozen=True)
class Validated(Line):
    """The model was validated, and a checkpoint saved; means are those since the validation before."""

    is_best: bool = False


@dataclass(frozen=True)
class Joining:
    """The networks of the run are about to be joined to one (`train.join`), which is scored."""

    networks: int


@dataclass(frozen=True)
class Joined:
    """The networks were joined."""

    networks: int
    loss: float
    """Validation loss of the joined network in nats per character."""
    factor: float
    """The factor of its logits, over the one with which they are the mean."""
    is_best: bool
    """Whether it is the best model of the run, and kept."""


@dataclass(frozen=True)
class Previewed:
    """A preview was generated."""

    text: str


@dataclass(frozen=True)
class Warned:
    """Something that the user should know; training continues."""

    message: str


@dataclass(frozen=True)
class Stopped:
    """The run ended; `last.npz` holds its state."""

    finished: bool
    """False if it was asked to stop before its end."""
    out_of_patience: bool
    """Whether it ended because validations did not improve (`train.patience`)."""
    step: int
    epoch: float
    seconds: float
    """Of training, validation and saving not counted."""
    chars_per_s: float
    skipped: int
    """Updates dropped because their loss or gradient was not finite."""
    best: float | None
    """Lowest loss so far, in nats per character; see `best_of`."""
    best_step: int
    best_of: str = field(default="validation")
    """`validation`, or `training` where there is no validation split."""
    whole: float | None = None
    """Loss of the best model on the whole validation split, if validations scored a part of it and
    there was time at the end."""


Event = (
    Started | Taught | Read | Updated | Logged | Validated | Joining | Joined | Previewed | Warned | Stopped
)

Listener = Callable[[Event], object]
