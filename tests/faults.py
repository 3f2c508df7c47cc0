"""Disks that fail and processes that are killed, on demand."""

from __future__ import annotations

import ctypes
import io
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


class Disk:
    """Every call that changes a file, counted; some of them fail.

    While it is patched in, `failing(number)` is asked before each call, counted from 1, and the
    call raises `OSError(errno)` instead of being made if it says so. With `short`, a write takes
    half of what it is given, as a disk that is about to be full does.
    """

    def __init__(self, errno: int, failing: Callable[[int], bool], short: bool = False) -> None:
        self.errno, self.failing, self.short = errno, failing, short
        self.calls = self.failed = 0

    def __call__(self, *path: Path) -> None:
        """Count one more call, and fail if it is its turn; only what takes a path names it."""
        self.calls += 1
        if self.failing(self.calls):
            self.failed += 1
            raise OSError(self.errno, os.strerror(self.errno), *map(str, path))

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        """Stand between the program and the disk until `patch` is undone."""
        open_path, fsync, replace, truncate = Path.open, os.fsync, os.replace, os.truncate

        def opened(path: Path, mode: str = "r", buffering: int = -1, **options: Any) -> Any:
            if "r" in mode:
                return open_path(path, mode, buffering, **options)
            self(path)
            raw = _Raw(self, open_path(path, mode, 0))
            return raw if buffering == 0 else io.BufferedWriter(raw)

        def checked(call: Callable[..., Any]) -> Callable[..., Any]:
            def made(*arguments: Any) -> Any:
                self()
                return call(*arguments)

            return made

        patch.setattr(Path, "open", opened)
        for name, call in (("fsync", fsync), ("replace", replace), ("truncate", truncate)):
            patch.setattr(os, name, checked(call))


class _Raw(io.RawIOBase):
    """An open file whose writes may fail."""

    def __init__(self, disk: Disk, file: Any) -> None:
        self.disk, self.file = disk, file

    def write(self, data: Any) -> int:
        self.disk()
        written: int = self.file.write(data[: -(-len(data) // 2)] if self.disk.short else data)
        return written

    def seek(self, offset: int, whence: int = 0) -> int:
        place: int = self.file.seek(offset, whence)
        return place

    def tell(self) -> int:
        place: int = self.file.tell()
        return place

    def fileno(self) -> int:
        number: int = self.file.fileno()
        return number

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        super().close()
        self.file.close()


_TRACE_ME, _SYSCALL = 0, 24  # <sys/ptrace.h>


def at_system_calls(directory: Path, work: Callable[[], object]) -> Iterator[Path]:
    """Run `work` in a process, and yield copies of `directory` as a kill at any moment would leave it.

    The process waits before and after each of its system calls. Whenever the files differ from those
    of the moment before, they are copied, to one place again and again. Linux.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    copy, seen = directory.with_name(f"{directory.name} killed"), None
    child = os.fork()
    if child == 0:
        status = 1
        try:
            libc.ptrace(_TRACE_ME, 0, None, None)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            status = 0
        finally:
            os._exit(status)
    try:
        while True:
            _, status = os.waitpid(child, 0)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                break
            now = {file: file.is_file() and file.read_bytes() for file in sorted(directory.rglob("*"))}
            if now != seen:
                seen = now
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(directory, copy)
                yield copy
            if libc.ptrace(_SYSCALL, child, None, None) != 0:
                raise OSError(ctypes.get_errno(), "ptrace")
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    assert status == 0
