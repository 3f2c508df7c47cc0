"""Runs: training them, opening them, making them of weights."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.config.keys import Config
from charlm.data.corpus import Progress, nothing
from charlm.interface.arguments import AnyPath, Configuration, given, source, typed, warn
from charlm.interface.model import LanguageModel, load
from charlm.runs import importing
from charlm.runs.directory import RunDirectory, find_run
from charlm.runs.log import read_objects
from charlm.training import session
from charlm.training.events import Event, Listener, Warned
from charlm.training.request import MINUTES, ask


@dataclass(frozen=True, repr=False)
class Run:
    """A run directory. It is also a path, for every function that takes one."""

    path: Path

    @typed
    def __init__(self, path: AnyPath | None = None) -> None:
        """Open the run at `path`, or around a checkpoint file; raises `RunError` if there is none.

        In a directory of runs it is the newest one; None is `./runs`.
        """
        object.__setattr__(self, "path", find_run(None if path is None else Path(path)))

    def __repr__(self) -> str:
        """As the run is opened."""
        return f"Run({str(self.path)!r})"

    def __fspath__(self) -> str:
        """The directory."""
        return str(self.path)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The log as it is now: one object for each line, with losses in nats per character."""
        return [line for line, _ in read_objects(RunDirectory(self.path).metrics)]

    def load(self) -> LanguageModel:
        """The best model of the run so far."""
        return load(self.path)


@typed
def train(
    config: Configuration | None = None,
    corpus: AnyPath | None = None,
    out: AnyPath | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_event: Listener | None = None,
    *,
    init: AnyPath | None = None,
    extend_vocabulary: bool = False,
    minutes: float | None = None,
    max_steps: int | None = None,
) -> Run:
    """Train a model, as `charlm train` does.

    Parameters
    ----------
    config
        A configuration file, a run directory, a `Config`, or sections of keys as in the file.
        None chooses everything for the text, the minutes and this machine.
    corpus, out
        Instead of `corpus.path` and `run.dir`.
    settings
        Values of dotted keys, such as `{"model.hidden": 256}`.
    resume, overwrite
        Continue the run in its directory, or start a new one in a directory that holds one.
    on_event
        Is called with everything that happens (`charlm.training.events`). Without it, what the
        user should know is a `UserWarning`.
    init, extend_vocabulary
        A run directory or checkpoint whose weights the run begins with, and whether characters
        that its vocabulary lacks get fresh weights instead of being an error.
    minutes
        How long the call may take. With a configuration, `train.epochs` is fitted to it; without
        one the default is 5.
    max_steps
        Stop after this update of the run, which can then be resumed.

    Raises
    ------
    CharlmError
        What the command reports as an error.
    """
    request = ask(
        source(config),
        given(settings),
        "settings",
        time.perf_counter(),
        minutes,
        resume,
        corpus,
        out,
        overwrite=overwrite,
        init=None if init is None else Path(init),
        extend_vocabulary=extend_vocabulary,
        max_steps=max_steps,
    )
    return Run(session.train(request, on_event or _warn_of).path)


def _warn_of(event: Event) -> None:
    if isinstance(event, Warned):
        warn(event.message)


@typed
def recipe(
    corpus: AnyPath,
    minutes: float = MINUTES,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = nothing,
) -> Config:
    """The configuration that `train` would choose for the text `corpus`, `minutes` and this machine.

    `print(recipe("my.txt").to_commented_yaml())` prints what `charlm init` does. `settings` are
    values of dotted keys that are not to be chosen. The speed of the machine is measured for some
    seconds. `progress` is called as in `LanguageModel.perplexity`.

    Raises `CorpusError` if the text cannot be read, and `ConfigError` if an argument has a wrong
    type or value, or if not even one update fits into the time.
    """
    request = ask(None, given(settings), "settings", time.perf_counter(), minutes, corpus=corpus)
    config, messages = session.planned(request, progress)
    warn(*messages)
    return config


@typed
def import_weights(path: AnyPath, out: AnyPath, vocabulary: AnyPath | None = None) -> Run:
    """Make a run in the directory `out` of the weights at `path`, as `charlm import` does.

    The file is a `.safetensors` file from `LanguageModel.export`, or the `state_dict` of a PyTorch
    model. For the second, `vocabulary` is a JSON file with a list of the characters in the order of
    their ids.

    Raises `CheckpointError` if the file is missing, damaged or cannot be converted, `ConfigError`
    if the vocabulary is missing, superfluous or wrong, and `RunError` if the directory cannot be
    used.
    """
    loaded = importing.load(Path(path), None if vocabulary is None else Path(vocabulary))
    importing.save(loaded, RunDirectory(Path(out)))
    return Run(out)
