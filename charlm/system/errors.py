"""The errors that a user can cause, each one clear line.

Any other exception is a bug and keeps its traceback.
"""


def shortened(words: object) -> str:
    """The text of an error or an option, shortened for a message."""
    text = str(words) or type(words).__name__
    return text if len(text) <= 200 else text[:200] + "…"


class CharlmError(Exception):
    """The mistake, its place, and the remedy, in one line.

    `exit_status` is the process's exit status when the error reaches the command line:
    2 for an invalid request, 1 for a run that failed.
    """

    exit_status: int = 1


class ConfigError(CharlmError):
    """An invalid configuration or option."""

    exit_status = 2


class CorpusError(CharlmError):
    """A text that cannot be read, trained on or evaluated."""


class EncodingError(CorpusError):
    """A text that cannot be decoded."""


class ChangedError(CorpusError):
    """A text that differs from the one that a model was trained on."""


class VocabularyError(CharlmError):
    """Characters that the model's vocabulary lacks."""


class CheckpointError(CharlmError):
    """A file that is missing, damaged, or not a checkpoint."""


class RunError(CharlmError):
    """A run that cannot be started or resumed, or its directory."""


class WorkerError(CharlmError):
    """A worker process that failed or was killed."""


class RankError(CharlmError):
    """Ranks of one job that cannot work together, or another rank that failed."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.exit_status = status


class ExtraError(CharlmError):
    """An optional package that is missing."""


class DivergenceError(CharlmError):
    """A loss or a gradient that is not a finite number."""
