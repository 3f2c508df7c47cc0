"""Files that are written whole or not at all, and readable reasons for errors."""

import contextlib
import errno
import glob
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from charlm.system.errors import CharlmError

STANDARD_INPUT = "-"
"""The path that means standard input."""

_DESCRIPTOR = re.compile(r"/dev/fd/\d+|/proc/(self|\d+)/fd/\d+")


def is_descriptor(path: str) -> bool:
    """Whether a path, such as a shell's `<(…)`, names an open file and means nothing later."""
    return _DESCRIPTOR.fullmatch(path) is not None


def reason(error: OSError) -> str:
    """The message of the operating system for `error`, lowercase at the start, without its number."""
    message = error.strerror or str(error)
    return message[:1].lower() + message[1:]


@contextlib.contextmanager
def os_errors_as(kind: type[CharlmError], what: str) -> Iterator[None]:
    """Within the block an `OSError` is a `kind`: `what`, such as `FILE cannot be read`, and the reason."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {reason(error)}") from error


def byte_size(number: int) -> str:
    """Bytes as a person reads them: `45 MB`, `2.3 GB`."""
    for unit, bytes_of in (("TB", 10**12), ("GB", 10**9)):
        if number >= bytes_of:
            return f"{number / bytes_of:,.1f} {unit}"
    return f"{math.ceil(number / 1e6):,} MB"


def anchored(path: str, directory: Path) -> str:
    """The absolute form of a `path` relative to `directory`; `-` is unchanged, a leading `~` is a home."""
    path = os.path.expanduser(path)
    if path in (STANDARD_INPUT, "/dev/stdin"):
        return STANDARD_INPUT
    if Path(path).is_absolute():
        return path
    base = os.path.realpath(directory)
    joined = os.path.join(base, path)
    if glob.has_magic(joined) and not os.path.lexists(joined):
        # only `path` is a pattern: special characters in the directory are escaped
        parent, name = os.path.split(os.path.join(glob.escape(base), path))
        return os.path.join(os.path.realpath(parent), name)
    # the link itself is not resolved: its target may change, or be a pipe
    parent, name = os.path.split(joined)
    if name in ("", ".", ".."):
        return os.path.realpath(joined)
    return os.path.join(os.path.realpath(parent), name)


def expanded(path: Path) -> Path:
    """The path with a home directory in the place of a leading `~`, if there is that home."""
    return Path(os.path.expanduser(path))


def write_whole(path: Path, write: Callable[[BinaryIO], object], lasting: bool = True) -> None:
    """Replace `path` by what `write` writes to a stream, whole or not at all.

    The new file is written beside the old one, flushed to disk and renamed over it; then the
    directory is flushed. A reader finds the old contents or the new ones at any moment, even after
    a power cut. A link is followed, not replaced. Permissions follow the umask. On any error the
    temporary file is removed and `path` is unchanged. Without `lasting` nothing is flushed: after
    a power cut the contents of the file are undefined.

    Raises the `OSError` of the operating system, with `path` as its file name.
    """
    target = Path(os.path.realpath(path))
    if os.path.exists(target) and not (os.path.isfile(target) or os.path.isdir(target)):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            write(stream)
            if lasting:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(temporary, target)
        if lasting:
            _flush_directory(target.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None
        raise


def write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write_whole` a file that a person has named; raises `CharlmError` naming it and the cause."""
    with os_errors_as(CharlmError, f"{path} cannot be written"):
        write_whole(path, write)


def move(source: Path, target: Path) -> None:
    """Replace the file `target` by `source`, lastingly; raises `OSError`."""
    os.replace(source, target)
    _flush_directory(target.parent)


def append_whole(path: Path, data: bytes) -> int:
    """Add `data` at the end of `path`, all of it or nothing; returns the new length of the file.

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
    """Wait until the contents of `path` are on disk; raises `OSError`."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def remove_leftovers(directory: Path, of_the_living: bool = True) -> None:
    """Remove the temporary files of writers that were killed.

    No other process may be writing here. Without `of_the_living`, files of running processes on
    this machine are kept, and only processes on other machines must not be writing here.
    """
    for file in directory.glob(".*.*.tmp"):
        writer = file.name.split(".")[-2]
        if writer.isdecimal() and (of_the_living or not lives(int(writer))):
            with contextlib.suppress(OSError):
                file.unlink()


def lives(pid: int) -> bool:
    """Whether a process of this machine runs; true where that cannot be known."""
    if os.name != "posix":
        return True  # on Windows `os.kill` could end the process
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # the process of another user
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _flush_directory(directory: Path) -> None:
    """Flush a rename in `directory` to disk, where the system can open a directory and flush one."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # as some network file systems say
            raise
    finally:
        os.close(descriptor)
