"""The directory of a run: its files, its lock, and the checkpoint that a path means."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from faults import at_system_calls

from charlm.runs import lock as locks_of
from charlm.runs.directory import EVENT_FILES, RunDirectory, find_checkpoint, find_run
from charlm.runs.log import read_objects
from charlm.system.errors import CheckpointError, RunError

LOCKED = "another charlm train is running|is locked by process"


def _touch(file: Path, time: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file, (time, time))
    return file


def test_newest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path, or of a directory of runs, it is the best checkpoint of the run that was saved last."""
    monkeypatch.chdir(tmp_path)
    for name, time in (("old", 100), ("new", 300), ("group/middle", 200)):
        _touch(Path("runs", name, "last.npz"), time)
        _touch(Path("runs", name, "best.npz"), 400 - time)
    _touch(Path("runs/old/.new/last.npz"), 500)  # of a run that has not replaced the old one
    assert find_checkpoint(None) == Path("runs/new/best.npz")
    assert find_checkpoint(tmp_path) == tmp_path / "runs/new/best.npz"


def test_a_directory_means_its_best_or_else_its_last(tmp_path: Path) -> None:
    """A run directory means best.npz, or last.npz while there is no best; either alone is worth keeping."""
    last = _touch(tmp_path / "last.npz", 1)
    assert find_checkpoint(tmp_path) == last
    best = _touch(tmp_path / "best.npz", 1)
    assert find_checkpoint(tmp_path) == best
    assert find_checkpoint(last) == last
    last.unlink()
    directory = RunDirectory(tmp_path)
    assert directory.holds_run()
    directory.create("")
    assert directory.replaces
    assert find_checkpoint(tmp_path) == best


def test_a_checkpoint_is_found_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leading `~` is the home directory, also of a file."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/last.npz").touch()
    for path in ("~/run", "~/run/last.npz"):
        assert find_checkpoint(Path(path)) == tmp_path / "run/last.npz"


def test_none_to_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any run, and in a directory without a checkpoint, the message says what to do."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="charlm train"):
        find_checkpoint(None)
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        find_checkpoint(tmp_path)
    too_long = tmp_path / ("n" * 300)
    with pytest.raises(CheckpointError, match="n cannot be read: file name too long"):
        find_checkpoint(too_long)


def _run(directory: RunDirectory, name: str, best: bool = True) -> dict[str, str]:
    """Write a run with files that hold its name; returns them."""
    directory.create(f"config of {name}")
    directory.metrics.write_text(f"log of {name}")
    for file in (directory.best, directory.last) if best else (directory.last,):
        file.write_text(f"checkpoint of {name}")
    if best:
        directory.previews.write_text(f"previews of {name}")
    files = _contents(directory.config.parent)
    directory.publish()
    return files


def _contents(directory: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in directory.iterdir() if file.is_file()}


@pytest.mark.parametrize("best", [True, False])
def test_a_new_run_replaces_the_earlier_one_when_it_is_whole(tmp_path: Path, best: bool) -> None:
    """Until `publish` every file is that of the earlier run; then none is, and other files are kept."""
    directory = RunDirectory(tmp_path / "run")
    old = _run(directory, "old")
    (tmp_path / "run/notes.txt").write_text("mine")
    before = _contents(directory.path)
    directory.create("config of new")
    directory.log({"step": 1})
    assert _contents(directory.path) == before
    assert directory.abandon()
    assert _contents(directory.path) == before == old | {"notes.txt": "mine"}
    new = _run(directory, "new", best)
    assert _contents(directory.path) == new | {"notes.txt": "mine"}
    assert ("best.npz" in new) == best
    assert not directory.abandon()
    assert not list(directory.path.glob(".*"))


@pytest.mark.skipif(sys.platform != "linux", reason="system calls are traced with Linux's ptrace")
@pytest.mark.parametrize("best", [True, False])
def test_killed_at_any_system_call_of_a_replacement(tmp_path: Path, best: bool) -> None:
    """Whenever SIGKILL comes there are whole checkpoints, and the next lock gives one run, whole."""

    def replace() -> None:
        _run(RunDirectory(tmp_path / "run"), "new", best)

    directory = RunDirectory(tmp_path / "run")
    old = _run(directory, "old")
    optional = ("best.npz", "previews.jsonl")
    new = {name: text.replace("old", "new") for name, text in old.items() if best or name not in optional}
    event_file = directory.path / EVENT_FILES.replace("*", "1.host")
    event_file.write_text("events of old")
    old[event_file.name] = "events of old"
    seen = []
    for killed in at_system_calls(directory.path, replace):
        left = RunDirectory(killed)
        assert find_checkpoint(killed).read_text() in ("checkpoint of old", "checkpoint of new")
        assert left.last.read_text() in ("checkpoint of old", "checkpoint of new")
        configured = left.config.read_text()
        left.lock().close()
        found = _contents(killed)
        assert found in (old, new)
        assert found["config.yaml"] == configured, "what was read before the lock is true after it"
        assert not list(killed.glob(".*"))
        seen.append(found == new)
    assert seen == sorted(seen)
    assert set(seen) == {False, True}


def test_a_configuration_of_no_run_is_never_replaced(tmp_path: Path) -> None:
    """A person's own config.yaml is no run, and is not made one."""
    directory = RunDirectory(tmp_path)
    directory.config.write_text("model: {hidden: 8}")
    assert not directory.holds_run()
    with pytest.raises(RunError, match=r"config.yaml belongs to no run.*`out=DIR`"):
        directory.create("")
    assert _contents(tmp_path) == {"config.yaml": "model: {hidden: 8}"}


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A run that cannot be written is a `RunError` that names the file and the cause."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file.*not a directory"):
        RunDirectory(tmp_path / "file" / "run").create("")
    missing = RunDirectory(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"metrics.jsonl.*no such file"):
        missing.log({})


def test_a_resumed_run_drops_what_was_logged_after_its_checkpoint(tmp_path: Path) -> None:
    """The log is cut to the length that the checkpoint knows; a log of that length is left alone.

    Half-written files of a killed process are removed, also where a run begins.
    """
    directory, left_over = RunDirectory(tmp_path), tmp_path / f".last.npz.{10**20}.tmp"
    left_over.touch()
    directory.create("first: 1\n")
    assert not left_over.exists()
    length = directory.log({"step": 1})
    assert length == len('{"step": 1}\n')
    directory.log({"step": 2})
    for torn in ("", "{"):
        with directory.metrics.open("a") as log:
            log.write(torn)
        left_over.touch()
        directory.continue_from("second: 2\n", length, 1)
        assert not left_over.exists()
        assert directory.metrics.read_text() == '{"step": 1}\n'
    assert directory.config.read_text() == "second: 2\n"
    directory.metrics.unlink()
    directory.continue_from("third: 3\n", length, 1)
    assert directory.metrics.read_bytes() == b"", "a run whose log was removed goes on, too"


def test_a_line_is_written_once_though_it_was_not_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush that fails is an error, and the next call does not repeat what is in the file."""

    def fail(file: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(file))

    directory = RunDirectory(tmp_path)
    directory.create("")
    with monkeypatch.context() as patch:
        patch.setattr("charlm.runs.directory.flush", fail)
        with pytest.raises(RunError, match=r"metrics\.jsonl cannot be written: input/output error"):
            directory.log({"step": 1}, lasting=True)
    assert directory.log({"step": 2}, lasting=True) == len('{"step": 1}\n{"step": 2}\n')


@pytest.mark.parametrize("step", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("torn", ["", '{"step": 4, "ep', "\0\0\n", '{"step": "x"}\n', "{}\n"])
def test_a_resumed_run_drops_previews_of_later_updates(tmp_path: Path, step: int, torn: str) -> None:
    """Those up to the checkpoint's update are kept, whatever a kill or a power cut left behind them."""
    directory = RunDirectory(tmp_path)
    directory.create("")
    for number in (1, 2, 3):
        directory.log_preview(number, number / 2, f"text {number}\n")
    with directory.previews.open("a") as previews:
        previews.write(torn)
    for _ in range(2):
        directory.continue_from("", 0, step)
        kept = [preview for preview, _ in read_objects(directory.previews)]
        assert kept == [{"step": n, "epoch": n / 2, "text": f"text {n}\n"} for n in (1, 2, 3) if n <= step]
        assert directory.previews.read_text().count("\n") == len(kept)


def test_objects_are_read_from_any_line_on(tmp_path: Path) -> None:
    """Each comes with the byte where it ends, from which reading goes on; a line that grows is left out."""
    file = tmp_path / "log"
    lines = [b'{"step": 1}\n', b'{"step": 22, "name": "\xed\x95\x9c"}\n', b'{"step": 3}']
    file.write_bytes(b"".join(lines))
    found = list(read_objects(file))
    assert found == [({"step": 1}, 12), ({"step": 22, "name": "한"}, 12 + len(lines[1]))]
    assert list(read_objects(file, found[0][1])) == found[1:]
    assert list(read_objects(file, found[1][1])) == []
    with file.open("ab") as log:
        log.write(b"\n")
    assert list(read_objects(file, found[1][1])) == [({"step": 3}, file.stat().st_size)]
    with pytest.raises(RunError, match="nothing cannot be read: no such file"):
        list(read_objects(tmp_path / "nothing"))


def test_a_run_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its directory, also before its first checkpoint, by a file in it, or as the newest of several."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"no run under ./runs: train one"):
        find_run(None)
    for name, time in (("old", 100), ("new", 300)):
        _touch(Path("runs", name, "last.npz"), time)
    started = _touch(Path("elsewhere/metrics.jsonl"), 1).parent
    assert find_run(None) == Path("runs/new")
    assert find_run(Path("runs")) == Path("runs/new")
    assert find_run(Path("runs/old")) == Path("runs/old")
    assert find_run(Path("runs/old/last.npz")) == Path("runs/old")
    assert find_run(started) == started
    for nothing in ("none", "runs/old/none.npz", "n" * 300):
        with pytest.raises(RunError, match="holds no run"):
            find_run(Path(nothing))


def test_a_run_without_a_checkpoint_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    """What it has logged, shown and told TensorBoard is not that of a run that begins after it."""
    for name in ("config.yaml", "metrics.jsonl", "previews.jsonl", EVENT_FILES.replace("*", "1")):
        (tmp_path / name).write_text("old")
    RunDirectory(tmp_path).create("new")
    assert _contents(tmp_path) == {"config.yaml": "new", "metrics.jsonl": ""}


@pytest.fixture(params=["flock", "file"])
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system that has `flock`, and one that has not."""
    if request.param == "file":
        _without_flock(monkeypatch, errno.ENOLCK)
    return str(request.param)


def _without_flock(monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def refuse(*_: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
@pytest.mark.usefixtures("locks")
def test_a_worker_does_not_keep_its_makers_lock(tmp_path: Path) -> None:
    """A forked process that outlives the holder of a lock does not keep others out."""
    directory = RunDirectory(tmp_path / "run")
    with directory.lock():
        with pytest.raises(RunError, match=LOCKED):
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
        with pytest.raises(RunError, match=LOCKED):  # what the child has let go is not the lock
            directory.lock()
    try:
        directory.lock().close()
    finally:
        os.close(wake)
        os.waitpid(child, 0)
        for descriptor in (waiting, begun, begin):
            os.close(descriptor)


@pytest.mark.usefixtures("locks")
def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    """A lock ends when it is closed, once or more, and leaves no file."""
    directory = RunDirectory(tmp_path / "run")
    for _ in range(2):
        lock = directory.lock()
        with pytest.raises(RunError, match=LOCKED):
            directory.lock()
        lock.close()
        lock.close()
    assert list(directory.path.iterdir()) == []


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_flock_a_file_is_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """It names process and host; the error says so, and how to remove it."""
    _without_flock(monkeypatch, error)
    directory = RunDirectory(tmp_path / "the run")
    with directory.lock():
        who = f"process {os.getpid()} on {socket.gethostname()}"
        assert (directory.path / ".lock").read_text() == who
        with pytest.raises(RunError, match=rf"locked by {re.escape(who)}: .* rm '.*/the run/\.lock'$"):
            directory.lock()
        (directory.path / ".lock").write_text("process 1 on elsewhere")
    assert (directory.path / ".lock").exists(), "the lock of another process is left alone"


def _ended() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize("taken", [False, True])
def test_a_lock_file_of_a_killed_process_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """By one process at a time: while another takes it over, the directory is locked."""
    _without_flock(monkeypatch, errno.ENOLCK)
    stale, host = f"process {_ended()} on ", socket.gethostname()
    (tmp_path / ".lock").write_text(stale + host)
    if taken:
        (tmp_path / ".lock.taken").write_text(f"process {os.getpid()} on {host}")
        with pytest.raises(RunError, match="taken"):
            RunDirectory(tmp_path).lock()
        assert (tmp_path / ".lock").read_text() == stale + host
    else:
        with RunDirectory(tmp_path).lock():
            assert (tmp_path / ".lock").read_text() == f"process {os.getpid()} on {host}"
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("contents", ["process {} on elsewhere", "process {}", "", "\xff"])
def test_a_lock_file_that_may_be_in_use_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: str
) -> None:
    """Of another host, or not whole yet, a lock is not taken over."""
    _without_flock(monkeypatch, errno.ENOLCK)
    file = tmp_path / ".lock"
    file.write_text(contents.format(_ended()), encoding="latin-1")
    with pytest.raises(RunError, match=r"locked by (process \d+.*|a process|\ufffd): .* rm "):
        RunDirectory(tmp_path).lock()
    assert file.exists()


def test_of_two_that_take_a_lock_over_one_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that was taken over in the meantime is not removed."""
    _without_flock(monkeypatch, errno.ENOLCK)
    file, other = tmp_path / ".lock", f"process {os.getpid()} on {socket.gethostname()}"
    file.write_text(f"process {_ended()} on {socket.gethostname()}")
    made = locks_of._make

    def late(path: Path) -> None:
        made(path)
        if path != file:
            file.write_text(other)

    monkeypatch.setattr(locks_of, "_make", late)
    with pytest.raises(RunError, match=f"locked by {re.escape(other)}"):
        RunDirectory(tmp_path).lock()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


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
            directory.lock().close()
        finally:
            holder.kill()
            os.kill(child, signal.SIGKILL)
