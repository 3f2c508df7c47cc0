"""A run's directory: which files it holds, and how a checkpoint is found."""

from __future__ import annotations

import contextlib
import json
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from charlm.errors import CheckpointError, RunError
from charlm.system.files import append_whole, flush, reason, remove_leftovers, write_whole

RUNS = Path("runs")
"""Where runs go by default, below the current directory."""


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run."""

    path: Path
    _unlogged: list[str] = field(default_factory=list, compare=False, repr=False)
    """Lines of the log that could not be written yet."""

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

    def lock(self) -> DirectoryLock:
        """Keep every other process from training here, for as long as the lock is held.

        Makes the directory if need be. Raises `RunError` if another process has it, or if it
        cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return DirectoryLock(self.path)
        except BlockingIOError as error:
            raise RunError(
                f"another charlm train is at work in {self.path}: wait for it, stop it, or use --out DIR"
            ) from error
        except OSError as error:
            raise _failure(error, self.path) from error

    def create(self, config: str) -> None:
        """Begin a run: make the directory, drop what an earlier run left, write `config`.

        Others are to be kept out by then. Raises `RunError` naming the file and the cause.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.path)
            for file in (self.best, self.last, self.metrics):
                file.unlink(missing_ok=True)
            write_whole(self.config, lambda stream: stream.write(config.encode("utf-8")))
            self.metrics.touch()
        except OSError as error:
            raise _failure(error, self.path) from error

    def continue_from(self, config: str, log_bytes: int) -> None:
        """Continue a run: rewrite `config`, and drop what was logged after its checkpoint.

        Raises `RunError` naming the file and the cause.
        """
        try:
            remove_leftovers(self.path)
            write_whole(self.config, lambda stream: stream.write(config.encode("utf-8")))
            self.metrics.touch()
            if self.metrics.stat().st_size > log_bytes:
                os.truncate(self.metrics, log_bytes)
        except OSError as error:
            raise _failure(error, self.path) from error

    def log(self, values: Mapping[str, Any]) -> int:
        """Append one object to the log; returns the log's length in bytes after it.

        Raises `RunError` if it cannot be written; it is then kept, and written with the next one.
        """
        self._unlogged.append(json.dumps(values, allow_nan=False) + "\n")
        try:
            length = append_whole(self.metrics, "".join(self._unlogged).encode("ascii"))
        except OSError as error:
            raise _failure(error, self.metrics) from error
        self._unlogged.clear()
        return length

    def flush_log(self) -> int:
        """Bring the log to the disk, and with it what could not be written before; returns its length.

        A checkpoint saved after it never knows of more than there is. Raises `RunError`.
        """
        try:
            length = append_whole(self.metrics, "".join(self._unlogged).encode("ascii"))
            self._unlogged.clear()
            flush(self.metrics)
        except OSError as error:
            raise _failure(error, self.metrics) from error
        return length


class DirectoryLock:
    """A lock on a directory, for as long as somebody holds this object.

    A context manager. The lock ends with its block, when the object is garbage collected, and
    when the process ends, however that happens. It is on the directory itself, so that no file
    is left behind. Where the system or the file system has no such locks, nothing is locked.

    Raises `BlockingIOError` if another process holds it.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor: int | None = None
        try:
            import fcntl

            descriptor = os.open(directory, os.O_RDONLY)
        except (ImportError, PermissionError):
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:
            os.close(descriptor)
            return
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)
        _held.add(self)

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor is not None:
            self._descriptor = None
            self._close()

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


_held: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()


def _release_in_child() -> None:
    # a forked process has a copy of the descriptor: a worker that outlives its maker for a moment
    # must not keep the run locked
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


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
