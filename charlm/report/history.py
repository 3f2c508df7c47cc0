"""The logs of runs as arrays, to be drawn, and names that distinguish the runs."""

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
from charlm.config import reading
from charlm.config.keys import Config, plain
from charlm.runs.directory import RunDirectory
from charlm.runs.log import COLUMNS, read_objects
from charlm.system.errors import ConfigError, RunError, shortened
from charlm.web.signs import columns

AXES = ("updates", "epochs", "minutes")
"""The axes of curves; minutes of training leave out validation and saving."""

_LONGEST_NAME, _KEYS_IN_A_NAME = 72, 3
"""Most columns of a name, and most keys; runs that differ in more are named by their directories."""


@dataclass(frozen=True)
class History:
    """The log of the run in directory `path`."""

    path: Path
    config: Config | None
    """The configuration of the run; None if it cannot be read."""
    values: Mapping[str, Array]
    """Values by line for each key of the log (`COLUMNS`), `[N]`; NaN where the log has none."""

    @property
    def lines(self) -> int:
        """N, the lines of the log."""
        return len(self.values["step"])

    def over(self, axis: str) -> Array:
        """The place of each line on one of `AXES`, `[N]`; raises `RunError` if the log lacks it."""
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
        known = ~np.isnan(share) & (updates > 0)
        return float(np.average(share[known], weights=updates[known])) if known.any() else None


def read(path: Path) -> History:
    """The log of the run in directory `path`, up to its last complete line.

    Raises `RunError` if it cannot be read, or if nothing has been logged so far.
    """
    lists = {key: array("d") for key in COLUMNS}
    file = RunDirectory(path).metrics
    for number, (line, _) in enumerate(read_objects(file), 1):
        for key, numbers in lists.items():
            value = line.get(key)
            try:
                numbers.append(math.nan if value is None else value)
            except (TypeError, OverflowError) as error:
                where = f"{file}, line {number}: {key}"
                raise RunError(f"{where} is not a number: {shortened(value)}") from error
    if not lists["step"]:
        raise RunError(f"{path}: nothing has been logged so far")
    values = {key: np.array(numbers) for key, numbers in lists.items()}
    values = {key: np.where(np.isfinite(column), column, np.nan) for key, column in values.items()}
    if np.isnan(values["step"]).any() or np.isnan(values["epoch"]).any():
        raise RunError(f"{file}: a line has no step or no epoch")
    try:
        config = reading.load(path)
    except ConfigError:
        config = None
    return History(path, config, values)


def names(histories: Sequence[History]) -> list[str]:
    """A name for each of several runs: the keys in which it differs, as `hidden=256`, or its directory.

    The keys of `run`, and `train.shards`, are no difference.
    """
    places = [Path(os.path.abspath(history.path)) for history in histories]
    directories = [place.name for place in places]
    if len(set(directories)) < len(directories):
        directories = [os.path.join(*place.parts[-2:]) for place in places]
    flat = [
        {} if config is None else {key: _shown(value) for key, value in config.flat().items()}
        for config in (history.config for history in histories)
    ]
    differing = [
        key
        for key, value in flat[0].items()
        if not key.startswith("run.") and key != "train.shards" and any(one.get(key) != value for one in flat)
    ]
    if len(differing) > _KEYS_IN_A_NAME or not all(flat):
        differing = []
    by_keys = [", ".join(f"{key.partition('.')[2]}={values[key]}" for key in differing) for values in flat]
    count = Counter(by_keys)
    found = [
        directory if not name else f"{directory} ({name})" if count[name] > 1 else name
        for name, directory in zip(by_keys, directories, strict=True)
    ]
    return [_in_a_line(name) for name in found]


def _shown(value: Any) -> str:
    """A value as people write it; of an absolute path the last part."""
    if isinstance(value, tuple):
        return plain(tuple(map(_shown, value)))
    return os.path.basename(value) if isinstance(value, str) and os.path.isabs(value) else plain(value)


def _in_a_line(name: str) -> str:
    """A name that can be drawn in a line: composed, printable, and at most `_LONGEST_NAME` columns wide."""
    name = "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in unicodedata.normalize("NFC", name)
    )
    if columns(name) <= _LONGEST_NAME:
        return name
    while columns(name) >= _LONGEST_NAME:
        name = name[:-1]
    return name + "…"
