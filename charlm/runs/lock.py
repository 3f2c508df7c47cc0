"""The lock of a directory, so that one process at a time trains in it."""

import contextlib
import os
import re
import shlex
from pathlib import Path

from charlm.system.errors import RunError, shortened
from charlm.system.files import lives
from charlm.system.team import machine

_descriptors: set[int] = set()
"""Open directories whose locks this process holds."""


def lock(directory: Path) -> contextlib.ExitStack:
    """Lock a directory until the result is closed, or its `with` block or the process ends.

    A forked child does not hold the lock. The directory itself is locked, without a lock file.

    Where the system or the file system has no `flock` (Lustre, NFS without its lock service,
    Windows), a file `.lock` that names the host and the process is the lock. The file of a killed
    process is taken over on its host, and must be removed by hand on another. Where NFS has
    `flock`, Linux locks a directory for its own machine only.

    Raises `BlockingIOError` if the directory is locked, `RunError` if it is locked by such a file.
    """
    held = contextlib.ExitStack()
    descriptor = _flock(directory)
    if descriptor is None:
        file = directory / ".lock"
        _take(file)
        held.callback(_remove_own, file)
    else:
        _descriptors.add(descriptor)
        held.callback(_close, descriptor)
    return held


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


def _close(descriptor: int) -> None:
    """Close a descriptor, unless that has been done: its number may be another file's by now."""
    if descriptor in _descriptors:
        _descriptors.remove(descriptor)
        os.close(descriptor)


def _close_in_child() -> None:
    # a forked process has copies of the descriptors, and would keep the locks after its parent ended
    for descriptor in list(_descriptors):
        _close(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def _take(file: Path) -> None:
    """Make `file`, which names this process; raises `RunError` if another one has it.

    Only the process that has made a second file removes the file of a killed process. Otherwise one
    of two could remove the other's new file instead.
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
    """Whether a lock names a process of this machine that has ended."""
    process = re.fullmatch(rf"process (\d+) on {re.escape(machine())}", _text(file))
    return process is not None and not lives(int(process[1]))


def _remove_own(file: Path) -> None:
    """Remove the lock of this process; a forked one leaves its parent's alone."""
    if _text(file) == _this_process():
        file.unlink(missing_ok=True)
