"""Finding the checkpoint that a user means."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest

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
    """A run directory stands for best.npz, or for last.npz while there is no best."""
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
    """Beginning anew leaves nothing of the earlier run, and other files alone."""
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


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_a_worker_does_not_keep_its_makers_lock(tmp_path: Path) -> None:
    """A forked process that outlives the holder of a lock does not keep others out."""
    directory = RunDirectory(tmp_path / "run")
    with directory.lock():
        with pytest.raises(RunError, match="another charlm train is at work"):
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
    """A lock that nobody holds any more, released or not, keeps nobody out."""
    directory = RunDirectory(tmp_path / "run")
    lock = directory.lock()
    with pytest.raises(RunError, match="another charlm train is at work"):
        directory.lock()
    del lock
    gc.collect()
    held = directory.lock()
    held.release()
    held.release()
    directory.lock().release()


def test_a_run_that_goes_on_keeps_the_log_of_its_checkpoint(tmp_path: Path) -> None:
    """Lines logged before the checkpoint stay, those after it go, and a shorter log is left alone."""
    directory = RunDirectory(tmp_path / "run")
    directory.create("first: 1\n")
    length = directory.log({"step": 1})
    directory.log({"step": 2})
    for log_bytes in (length, 10**6):
        directory.continue_from("second: 2\n", log_bytes)
        assert directory.metrics.read_text() == '{"step": 1}\n'
    assert directory.config.read_text() == "second: 2\n"
