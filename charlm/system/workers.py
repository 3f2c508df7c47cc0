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
import select
import signal
import sys
import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.errors import WorkerError

FEWEST = 4
"""Streams below which a worker of its own does not pay."""

_SPIN = 0.0005
"""Seconds that a wait keeps its CPU: to be woken takes some 50 µs, and most waits are shorter."""

_FORKS = sys.platform == "linux"
"""Elsewhere forking is missing, or not safe beside the system's BLAS: workers are threads there."""

Task = Callable[[int, slice], object]
"""What a worker does, given its number and its part of the batch."""

_END, _DONE, _FAILED = b"\xff", b"d", b"f"
"""Words; every other byte is the number of a task."""


def shared(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of zeros in memory that this process and the workers it makes later all see."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, max(1, size))
    return np.frombuffer(memory, dtype, count=math.prod(shape)).reshape(shape)


def peak_bytes() -> int:
    """The most memory that this process has had so far."""
    import resource  # which not every system has

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def shard_slices(batch: int, workers: int) -> list[slice]:
    """Parts of a batch for at most so many workers: contiguous, in order, as even as can be.

    Fewer where a part would have less than `FEWEST` streams; one at least.
    """
    count = max(1, min(workers, batch // FEWEST))
    edges = [batch * number // count for number in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


class WorkerPool:
    """Workers, one for each part of a batch, that do the same task at the same time.

    The first worker is this process. Tasks must leave their results in arrays made by `shared`,
    and read from such arrays what changes after the team is made.
    """

    def __init__(self, parts: Sequence[slice], *tasks: Task) -> None:
        self._parts, self._tasks = parts, tasks
        later = range(1, len(parts))
        self._threads = ThreadPoolExecutor(len(later)) if later and not _FORKS else None
        self._workers = [_Worker(parts[number], number, tasks) for number in later] if _FORKS else []

    def run(self, task: Task | None = None) -> None:
        """Do all parts of a task, the first if none is named; returns when the last is done.

        Raises what the first part raises, and `WorkerError` if another part failed or its worker
        died.
        """
        which = self._tasks.index(task) if task else 0
        task = self._tasks[which]
        if self._threads is not None:
            later = [
                self._threads.submit(task, number, part)
                for number, part in enumerate(self._parts)
                if number > 0
            ]
            task(0, self._parts[0])
            for future in later:
                future.result()
            return
        for worker in self._workers:
            worker.begin(which)
        try:
            task(0, self._parts[0])
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
        return sum(worker.grown for worker in self._workers)

    def close(self) -> None:
        """Dismiss the workers; the team can do nothing after it."""
        for worker in self._workers:
            worker.dismiss()
        if self._threads is not None:
            self._threads.shutdown()


class _Worker:
    """A forked process that waits for a word, does its part of that task, and says so."""

    def __init__(self, part: slice, number: int, tasks: Sequence[Task]) -> None:
        wake, self._wake = os.pipe()
        self._answer, answer = os.pipe()
        self._at_first = _private_bytes(os.getpid())
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._wake)
            os.close(self._answer)
            _serve(lambda which: tasks[which](number, part), wake, answer)
        os.close(wake)
        os.close(answer)
        self.dismiss = weakref.finalize(self, _dismiss, self._pid, self._wake, self._answer)
        """End the process; also called when the worker is forgotten, and at exit."""

    def begin(self, which: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # the missing answer tells
            os.write(self._wake, bytes([which]))

    def end(self) -> bytes:
        return _word(self._answer)

    @property
    def grown(self) -> int:
        return _private_bytes(self._pid) - self._at_first


def _private_bytes(pid: int) -> int:
    """Memory of a process that belongs to no file and is not meant to be shared (Linux)."""
    resident, with_others = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    return (int(resident) - int(with_others)) * os.sysconf("SC_PAGESIZE")


def _serve(work: Callable[[int], object], wake: int, answer: int) -> None:
    """The worker's life: it ends when it is told to, or when the process that made it has gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the process that made it decides
    status = 0
    try:
        while (word := _word(wake)) not in (_END, b""):
            work(word[0])
            os.write(answer, _DONE)
    except BaseException:
        traceback.print_exc()
        status = 1
        with contextlib.suppress(OSError):
            os.write(answer, _FAILED)
    finally:
        os._exit(status)  # nothing that the parent left to be done at its exit is done twice


def _word(pipe: int) -> bytes:
    """The next word from a pipe, or nothing at its end."""
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    patience = time.perf_counter() + _SPIN
    while not ready.poll(0) and time.perf_counter() < patience:
        os.sched_yield()
    return os.read(pipe, 1)


def _dismiss(pid: int, wake: int, answer: int) -> None:
    # workers made later hold this pipe open too, so that closing it here is not enough
    with contextlib.suppress(BrokenPipeError):
        os.write(wake, _END)
    os.close(wake)
    os.close(answer)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
