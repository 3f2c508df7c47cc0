"""The directory of a run: its files, its lock, and the checkpoint that a path means."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from charlm.errors import CheckpointError, RunError
from charlm.runs.directory import RunDirectory, find_checkpoint


def _touch(file: Path, time: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file, (time, time))
    return file


def test_newest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path it is the best checkpoint of the run under ./runs that was saved last."""
    monkeypatch.chdir(tmp_path)
    for name, time in (("old", 100), ("new", 300), ("group/middle", 200)):
        _touch(Path("runs", name, "last.npz"), time)
        _touch(Path("runs", name, "best.npz"), 400 - time)
    assert find_checkpoint(None) == Path("runs/new/best.npz")


def test_a_directory_means_its_best_or_else_its_last(tmp_path: Path) -> None:
    """A run directory means best.npz, or last.npz while there is no best."""
    last = _touch(tmp_path / "last.npz", 1)
    assert find_checkpoint(tmp_path) == last
    best = _touch(tmp_path / "best.npz", 1)
    assert find_checkpoint(tmp_path) == best
    assert find_checkpoint(last) == last


def test_none_to_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any run, and in a directory without a checkpoint, the message says what to do."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="charlm train"):
        find_checkpoint(None)
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        find_checkpoint(tmp_path)


def test_create_drops_an_earlier_run(tmp_path: Path) -> None:
    """A new run removes the files of the earlier run, and no others."""
    directory = RunDirectory(tmp_path / "run")
    directory.create("first: 1\n")
    directory.log({"step": 1})
    for file in (directory.last, directory.best, directory.path / "notes.txt"):
        file.write_text("old")
    assert directory.holds_run()
    directory.create("second: 2\n")
    assert directory.config.read_text() == "second: 2\n"
    assert directory.metrics.read_text() == ""
    assert sorted(file.name for file in directory.path.iterdir()) == [
        "config.yaml",
        "metrics.jsonl",
        "notes.txt",
    ]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A run that cannot be written is a `RunError` that names the file and the cause."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file.*not a directory"):
        RunDirectory(tmp_path / "file" / "run").create("")
    missing = RunDirectory(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"metrics.jsonl.*no such file"):
        missing.log({})


def test_a_resumed_run_drops_what_was_logged_after_its_checkpoint(tmp_path: Path) -> None:
    """The log is cut to the length that the checkpoint knows; a log of that length is left alone."""
    directory = RunDirectory(tmp_path)
    directory.create("first: 1\n")
    length = directory.log({"step": 1})
    assert length == len('{"step": 1}\n')
    directory.log({"step": 2})
    for _ in range(2):
        directory.continue_from("second: 2\n", length)
        assert directory.metrics.read_text() == '{"step": 1}\n'
    assert directory.config.read_text() == "second: 2\n"


@pytest.mark.parametrize("flush", [False, True])
def test_a_line_that_could_not_be_logged_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush: bool
) -> None:
    """After a full disk the next line, or the next flush, writes what is missing, in order and once."""
    directory = RunDirectory(tmp_path)
    directory.create("")

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("charlm.runs.directory.append_whole", fail)
        for step in (1, 2):
            with pytest.raises(RunError, match=r"metrics.jsonl cannot be written: no space left on device"):
                directory.log({"step": step})
    wanted = '{"step": 1}\n{"step": 2}\n'
    if not flush:
        directory.log({"step": 3})
        wanted += '{"step": 3}\n'
    assert directory.flush_log() == len(wanted)
    assert directory.metrics.read_text() == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_a_worker_does_not_keep_its_makers_lock(tmp_path: Path) -> None:
    """A forked process that outlives the holder of a lock does not keep others out."""
    directory = RunDirectory(tmp_path / "run")
    with directory.lock():
        with pytest.raises(RunError, match="another charlm train is running"):
            directory.lock()
        waiting, wake = os.pipe()
        begun, begin = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(wake)
            os.write(begin, b"x")
            os.read(waiting, 1)
            os._exit(0)
        os.read(begun, 1)
    try:
        directory.lock().release()
    finally:
        os.close(wake)
        os.waitpid(child, 0)
        for descriptor in (waiting, begun, begin):
            os.close(descriptor)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    """A lock ends when it is released, or when its holder is garbage collected."""
    directory = RunDirectory(tmp_path / "run")
    lock = directory.lock()
    with pytest.raises(RunError, match="another charlm train is running"):
        directory.lock()
    del lock
    gc.collect()
    held = directory.lock()
    held.release()
    held.release()
    directory.lock().release()


_HOLDER = """
import os, sys, time
from pathlib import Path
from charlm.runs.directory import RunDirectory
lock = RunDirectory(Path(sys.argv[1])).lock()
if not os.fork():
    print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    """The lock of a process that is killed ends with it, though its forked child lives."""
    directory = RunDirectory(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(directory.path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(RunError, match="another charlm train is running"):
                directory.lock()
            holder.kill()
            holder.wait()
            os.kill(child, 0)
            directory.lock().release()
        finally:
            holder.kill()
            os.kill(child, signal.SIGKILL)
