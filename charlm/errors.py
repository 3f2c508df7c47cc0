"""The errors that a user can cause, each one clear line.

Whatever is not a `CharlmError` is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from typing import ClassVar


def shortened(words: object) -> str:
    """What a file or an option says, shortened for a message."""
    text = str(words) or type(words).__name__
    return text if len(text) <= 200 else text[:200] + "…"


class CharlmError(Exception):
    """What was wrong, where, and what would be right, in one line.

    `exit_status` is the process's exit status when the error reaches the command line:
    2 for an invalid request, 1 for a run that failed.
    """

    exit_status: ClassVar[int] = 1


class ConfigError(CharlmError):
    """An invalid configuration or option."""

    exit_status = 2


class CorpusError(CharlmError):
    """A text that cannot be read, or that is not one to train or evaluate on."""


class ChangedError(CorpusError):
    """A text that is not the one that a model was trained on."""


class VocabularyError(CharlmError):
    """Characters that the model's vocabulary lacks."""


class CheckpointError(CharlmError):
    """A checkpoint that is missing, damaged, or not one."""


class RunError(CharlmError):
    """A run directory, or a run in it, that cannot be started or continued."""


class WorkerError(CharlmError):
    """A worker process that failed or was killed."""


class DivergenceError(CharlmError):
    """A loss or a gradient that is not a finite number."""
