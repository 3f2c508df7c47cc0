"""A request for a run, made before its text is read."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charlm.config import reading
from charlm.config.keys import Config
from charlm.config.reading import Source
from charlm.system.errors import ConfigError

MINUTES = 5.0
"""Minutes of a run for which everything is chosen."""


@dataclass(frozen=True)
class Request:
    """A run that a person asks for. Raises `ConfigError` if the wishes contradict each other.

    Attributes
    ----------
    config
        The configuration as it was given.
    seconds, begun
        How long the whole may take, from `begun` on, by `time.perf_counter`; None: as long as
        `train.epochs` says.
    everything
        Whether every key that no person set is chosen for the text, the time and the machine.
        Otherwise `train.epochs` alone is fitted to the seconds.
    resume, overwrite
        Continue the run in its directory exactly where it stopped; start a new run in a directory
        that holds one.
    init, extend_vocabulary
        A run or checkpoint whose weights a new run begins with, and whether units that its
        vocabulary lacks get fresh weights instead of being an error.
    max_steps
        Stop after this update of the run, which can then be resumed.
    """

    config: Config
    seconds: float | None = None
    begun: float = field(default_factory=time.perf_counter, compare=False)
    everything: bool = False
    resume: bool = False
    overwrite: bool = False
    init: Path | None = None
    extend_vocabulary: bool = False
    max_steps: int | None = None

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise ConfigError("`resume` and `overwrite` exclude each other")
        if self.resume and self.init:
            raise ConfigError("`init` is for a new run: one that is resumed goes on with its own weights")
        if self.resume and self.seconds is not None:
            raise ConfigError(
                "`minutes` is for a new run: train.epochs says how long one that is resumed goes on"
            )
        if self.extend_vocabulary and self.init is None:
            raise ConfigError("`extend_vocabulary`: name the weights that the run begins with, `init=RUN`")
        if self.max_steps is not None and self.max_steps < 1:
            raise ConfigError(f"max_steps: {self.max_steps} is below 1")


def ask(
    source: Source,
    given: Mapping[str, Any],
    giver: str,
    begun: float,
    minutes: float | None = None,
    resume: bool = False,
    corpus: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    **wishes: Any,
) -> Request:
    """The request for a run with the configuration `source`; without one everything is chosen.

    `given` holds checked values that replace values of the configuration, and `giver` gave them;
    `corpus` and `out` replace `corpus.path` and `run.dir`, whatever `given` says of these.
    `wishes` are attributes of the request. A run that is resumed without a configuration is the one
    that was begun with this text and none.

    Raises `ConfigError` if the configuration is invalid, names no text, or contradicts the wishes.
    """
    if corpus == "":
        raise ConfigError("`corpus`: the path is empty")
    paths = {"corpus.path": corpus, "run.dir": out}
    given = {**given, **{dotted: os.fspath(path) for dotted, path in paths.items() if path is not None}}
    config = reading.configuration(source, given, giver)
    directory = Path(config.run.dir)
    if source is None and resume and os.path.exists(directory / "config.yaml"):
        source = directory
        config = reading.configuration(source, given, giver)
    if minutes is not None and "train.epochs" in given:
        raise ConfigError("`minutes` fits train.epochs to the time: leave out one of the two")
    everything = source is None and not resume
    if everything and minutes is None:
        minutes = MINUTES
    if minutes is not None and not 0 < minutes < math.inf:
        raise ConfigError(f"minutes: {minutes} is not a finite number above 0")
    seconds = None if minutes is None else 60 * minutes
    request = Request(config, seconds, begun, everything, resume, **wishes)
    if not config.corpus.path and (source is None or not resume):
        where = f"set corpus.path in {source}" if isinstance(source, Path) else "train with `config=FILE`"
        raise ConfigError(f"no text to train on: give `corpus=FILE`, or {where}")
    return request
