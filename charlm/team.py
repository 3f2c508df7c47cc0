"""A batch split over processes that share memory.

The streams of a batch do not meet before their gradients are summed, so each worker takes some of
them through the whole window, elementwise work and all. Threads inside the matrix product alone
would leave the elementwise work, half of the time in small networks, to one of them; threads of
this interpreter would hand its lock to and fro between operations of a microsecond, and two of
them reach 1.4 times the speed of one at H = 128 where two processes reach 1.9.

Workers are forked, so that they know all that was made before them, and work on arrays made by
`shared`. BLAS is to have one thread.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import resource
import signal
import sys
import traceback
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.errors import WorkerError

FEWEST = 4
"""Streams below which a worker of its own does not pay."""

_FORKS = sys.platform == "linux"
"""Elsewhere forking is missing, or not safe beside the system's BLAS: workers are threads there."""

_BEGIN, _END, _DONE, _FAILED = b"b", b"e", b"d", b"f"


def shared(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of zeros in memory that this process and the workers it makes later all see."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, max(1, size))
    return np.frombuffer(memory, dtype, count=math.prod(shape)).reshape(shape)


def peak_bytes() -> int:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _private_bytes() -> int:
    """Memory that this process shares with no other (Linux)."""
    resident, with_others = Path("/proc/self/statm").read_text().split()[1:3]
    return (int(resident) - int(with_others)) * os.sysconf("SC_PAGESIZE")


class Team:
    """Workers that do `work(number, part)` at the same time, each for its part of a batch.

    The first part is this process's own. `work` must leave its results in arrays made by
    `shared`, and read from such arrays what changes between calls of `run`.

    Attributes
    ----------
    parts
        A slice of the batch for each worker: contiguous, in order, as even as can be, so that
        results do not depend on which worker was first.
    """

    def __init__(self, batch: int, workers: int, work: Callable[[int, slice], object]) -> None:
        count = max(1, min(workers, batch // FEWEST))
        edges = [batch * number // count for number in range(count + 1)]
        self.parts = [slice(start, stop) for start, stop in pairwise(edges)]
        self._work = work
        self._grown = shared((count,), np.int64)
        self._threads = ThreadPoolExecutor(count - 1) if count > 1 and not _FORKS else None
        self._workers = [_Worker(self, number) for number in range(1, count)] if _FORKS else []

    def run(self) -> None:
        """Do all parts; returns when the last is done, and raises what the first part raises.

        Raises `WorkerError` if another part failed or its worker died.
        """
        if self._threads is not None:
            later = [
                self._threads.submit(self._work, number, part)
                for number, part in enumerate(self.parts)
                if number > 0
            ]
            self._work(0, self.parts[0])
            for future in later:
                future.result()
            return
        for worker in self._workers:
            worker.begin()
        try:
            self._work(0, self.parts[0])
        finally:
            answers = [worker.end() for worker in self._workers]
        if any(answer != _DONE for answer in answers):
            raise WorkerError(
                "a worker process failed, or was killed (out of memory?); the last checkpoint is whole: "
                "go on from it, or use fewer workers with run.threads"
            )

    @property
    def worker_bytes(self) -> int:
        """Memory of the other processes' own, beyond what they were made with."""
        return int(self._grown.sum())

    def close(self) -> None:
        """Dismiss the workers; the team can do nothing after it."""
        for worker in self._workers:
            worker.dismiss()
        if self._threads is not None:
            self._threads.shutdown()


class _Worker:
    """A forked process that waits for a word, does its part, and says so."""

    def __init__(self, team: Team, number: int) -> None:
        wake, self._wake = os.pipe()
        self._answer, answer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(self._wake)
            os.close(self._answer)
            at_first = _private_bytes()

            def part() -> None:
                team._work(number, team.parts[number])
                team._grown[number] = _private_bytes() - at_first

            _serve(part, wake, answer)
        os.close(wake)
        os.close(answer)
        self.dismiss = weakref.finalize(self, _dismiss, pid, self._wake, self._answer)
        """End the process; also called when the worker is forgotten, and at exit."""

    def begin(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # the missing answer tells
            os.write(self._wake, _BEGIN)

    def end(self) -> bytes:
        return os.read(self._answer, 1)


def _serve(work: Callable[[], object], wake: int, answer: int) -> None:
    """The worker's life: it ends when it is told to, or when the process that made it has gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the process that made it decides
    status = 0
    try:
        while os.read(wake, 1) == _BEGIN:
            work()
            os.write(answer, _DONE)
    except BaseException:
        traceback.print_exc()
        status = 1
        with contextlib.suppress(OSError):
            os.write(answer, _FAILED)
    finally:
        os._exit(status)  # nothing that the parent left to be done at its exit is done twice


def _dismiss(pid: int, wake: int, answer: int) -> None:
    # workers made later hold this pipe open too, so that closing it here is not enough
    with contextlib.suppress(BrokenPipeError):
        os.write(wake, _END)
    os.close(wake)
    os.close(answer)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
