"""Atomic writes, absolute paths, and readable reasons of failures."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

STANDARD_INPUT = "-"
"""The path that means standard input."""


def reason(error: OSError) -> str:
    """The message of the operating system for `error`, lowercase and without its number."""
    words = error.strerror or str(error)
    return words[:1].lower() + words[1:]


def anchored(path: str, directory: Path) -> str:
    """`path` made absolute, if it is relative to `directory`; `-` stays."""
    if path == STANDARD_INPUT or Path(path).is_absolute():
        return path
    here = os.path.realpath(directory)
    whole = os.path.join(here, path)
    if glob.has_magic(whole) and not os.path.lexists(whole):
        # `*` and `?` in the directory are not part of the pattern
        parent, name = os.path.split(os.path.join(glob.escape(here), path))
        return os.path.join(os.path.realpath(parent), name)
    # a symbolic link is not resolved: its target may change, or be a pipe
    parent, name = os.path.split(whole)
    if name in ("", ".", ".."):
        return os.path.realpath(whole)
    return os.path.join(os.path.realpath(parent), name)


def write_whole(path: Path, write: Callable[[BinaryIO], object], lasting: bool = True) -> None:
    """Replace `path` atomically by what `write` puts into a stream.

    The new file is written beside the old one, flushed to disk and renamed over it, and then the
    directory is flushed. A reader finds either the old contents or the new ones at any moment,
    also after a power failure. A symbolic link is followed, not replaced; permissions follow the
    umask. On any error the temporary file is removed and `path` is unchanged. Without `lasting`
    nothing is flushed: after a power failure the contents are undefined.

    Raises the `OSError` of the operating system, with `path` as its file name.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as stream:
            write(stream)
            if lasting:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(beside, target)
        if lasting:
            _flush_directory(target.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def append_whole(path: Path, data: bytes) -> int:
    """Append `data` to `path`, all of it or nothing; returns the file's new length.

    Raises the `OSError` of the operating system.
    """
    with path.open("ab", buffering=0) as stream:
        before = stream.seek(0, os.SEEK_END)
        try:
            left = memoryview(data)
            while left:
                left = left[stream.write(left) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, before)
            raise
    return before + len(data)


def flush(path: Path) -> None:
    """Wait until the contents of `path` are on the disk; raises `OSError`."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def remove_leftovers(directory: Path, of_running: bool = True) -> None:
    """Remove the temporary files of killed writers.

    No other process may be writing in `directory`. Without `of_running`, files of running
    processes are left, and only processes of other machines must not be writing.
    """
    for file in directory.glob(".*.*.tmp"):
        writer = file.name.split(".")[-2]
        if writer.isdecimal() and (of_running or not _is_running(int(writer))):
            with contextlib.suppress(OSError):
                file.unlink()


def _is_running(pid: int) -> bool:
    if os.name != "posix":
        return True  # on Windows, os.kill would end the process
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # a process of another user
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _flush_directory(directory: Path) -> None:
    """Flush a rename in `directory`. Systems that cannot open a directory need no flush."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
