"""charlm: a character-level language model trainer, written by hand in NumPy.

::

    model = charlm.load("runs/tales")
    model.sample("The ", length=200)

`import charlm` loads neither NumPy nor click: functions and classes come with their first use.
`help("charlm.interface")` lists them, each with the command that does the same.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from charlm.system.errors import (
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
    from charlm.config.keys import Config
    from charlm.inference.evaluate import Evaluation
    from charlm.inference.gradient_flow import GradientFlow
    from charlm.inference.novelty import Novelty
    from charlm.inference.score import Score
    from charlm.inference.trace import Trace
    from charlm.interface import (
        LanguageModel,
        Run,
        bench,
        check_gradients,
        import_weights,
        lesson,
        load,
        plot,
        recipe,
        train,
        untrained,
    )
    from charlm.nn.gradcheck import Check
    from charlm.training.benchmark import Speed

__all__ = [
    "ChangedError",
    "CharlmError",
    "Check",
    "CheckpointError",
    "Config",
    "ConfigError",
    "CorpusError",
    "DivergenceError",
    "EncodingError",
    "Evaluation",
    "ExtraError",
    "GradientFlow",
    "LanguageModel",
    "Novelty",
    "RankError",
    "Run",
    "RunError",
    "Score",
    "Speed",
    "Trace",
    "VocabularyError",
    "WorkerError",
    "__version__",
    "bench",
    "check_gradients",
    "import_weights",
    "lesson",
    "load",
    "plot",
    "recipe",
    "train",
    "untrained",
]


if not TYPE_CHECKING:  # a checker knows the names from above, and that there are no others

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # before anything that imports NumPy
        importlib.import_module("charlm.system.blas").load()
        return getattr(importlib.import_module("charlm.interface"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
