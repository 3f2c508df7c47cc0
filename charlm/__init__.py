"""charlm: a character-level language model trainer, written by hand in NumPy.

::

    model = charlm.load("runs/tales")
    model.sample("The ", length=200)

`import charlm` loads neither NumPy nor click: `load`, `train`, `Run` and `LanguageModel` come with
their first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from charlm.errors import (
    ChangedError,
    CharlmError,
    CheckpointError,
    ConfigError,
    CorpusError,
    DivergenceError,
    EncodingError,
    ExtraError,
    RankError,
    RunError,
    VocabularyError,
    WorkerError,
)
from charlm.system.version import __version__

if TYPE_CHECKING:
    from charlm.interface import LanguageModel, Run, load, train

__all__ = [
    "ChangedError",
    "CharlmError",
    "CheckpointError",
    "ConfigError",
    "CorpusError",
    "DivergenceError",
    "EncodingError",
    "ExtraError",
    "LanguageModel",
    "RankError",
    "Run",
    "RunError",
    "VocabularyError",
    "WorkerError",
    "__version__",
    "load",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in ("LanguageModel", "Run", "load", "train"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # before anything that imports NumPy
    importlib.import_module("charlm.system.blas").load()
    return getattr(importlib.import_module("charlm.interface"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
