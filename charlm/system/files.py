"""Files that are written whole or left alone, and readable reasons when they cannot be."""

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
    """The operating system's own words for `error`, in lower case and without its number."""
    words = error.strerror or str(error)
    return words[:1].lower() + words[1:]


def anchored(path: str, directory: Path) -> str:
    """`path` as it is from anywhere, if it is relative to `directory`; `-` stays."""
    if path == STANDARD_INPUT or Path(path).is_absolute():
        return path
    here = os.path.realpath(directory)
    whole = os.path.join(here, path)
    if glob.has_magic(whole) and not os.path.lexists(whole):
        # only what was written as a pattern is one
        parent, name = os.path.split(os.path.join(glob.escape(here), path))
        return os.path.join(os.path.realpath(parent), name)
    # a link stays a link: it may lead to another file one day, or to a pipe
    parent, name = os.path.split(whole)
    if name in ("", ".", ".."):
        return os.path.realpath(whole)
    return os.path.join(os.path.realpath(parent), name)


def write_whole(path: Path, write: Callable[[BinaryIO], object], lasting: bool = True) -> None:
    """Replace `path` by what `write` puts into a stream, whole or not at all.

    The new file is written beside the old one, flushed to disk and then renamed over it, and
    the directory is flushed after it: a reader of `path` finds the old contents or the new at any
    moment, after a power cut too. A link is followed, not replaced; permissions follow the
    umask. On any error the temporary file is removed and `path` is as it was. Without `lasting`
    nothing is flushed: after a power cut the file may hold anything.

    Raises `OSError` as the operating system gave it, except the file's name, which is `path`.
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
    """Add `data` at the end of `path`, all of it or nothing; returns the file's length after it.

    Raises `OSError` as the operating system gave it.
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
    """Wait until what was written to `path` is on the disk; raises `OSError`."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def remove_leftovers(directory: Path, of_the_living: bool = True) -> None:
    """Remove the temporary files of writers that were killed.

    Nobody else may be writing here; or, without `of_the_living`, nobody on another machine.
    """
    for file in directory.glob(".*.*.tmp"):
        writer = file.name.split(".")[-2]
        if writer.isdecimal() and (of_the_living or not _lives(int(writer))):
            with contextlib.suppress(OSError):
                file.unlink()


def _lives(pid: int) -> bool:
    if os.name != "posix":
        return True  # where asking could end it
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # somebody else's
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _flush_directory(directory: Path) -> None:
    """Make a rename in `directory` last. Systems that cannot open a directory do it themselves."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
