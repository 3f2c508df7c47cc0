"""The directory of a run: its files, and how a run or a checkpoint is found."""

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charlm.runs.lock import lock
from charlm.runs.log import read_objects
from charlm.system.errors import CheckpointError, RunError
from charlm.system.files import (
    append_whole,
    expanded,
    flush,
    move,
    os_errors_as,
    reason,
    remove_leftovers,
    write_whole,
)

RUNS = Path("runs")
"""Where runs go by default, below the current directory."""

EVENT_FILES = "events.out.tfevents.*.charlm"
"""Pattern of the files that TensorBoard reads."""

_NO_RUN = f"no run under ./{RUNS}: train one (charlm train --config FILE)"

_TEACHER = "teacher-"
"""How the names of the checkpoints of teachers begin."""

_NEW = ".new"
"""Name of the directory, within a run's, of a run that will replace it."""


@dataclass
class RunDirectory:
    """The files of one run.

    A run that replaces another is kept in a separate directory, below the other's, until its first
    checkpoint is whole. Then its files are moved, `config.yaml` first. Until that move the directory
    holds the old run, from then on the new one. If the process is killed in between, `lock` moves
    the rest.
    """

    path: Path
    replaces: bool = field(default=False, init=False, repr=False)
    """Whether the run that is written has yet to take the place of an earlier one (`publish`)."""
    _unlogged: list[str] = field(default_factory=list, compare=False, repr=False)
    """Lines of the log that could not be written yet."""

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self._files / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The log: one JSON object per line (`runs.log`)."""
        return self._files / "metrics.jsonl"

    @property
    def previews(self) -> Path:
        """The previews: one JSON object per line, with the keys `step`, `epoch` and `text`."""
        return self._files / "previews.jsonl"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self._files / "last.npz"

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest validation loss."""
        return self._files / "best.npz"

    def teachers(self, count: int) -> list[Path]:
        """The checkpoints of the networks that teach it, as many as it has."""
        return [self._files / f"{_TEACHER}{number}.npz" for number in range(1, count + 1)]

    @property
    def _files(self) -> Path:
        return self.path / _NEW if self.replaces else self.path

    def holds_run(self) -> bool:
        """Whether the log or a checkpoint of a run is there."""
        return os.path.exists(self.metrics) or self.holds_checkpoint()

    def holds_checkpoint(self) -> bool:
        """Whether a checkpoint of a run is there."""
        return os.path.exists(self.last) or os.path.exists(self.best)

    def lock(self) -> contextlib.ExitStack:
        """Lock the directory (see `lock.lock`), so that no other process trains in it.

        Creates the directory if needed. If a process was killed while its run replaced another, one
        of the two is whole: it is kept, and the files of the other are removed. Raises `RunError`
        if another process holds the lock, or if the directory cannot be created.
        """
        with _writing(self.path), contextlib.ExitStack() as held:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                held.push(lock(self.path))
            except BlockingIOError as error:
                raise RunError(
                    f"another charlm train is running in {self.path}: wait for it, stop it, or use `out=DIR`"
                ) from error
            self._recover()
            return held.pop_all()

    def create(self, config: str, teachers: Sequence[Path] = ()) -> None:
        """Start a run: create the directory, write `config`, copy the `teachers`, begin the log.

        An earlier run with a checkpoint stays until `publish`. A `config.yaml` that belongs to no
        run is never replaced. The caller holds the lock. Raises `RunError` naming the file and the
        cause.
        """
        if os.path.exists(self.config) and not self.holds_run():
            raise RunError(
                f"{self.config} belongs to no run, and a run here would replace it: use `out=DIR`, "
                "or give it another name"
            )
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.path)
            if self.holds_checkpoint():
                self.replaces = True
                self._files.mkdir()
            else:  # the log comes first: beside it a configuration belongs to a run
                self.metrics.write_bytes(b"")
                self.previews.unlink(missing_ok=True)
                self.remove_events()
                self._remove_teachers()
            for teacher, copy in zip(teachers, self.teachers(len(teachers)), strict=True):
                shutil.copyfile(teacher, copy)
            self._write_config(config)

    def continue_from(self, config: str, log_bytes: int, step: int) -> None:
        """Continue a run: rewrite `config`, and remove what was logged after its checkpoint.

        The checkpoint was made after update `step`, with a log of `log_bytes`; previews of later
        updates are removed too. Raises `RunError` naming the file and the cause.
        """
        with _writing(self.path):
            remove_leftovers(self.path)
            self._write_config(config)
            if self.metrics.stat().st_size > log_bytes:
                os.truncate(self.metrics, log_bytes)
            if os.path.exists(self.previews):
                os.truncate(self.previews, self._previews_until(step))

    def _write_config(self, config: str) -> None:
        write_whole(self.config, lambda stream: stream.write(config.encode("utf-8")))
        self.metrics.touch()

    def _previews_until(self, step: int) -> int:
        """Bytes of the previews up to an update; a damaged one is dropped, and all after it."""
        length = 0
        with contextlib.suppress(RunError, KeyError, TypeError):
            for preview, end in read_objects(self.previews):
                if preview["step"] > step:
                    break
                length = end
        return length

    def publish(self) -> None:
        """Put a new run, whose first checkpoint is whole, in the place of the earlier one.

        Does nothing if there is no earlier one. Raises `RunError`; then it can be called again.
        """
        if self.replaces:
            with _writing(self.path):
                self._replace()
            self.replaces = False

    def abandon(self) -> bool:
        """Remove a new run that has not replaced the earlier one; returns whether there was one."""
        had_one, self.replaces = self.replaces, False
        if had_one:
            self._recover()
        return had_one

    def _replace(self) -> None:
        """Move the files of the new run; continues where an earlier call was interrupted."""
        new = self.path / _NEW
        if os.path.exists(new / "config.yaml"):
            move(new / "config.yaml", self.path / "config.yaml")
        # as long as last.npz has not been moved, the new run has no other files than those here
        if os.path.exists(new / "last.npz"):
            for name in ("best.npz", "previews.jsonl"):
                if not os.path.exists(new / name):
                    (self.path / name).unlink(missing_ok=True)
            self.remove_events()
            self._remove_teachers()
        teachers = sorted(file.name for file in new.glob(f"{_TEACHER}*.npz"))
        for name in ("metrics.jsonl", "last.npz", "best.npz", "previews.jsonl", *teachers):
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

    def _remove_teachers(self) -> None:
        for file in self.path.glob(f"{_TEACHER}*.npz"):
            file.unlink(missing_ok=True)

    def remove_events(self) -> None:
        """Remove the files that TensorBoard reads; raises `OSError`."""
        for file in self.path.glob(EVENT_FILES):
            file.unlink(missing_ok=True)

    def log(self, *lines: Mapping[str, Any], lasting: bool = False) -> int:
        """Append objects to the log, and return its new length in bytes.

        Objects that could not be written come first in the next call. With `lasting`, the log is
        flushed to the disk: a checkpoint that stores its length never refers to lines that are
        lost. Raises `RunError`.
        """
        self._unlogged += [json.dumps(line, allow_nan=False) + "\n" for line in lines]
        with _writing(self.metrics):
            length = append_whole(self.metrics, "".join(self._unlogged).encode("ascii"))
            self._unlogged.clear()
            if lasting:
                flush(self.metrics)
        return length

    def has_preview(self, step: int) -> bool:
        """Whether there is a preview after update `step`; raises `RunError` if the file is damaged."""
        exists = os.path.isfile(self.previews)
        return exists and any(preview["step"] == step for preview, _ in read_objects(self.previews))

    def log_preview(self, step: int, epoch: float, text: str) -> None:
        """Append a preview to the run's; raises `RunError` if it cannot be written."""
        line = json.dumps({"step": step, "epoch": epoch, "text": text}) + "\n"
        with _writing(self.previews):
            append_whole(self.previews, line.encode("ascii"))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Within the block an `OSError` is a `RunError` that names its file, or else `path`."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{error.filename or path} cannot be written: {reason(error)}") from error


def find_checkpoint(path: Path | None) -> Path:
    """The checkpoint at `path`: the file itself, or the best of a run directory, else its last.

    In a directory of runs, the newest run's; None is `./runs`. Raises `CheckpointError` if there is
    none. The file is not read.
    """
    if path is None:
        path = _newest_run(RUNS)
        if path is None:
            raise CheckpointError(f"{_NO_RUN}, or name a checkpoint or run directory with `checkpoint`")
    path = expanded(path)
    with os_errors_as(CheckpointError, f"checkpoint {path} cannot be read"):
        is_directory = stat.S_ISDIR(path.stat().st_mode)
    if not is_directory:
        return path
    for directory in (RunDirectory(path), RunDirectory(_newest_run(path) or path)):
        for file in (directory.best, directory.last):
            if os.path.exists(file):
                return file
    raise CheckpointError(f"directory {path} contains no checkpoint yet")


def find_run(path: Path | None) -> Path:
    """The run directory at `path`, or around the checkpoint file at `path`.

    In a directory of runs, the newest run; None is `./runs`. Raises `RunError` if there is none.
    """
    path = None if path is None else expanded(path)
    directory = path.parent if path is not None and os.path.isfile(path) else path
    if directory is not None and RunDirectory(directory).holds_run():
        return directory
    newest = _newest_run(path or RUNS)
    if newest is None:
        raise RunError(f"{_NO_RUN}, or name a run" if path is None else f"{path} holds no run")
    return newest


def _newest_run(runs: Path) -> Path | None:
    """The directory below `runs` with the most recent checkpoint."""
    times: dict[Path, float] = {}
    for file in runs.rglob("last.npz") if os.path.isdir(runs) else ():
        if file.parent.name != _NEW:
            with contextlib.suppress(OSError):
                times[file.parent] = file.stat().st_mtime
    return max(times, key=times.__getitem__, default=None)
