from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from charlm.data.sources import find
from charlm.system.errors import CorpusError
from charlm.system.files import anchored, append_whole, move, reason, remove_leftovers, write_whole

OLD, NEW = b"what was there, and longer", b"what comes"


def listing(directory: Path) -> dict[str, bytes]:
    """Return every file of a directory with its contents, hidden ones too."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
@pytest.mark.parametrize("old", [None, OLD])
def test_a_file_is_replaced_whole(tmp_path: Path, old: bytes | None, mask: int, mode: int) -> None:
    """Until all is written the old contents are read; permissions follow the umask; no other file stays."""
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
        path.chmod(0o640)
    contents = []

    def write(stream: BinaryIO) -> None:
        stream.write(NEW)
        stream.flush()
        contents.append(path.read_bytes() if path.exists() else None)

    before = os.umask(mask)
    write_whole(path, write)
    os.umask(before)
    assert contents == [old]
    assert listing(tmp_path) == {"file": NEW}
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError(), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [None, OLD])
@pytest.mark.parametrize("call", ["", "fsync", "replace"])
def test_an_error_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes | None, error: BaseException, call: str
) -> None:
    """A full disk, a bug or an interrupt while writing, flushing or renaming: old contents stay."""
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    before = listing(tmp_path)

    def fail(*_: object) -> None:
        raise error

    def write(stream: BinaryIO) -> None:
        stream.write(NEW)
        stream.flush()
        if not call:
            fail()

    if call:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(type(error)) as caught:
        write_whole(path, write)
    assert caught.value is error
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("call", "number", "fails"),
    [("fsync", errno.EINVAL, False), ("fsync", errno.EIO, True), ("open", errno.EACCES, False)],
)
def test_a_directory_that_cannot_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, fails: bool
) -> None:
    """A system that cannot open or flush a directory is no error; a broken disk is one."""
    real = getattr(os, call)

    def refuse(file: Any, *rest: Any) -> Any:
        if stat.S_ISDIR(os.stat(file).st_mode):
            raise OSError(number, os.strerror(number))
        return real(file, *rest)

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="error") if fails else contextlib.nullcontext():
        write_whole(tmp_path / "file", lambda stream: stream.write(NEW))
    assert (tmp_path / "file").read_bytes() == NEW


@pytest.mark.parametrize("place", ["missing/file", "directory"])
def test_a_place_where_no_file_can_be_is_an_error(tmp_path: Path, place: str) -> None:
    """A missing directory, or a directory of that name, is the system's own error and leaves no trace."""
    (tmp_path / "directory").mkdir()
    with pytest.raises((FileNotFoundError, IsADirectoryError)):
        write_whole(tmp_path / place, lambda stream: stream.write(NEW))
    assert [path.name for path in tmp_path.rglob("*")] == ["directory"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such files")
def test_only_a_regular_file_is_replaced(tmp_path: Path) -> None:
    """A pipe or a device is an error: `--out /dev/null` does not put a file in its place."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        write_whole(tmp_path / "pipe", lambda stream: stream.write(NEW))
    assert (tmp_path / "pipe").is_fifo()


def test_a_full_disk_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is added to a file comes whole, in as many parts as the system likes, or not at all."""

    class Disk:
        """Takes three bytes at a time, and only `room` of them."""

        def __init__(self, stream: BinaryIO) -> None:
            self.stream, self.seek = stream, stream.seek

        def __enter__(self) -> Disk:
            return self

        def __exit__(self, *_: object) -> None:
            self.stream.close()

        def write(self, data: memoryview) -> int:
            nonlocal room
            if not room:
                raise OSError(errno.ENOSPC, "full")
            count = self.stream.write(data[: min(3, room)])
            room -= count
            return count

    room = 12
    file = tmp_path / "log"
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda *args, **named: Disk(opened(*args, **named)))
    assert append_whole(file, b"12345678") == 8
    with pytest.raises(OSError, match="full"):
        append_whole(file, b"abcdefgh")
    monkeypatch.undo()
    assert file.read_bytes() == b"12345678"


@pytest.mark.parametrize(("of_the_living", "left"), [(True, 1), (False, 2)])
def test_leftovers_are_removed(tmp_path: Path, of_the_living: bool, left: int) -> None:
    """Those of running processes only where nobody else writes; no other hidden file."""
    for name in (f".last.npz.{os.getpid()}.tmp", f".last.npz.{10**20}.tmp", ".last.npz.mine.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, of_the_living)
    assert len(list(tmp_path.iterdir())) == left


def test_contents_reach_the_disk_before_the_name_and_the_name_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut finds the old file or the new: flushed whole, then renamed, then the directory flushed."""
    path = tmp_path / "file"
    events: list[object] = []

    def spy(name: str, note: Callable[..., object]) -> None:
        real: Callable[..., Any] = getattr(os, name)

        def noted(*arguments: Any) -> Any:
            events.append(note(*arguments))
            return real(*arguments)

        monkeypatch.setattr(os, name, noted)

    def flushed(descriptor: int) -> object:
        found = os.fstat(descriptor)
        if os.path.samestat(found, tmp_path.stat()):
            return "directory flushed"
        return "file flushed", found.st_size

    spy("fsync", flushed)
    spy("replace", lambda source, target: ("renamed to", Path(target).name))
    write_whole(path, lambda stream: stream.write(NEW))
    assert events == [("file flushed", len(NEW)), ("renamed to", "file"), "directory flushed"]
    move(path, tmp_path / "moved")
    assert events[3:] == [("renamed to", "moved"), "directory flushed"]


@pytest.mark.parametrize("old", [None, OLD], ids=["dangling", "whole"])
@pytest.mark.parametrize("relative", [True, False])
def test_a_link_is_followed(tmp_path: Path, old: bytes | None, relative: bool) -> None:
    """A link stays a link, and the file that it leads to is what is written, even if it is new."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    if old is not None:
        (there / "file").write_bytes(old)
    link = here / "link"
    link.symlink_to(Path("../there/file") if relative else there / "file")
    write_whole(link, lambda stream: stream.write(NEW))
    assert link.is_symlink()
    assert listing(there) == {"file": NEW}
    assert [path.name for path in here.iterdir()] == ["link"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file or directory", "/a/b"), "no such file or directory"),
        (OSError(28, "No space left on device"), "no space left on device"),
        (OSError("Something Else"), "something Else"),
        (OSError(), ""),
    ],
)
def test_reasons_are_readable(error: OSError, words: str) -> None:
    """A reason is the system's words alone, small to begin with: no number, no path."""
    assert reason(error) == words


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("a.txt", "a.txt"),
        ("./below/../a.txt", "a.txt"),
        ("below", "below"),
        ("../beside.txt", "../beside.txt"),
        ("missing.txt", "missing.txt"),
        ("*.txt", "*.txt"),
        ("**/[ab].txt", "**/[ab].txt"),
        ("a[x].txt", "a[x].txt"),
        ("b[x].txt", "b[x].txt"),
        ("x*" * 200, "x*" * 200),
    ],
)
@pytest.mark.parametrize("name", ["plain", "[ab]*"])
def test_a_relative_path_means_the_same_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str, wanted: str
) -> None:
    """Anchored where it was written, a path leads to the same files; only what was a pattern is one."""
    directory = tmp_path / name
    for place in (directory, tmp_path / "a", tmp_path / "ab"):  # the name as a pattern fits others
        (place / "below").mkdir(parents=True)
    (directory / "a[x].txt").write_text("")
    for place in (tmp_path / "a", tmp_path / "ab"):
        (place / "missing.txt").write_text("")
    monkeypatch.chdir(directory)
    for here in (directory, Path()):
        found = anchored(path, here)
        assert Path(found).is_absolute()
        if name == "plain":
            assert found == os.path.normpath(directory / wanted)
        # patterns, and what is not there, are looked for here alone
        with contextlib.suppress(CorpusError):
            assert {Path(source.name).parent for source in find([found])} <= {Path(found).parent, directory}


@pytest.mark.parametrize("path", ["-", "/absolute/a.txt", "/absolute/*.txt"])
def test_other_paths_are_not_anchored(tmp_path: Path, path: str) -> None:
    """Standard input and absolute paths stay as they are."""
    assert anchored(path, tmp_path) == path
