"""The logs of runs as arrays, to be drawn, and what tells the runs apart."""

from __future__ import annotations

import math
import os
import unicodedata
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlm.arrays import Array
from charlm.config import loading
from charlm.config.schema import Config
from charlm.config.values import plain
from charlm.errors import ConfigError, RunError, shortened
from charlm.runs.directory import RunDirectory
from charlm.runs.log import COLUMNS, read_objects

AXES = ("updates", "epochs", "minutes")
"""What curves can be drawn over; minutes are those of training, validation and saving not counted."""

_LONGEST_NAME = 72
"""Columns of a name at most."""

_KEYS_IN_A_NAME = 3
"""Runs that differ in more keys are named by their directories."""


@dataclass(frozen=True)
class History:
    """The log of a run.

    Attributes
    ----------
    path, config
        The run directory, and the configuration in it; None if that cannot be read.
    values
        For each key of the log (`COLUMNS`) its values by line, `[N]`, NaN where there is none.
        Losses are in nats per character.
    """

    path: Path
    config: Config | None
    values: Mapping[str, Array]

    @property
    def lines(self) -> int:
        """N, the lines of the log."""
        return len(self.values["step"])

    def over(self, axis: str) -> Array:
        """Where each line lies on one of `AXES`, `[N]`; raises `RunError` if the log does not say."""
        if axis == "minutes":
            if np.isnan(self.values["seconds"]).any():
                raise RunError(
                    f"{self.path}: some lines of its log, which an older version wrote, hold no times: "
                    "draw it over updates or epochs"
                )
            return self.values["seconds"] / 60
        return self.values["step" if axis == "updates" else "epoch"]

    @property
    def best(self) -> int | None:
        """The line with the lowest validation loss; None if there is no validation."""
        losses = self.values["validation_loss"]
        return None if np.isnan(losses).all() else int(np.nanargmin(losses))

    @property
    def clipped_share(self) -> float | None:
        """Share of the updates whose gradient was clipped; None if the log does not say."""
        share = self.values["clipped"]
        updates = np.diff(self.values["step"], prepend=0.0)
        told = ~np.isnan(share) & (updates > 0)
        return float(np.average(share[told], weights=updates[told])) if told.any() else None


def read(path: Path) -> History:
    """The log of the run in directory `path`, as far as it has been written.

    Raises `RunError` if it cannot be read, or if nothing has been logged so far.
    """
    columns = {key: array("d") for key in COLUMNS}
    file = RunDirectory(path).metrics
    for line, _ in read_objects(file):
        for key, column in columns.items():
            value = line.get(key)
            try:
                column.append(math.nan if value is None else value)
            except (TypeError, OverflowError) as error:
                where = f"{file}, line {len(column) + 1}"
                raise RunError(f"{where}: {key} is not a number: {shortened(value)}") from error
    if not columns["step"]:
        raise RunError(f"{path}: nothing has been logged so far")
    values = {key: np.frombuffer(column, np.float64) for key, column in columns.items()}
    values = {key: np.where(np.isfinite(column), column, np.nan) for key, column in values.items()}
    if np.isnan(values["step"]).any() or np.isnan(values["epoch"]).any():
        raise RunError(f"{file}: a line has no step or no epoch")
    try:
        config = loading.load(path)
    except ConfigError:
        config = None
    return History(path, config, values)


def names(histories: Sequence[History]) -> list[str]:
    """What to call each of several runs: the keys in which it differs from the others, or its directory.

    `hidden=256`, or `model.hidden=256` if another section has such a key among them. Where
    runs end, how they are logged and how they are divided over workers is no difference.
    """
    places = [Path(os.path.abspath(history.path)) for history in histories]
    directories = [place.name for place in places]
    if len(set(directories)) < len(directories):
        directories = [str(Path(*place.parts[-2:])) for place in places]
    flat = [_told(history.config) for history in histories]
    differing = [key for key in flat[0] if any(one.get(key) != flat[0][key] for one in flat)]
    if len(differing) > _KEYS_IN_A_NAME or not all(flat):
        differing = []
    short = Counter(key.partition(".")[2] for key in differing)
    found = []
    for values, directory in zip(flat, directories, strict=True):
        parts = []
        for key in differing:
            name = key.partition(".")[2]
            parts.append(f"{name if short[name] == 1 else key}={values[key]}")
        found.append(", ".join(parts) or directory)
    count = Counter(found)
    found = [
        name if count[name] == 1 or name == directory else f"{directory} ({name})"
        for name, directory in zip(found, directories, strict=True)
    ]
    return [_shown(name) for name in found]


def _told(config: Config | None) -> dict[str, str]:
    """The keys that can tell a run from another, with their values as people write them."""
    if config is None:
        return {}
    return {
        key: _value(value)
        for key, value in config.flat().items()
        if not key.startswith("run.") and key != "train.shards"
    }


def _value(value: Any) -> str:
    """A value; of paths the name of the last part."""
    if isinstance(value, tuple):
        return plain(tuple(map(_value, value)))
    return os.path.basename(value) if isinstance(value, str) and os.path.isabs(value) else plain(value)


def _shown(name: str) -> str:
    """A name that can be drawn in a line: composed, without what is not printed, not too long."""
    composed = unicodedata.normalize("NFC", name)
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in composed)
    if columns(printable) <= _LONGEST_NAME:
        return printable
    while columns(printable) >= _LONGEST_NAME:
        printable = printable[:-1]
    return printable + "…"


def columns(text: str) -> int:
    """The width of a text in characters; those of East Asian scripts are two wide."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
