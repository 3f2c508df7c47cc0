"""charlm: a character-level language model trainer, written by hand in NumPy.

::

    model = charlm.load("runs/tales")
    model.sample("The ", length=200)

`import charlm` loads neither NumPy nor click: functions and classes come with their first use.
`help("charlm.interface")` lists them, each with the command that does the same.
"""

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
    from charlm import interface as interface
    from charlm.interface import (
        Check,
        Config,
        Evaluation,
        GradientFlow,
        LanguageModel,
        Novelty,
        Run,
        Score,
        Speed,
        Trace,
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
        if name not in (*__all__, "interface"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # before anything that imports NumPy
        importlib.import_module("charlm.system.blas").load()
        interface = importlib.import_module("charlm.interface")
        return interface if name == "interface" else getattr(interface, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
