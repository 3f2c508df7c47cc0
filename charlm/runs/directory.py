"""The directory of a run: its files, its lock, and how a checkpoint is found."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from charlm.errors import CheckpointError, RunError, shortened
from charlm.system.files import (
    append_whole,
    expanded,
    flush,
    lives,
    move,
    reason,
    remove_leftovers,
    write_whole,
)
from charlm.system.team import machine

RUNS = Path("runs")
"""Where runs go by default, below the current directory."""


LOG_KEYS = (
    "step",
    "epoch",
    "train_loss",
    "validation_loss",
    "lr",
    "grad_norm",
    "clipped",
    "chars_per_s",
    "seconds",
)
"""Keys of a line of the log, in their order; lines of older versions lack some."""

EVENT_FILES = "events.out.tfevents.*.charlm"
"""Pattern of the files that TensorBoard reads."""

_NEW = ".new"
"""Directory, within that of a run, of the run that is to replace it."""


@dataclass
class RunDirectory:
    """The files of one run.

    A run that replaces another is kept in a directory of its own, below that of the other, until
    its first checkpoint is whole. Then its files are moved, `config.yaml` first: until that move
    the directory holds the old run, and from then on the new one, which `lock` completes if the
    process was killed in between.
    """

    path: Path
    _replaces: bool = field(default=False, init=False, repr=False)
    """Whether the run that is written is still in the directory of its own."""
    _unlogged: list[str] = field(default_factory=list, compare=False, repr=False)
    """Lines of the log that could not be written yet."""

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self._files / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The log: one JSON object a line."""
        return self._files / "metrics.jsonl"

    @property
    def previews(self) -> Path:
        """The previews: one JSON object a line, with the keys `step`, `epoch` and `text`."""
        return self._files / "previews.jsonl"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self._files / "last.npz"

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest validation loss."""
        return self._files / "best.npz"

    @property
    def replaces(self) -> bool:
        """Whether the run that is written has yet to take the place of an earlier one (`publish`)."""
        return self._replaces

    @property
    def _files(self) -> Path:
        return self.path / _NEW if self._replaces else self.path

    def holds_run(self) -> bool:
        """Whether the log or a checkpoint of a run is there."""
        return os.path.exists(self.metrics) or self.holds_checkpoint()

    def holds_checkpoint(self) -> bool:
        """Whether a checkpoint of a run is there."""
        return os.path.exists(self.last) or os.path.exists(self.best)

    def lock(self) -> DirectoryLock:
        """Lock the directory, so that no other process trains in it.

        Creates the directory if needed. If a process was killed while its run replaced another, one
        of the two is whole: it is kept, and what there is of the other is removed. Raises `RunError`
        if another process holds the lock, or if the directory cannot be created.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = DirectoryLock(self.path)
            self._recover()
            return lock
        except BlockingIOError as error:
            raise RunError(
                f"another charlm train is running in {self.path}: wait for it, stop it, or use `out=DIR`"
            ) from error
        except OSError as error:
            raise _failure(error, self.path) from error

    def create(self, config: str) -> None:
        """Start a run: create the directory, write `config`, begin the log.

        An earlier run with a checkpoint stays until `publish`. A `config.yaml` that belongs to no
        run is never replaced. The caller holds the lock. Raises `RunError` naming the file and the
        cause.
        """
        if os.path.exists(self.config) and not self.holds_run():
            raise RunError(
                f"{self.config} belongs to no run, and a run here would replace it: use `out=DIR`, "
                "or give it another name"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.path)
            if self.holds_checkpoint():
                self._replaces = True
                self._files.mkdir()
            else:  # before the configuration: a log makes it that of a run
                self.metrics.write_bytes(b"")
                self.previews.unlink(missing_ok=True)
                self.remove_events()
            write_whole(self.config, lambda stream: stream.write(config.encode("utf-8")))
            self.metrics.touch()
        except OSError as error:
            raise _failure(error, self.path) from error

    def publish(self) -> None:
        """Put a new run, whose first checkpoint is whole, in the place of the earlier one.

        Does nothing if there is no earlier one. Raises `RunError`; then it can be called again.
        """
        if self._replaces:
            try:
                self._replace()
            except OSError as error:
                raise _failure(error, self.path) from error
            self._replaces = False

    def abandon(self) -> bool:
        """Remove a new run that has not replaced the earlier one; returns whether there was one."""
        had_one, self._replaces = self._replaces, False
        if had_one:
            self._recover()
        return had_one

    def _replace(self) -> None:
        """Move the files of the new run; continues where an earlier call was interrupted."""
        new = self.path / _NEW
        if os.path.exists(new / "config.yaml"):
            move(new / "config.yaml", self.path / "config.yaml")
        # as long as last.npz has not been moved, a file that is missing is one that there is none of
        if os.path.exists(new / "last.npz"):
            for name in ("best.npz", "previews.jsonl"):
                if not os.path.exists(new / name):
                    (self.path / name).unlink(missing_ok=True)
            self.remove_events()
        for name in ("metrics.jsonl", "last.npz", "best.npz", "previews.jsonl"):
            if os.path.exists(new / name):
                move(new / name, self.path / name)
        shutil.rmtree(new, ignore_errors=True)

    def _recover(self) -> None:
        """Complete a replacement that has begun, undo one that has not."""
        new = self.path / _NEW
        if os.path.exists(new / "config.yaml"):
            shutil.rmtree(new, ignore_errors=True)
        elif os.path.isdir(new):
            self._replace()

    def remove_events(self) -> None:
        """Remove the files that TensorBoard reads; raises `OSError`."""
        for file in self.path.glob(EVENT_FILES):
            file.unlink(missing_ok=True)

    def continue_from(self, config: str, log_bytes: int, step: int) -> None:
        """Continue a run: rewrite `config`, and remove what was logged after its checkpoint.

        The checkpoint is that of update `step`; previews of later ones are removed too. Raises
        `RunError` naming the file and the cause.
        """
        try:
            remove_leftovers(self.path)
            write_whole(self.config, lambda stream: stream.write(config.encode("utf-8")))
            self.metrics.touch()
            if self.metrics.stat().st_size > log_bytes:
                os.truncate(self.metrics, log_bytes)
            if os.path.exists(self.previews):
                os.truncate(self.previews, self._previews_until(step))
        except OSError as error:
            raise _failure(error, self.path) from error

    def _previews_until(self, step: int) -> int:
        """The length of the previews up to that update; from one on that is damaged they are dropped."""
        length = 0
        with contextlib.suppress(RunError, KeyError, TypeError):
            for preview, end in read_objects(self.previews):
                if preview["step"] > step:
                    break
                length = end
        return length

    def log(self, values: Mapping[str, Any]) -> int:
        """Append one object to the log; returns the log's new length in bytes.

        Raises `RunError` if it cannot be written; the next call then writes it too.
        """
        self._unlogged.append(json.dumps(values, allow_nan=False) + "\n")
        try:
            length = append_whole(self.metrics, "".join(self._unlogged).encode("ascii"))
        except OSError as error:
            raise _failure(error, self.metrics) from error
        self._unlogged.clear()
        return length

    def log_preview(self, step: int, epoch: float, text: str) -> None:
        """Append a preview to those of the run; raises `RunError` if it cannot be written."""
        line = json.dumps({"step": step, "epoch": epoch, "text": text}) + "\n"
        try:
            append_whole(self.previews, line.encode("ascii"))
        except OSError as error:
            raise _failure(error, self.previews) from error

    def flush_log(self) -> int:
        """Flush the log to the disk, with what could not be written before; returns its length.

        A checkpoint that stores this length never refers to lines that are lost. Raises `RunError`.
        """
        try:
            length = append_whole(self.metrics, "".join(self._unlogged).encode("ascii"))
            self._unlogged.clear()
            flush(self.metrics)
        except OSError as error:
            raise _failure(error, self.metrics) from error
        return length


def read_objects(file: Path, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Each line of `file` from byte `start` on as the object that it is, and the byte where it ends.

    What follows the last line break is still being written, and left out. Raises `RunError` naming
    the file and the cause.
    """
    try:
        with file.open("rb") as stream:
            end = stream.seek(start)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                found = json.loads(line)
                if not isinstance(found, dict):
                    raise ValueError(f"{shortened(line.decode().strip())} is not a JSON object")
                yield found, end
    except OSError as error:
        raise RunError(f"{file} cannot be read: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error


class DirectoryLock:
    """A lock on a directory, held by this object.

    It is released by `release`, at the end of a `with` block, when the object is garbage
    collected, and when the process ends for any reason. A forked child does not hold it. The
    directory itself is locked, so that there is no lock file.

    Where the system or the file system has no `flock` (Lustre, NFS without its lock service,
    Windows), a file `.lock` that names the host and the process is the lock. One of a process that
    was killed is taken over on its host, and must be removed by hand on another. Where NFS has
    `flock`, Linux locks a directory for its own machine only.

    Raises `BlockingIOError` if the directory is locked, `RunError` if it is locked by such a file.
    """

    def __init__(self, directory: Path) -> None:
        descriptor = _flock(directory)
        self._end: Callable[[], object]
        if descriptor is None:
            file = directory / ".lock"
            _take(file)
            self._end = weakref.finalize(self, _remove_own, file)
        else:
            self._end = weakref.finalize(self, os.close, descriptor)
        _held.add(self)

    def release(self) -> None:
        """End the lock; harmless if it has ended."""
        self._end()

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _flock(directory: Path) -> int | None:
    """A descriptor of the directory that holds its lock; None where there are no such locks."""
    try:
        import fcntl

        descriptor = os.open(directory, os.O_RDONLY)
    except (ImportError, PermissionError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _take(file: Path) -> None:
    """Make `file`, which names this process; raises `RunError` if another one has it.

    A file of a killed process is removed by the process that has made a second file: without it,
    one of two could remove what the other has made in the place of the first.
    """
    if _is_stale(file):
        second = file.with_name(f"{file.name}.taken")
        _make(second)
        try:
            if _is_stale(file):
                file.unlink()
        finally:
            second.unlink()
    _make(file)


def _make(file: Path) -> None:
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(_this_process())
    except FileExistsError as error:
        raise RunError(
            f"{file.parent} is locked by {shortened(_text(file) or 'a process')}: wait for it, stop it, or "
            f"train in another directory; if it has ended, rm {shlex.quote(str(file))}"
        ) from error


def _this_process() -> str:
    return f"process {os.getpid()} on {machine()}"


def _text(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text("utf-8", "replace").strip()
    return ""


def _is_stale(file: Path) -> bool:
    """Whether a lock is that of a process of this machine that has ended."""
    process = re.fullmatch(rf"process (\d+) on {re.escape(machine())}", _text(file))
    return process is not None and not lives(int(process[1]))


def _remove_own(file: Path) -> None:
    """Remove the lock of this process; a forked one leaves that of its parent alone."""
    if _text(file) == _this_process():
        file.unlink(missing_ok=True)


_held: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()
"""Locks to release in forked children; it keeps none of them alive."""


def _release_in_child() -> None:
    # a forked process has a copy of the descriptor, and would keep the lock after its parent ended
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


def _failure(error: OSError, path: Path) -> RunError:
    return RunError(f"{error.filename or path} cannot be written: {reason(error)}")


def find_checkpoint(path: Path | None) -> Path:
    """The checkpoint at `path`: the file itself, or the best of a run directory, else its last.

    Of a directory of runs it is that of the newest run; None is `./runs`. Raises `CheckpointError`
    if there is none.
    """
    if path is None:
        newest = _newest_run(RUNS)
        if newest is None:
            raise CheckpointError(
                f"no run under ./{RUNS}: train one (charlm train --config FILE), or name a "
                "checkpoint or run directory with `checkpoint`"
            )
        path = newest
    path = expanded(path)
    if not os.path.isdir(path):
        return path
    for directory in (RunDirectory(path), RunDirectory(_newest_run(path) or path)):
        for file in (directory.best, directory.last):
            if os.path.exists(file):
                return file
    raise CheckpointError(f"directory {path} contains no checkpoint yet")


def find_run(path: Path | None) -> Path:
    """The run directory at `path`, or that of a checkpoint file at it.

    Of a directory of runs it is the newest run; None is `./runs`. Raises `RunError` if there is
    none.
    """
    if path is None:
        newest = _newest_run(RUNS)
        if newest is None:
            raise RunError(f"no run under ./{RUNS}: train one (charlm train --config FILE), or name a run")
        return newest
    path = expanded(path)
    directory = path.parent if os.path.isfile(path) else path
    if RunDirectory(directory).holds_run():
        return directory
    newest = _newest_run(path) if os.path.isdir(path) else None
    if newest is None:
        raise RunError(f"{path} holds no run")
    return newest


def _newest_run(runs: Path) -> Path | None:
    """The directory below `runs` with the most recent checkpoint."""
    newest, newest_time = None, -1.0
    for file in runs.rglob("last.npz"):
        with contextlib.suppress(OSError):
            written = file.stat().st_mtime
            if written > newest_time and file.parent.name != _NEW:
                newest, newest_time = file.parent, written
    return newest
