"""A run's directory: which files it holds, and how a checkpoint is found."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.errors import CheckpointError, RunError
from charlm.files import reason, write_whole

RUNS = Path("runs")
"""Where runs go by default, below the current directory."""


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The log: one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "last.npz"

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest validation loss."""
        return self.path / "best.npz"

    def holds_run(self) -> bool:
        """Whether any file of a run is there."""
        return any(file.exists() for file in (self.config, self.metrics, self.last, self.best))

    def create(self, config: str) -> None:
        """Begin a run: make the directory, drop what an earlier run left, write `config`.

        Raises `RunError` naming the file and the cause.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for file in (self.best, self.last, self.metrics):
                file.unlink(missing_ok=True)
            write_whole(self.config, lambda stream: stream.write(config.encode("utf-8")))
            self.metrics.touch()
        except OSError as error:
            raise _failure(error, self.path) from error

    def log(self, values: Mapping[str, Any]) -> int:
        """Append one object to the log; returns the log's length in bytes after it."""
        line = json.dumps(values, allow_nan=False) + "\n"
        try:
            with self.metrics.open("ab") as stream:
                stream.write(line.encode("ascii"))
                return stream.tell()
        except OSError as error:
            raise _failure(error, self.metrics) from error

    def continue_from(self, config: str, log_bytes: int) -> None:
        """Go on with a run: rewrite `config`, and drop what was logged after its checkpoint.

        Raises `RunError` naming the file and the cause.
        """
        try:
            write_whole(self.config, lambda stream: stream.write(config.encode("utf-8")))
            self.metrics.touch()
            if self.metrics.stat().st_size > log_bytes:
                os.truncate(self.metrics, log_bytes)
        except OSError as error:
            raise _failure(error, self.path) from error


def _failure(error: OSError, path: Path) -> RunError:
    return RunError(f"{error.filename or path} cannot be written: {reason(error)}")


def find_checkpoint(path: Path | None) -> Path:
    """The checkpoint file that `path` means: itself, or a run directory's best, else its last.

    None means the newest run under `./runs`. Raises `CheckpointError` if there is none.
    """
    if path is None:
        newest = _newest_run()
        if newest is None:
            raise CheckpointError(
                f"no run under ./{RUNS}: train one (charlm train --config FILE), or name a "
                "checkpoint or run directory with --checkpoint"
            )
        path = newest
    if not path.is_dir():
        return path
    directory = RunDirectory(path)
    for file in (directory.best, directory.last):
        if file.exists():
            return file
    raise CheckpointError(f"run directory {path} holds no checkpoint yet")


def _newest_run() -> Path | None:
    """The directory under `./runs` whose checkpoint was written last."""
    newest, newest_time = None, -1.0
    for file in RUNS.rglob("last.npz"):
        with contextlib.suppress(OSError):
            written = file.stat().st_mtime
            if written > newest_time:
                newest, newest_time = file.parent, written
    return newest
