"""A pool of worker processes that share memory.

The streams of a batch are independent until their gradients are summed, so each worker takes some
of them through the whole window, elementwise work included. Threads inside the matrix product
alone would leave the elementwise work, half of the time in small networks, to one of them. Threads
of this interpreter would hand its lock to and fro between operations of a microsecond: two of them
reach 1.4 times the speed of one at H = 128, two processes 1.9 times.

Workers are forked: they know everything that was made before them, and share the arrays that were
made by `shared`. BLAS must use one thread.
"""

import contextlib
import math
import mmap
import os
import pickle
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

from charlm.system.errors import WorkerError

_SPIN = 0.0005
"""Seconds that a wait keeps its CPU busy: waking up takes some 50 µs, and most waits are shorter."""

_FORKS = sys.platform == "linux"
"""Elsewhere fork is missing, or unsafe beside the system's BLAS: workers are threads there."""

_MESSAGE_BYTES = 4096
"""Most bytes of a message: what a pipe passes on in one piece (POSIX's PIPE_BUF on Linux)."""

Task = Callable[..., Any]
"""Takes the number of an item and further arguments; returns a small value that pickle knows."""


def shared(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of zeros in memory shared by this process and the workers that it makes later."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, max(1, size))
    return np.frombuffer(memory, dtype, count=math.prod(shape)).reshape(shape)


FEWEST = 2
"""Streams of a shard below which one more shard, and one more worker, does not pay."""


def slices(size: int, count: int, fewest: int = 1) -> list[slice]:
    """`size` things in `count` slices: contiguous, in order, as even as possible.

    In fewer where a slice would have less than `fewest`; in one at least.
    """
    count = max(1, min(count, size // fewest))
    edges = [size * number // count for number in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


class WorkerPool(contextlib.AbstractContextManager["WorkerPool"]):
    """Processes that do items of the same task at the same time.

    A context manager. The first worker is this process. The tasks are named when the pool is
    made. They must leave large results in arrays made by `shared`, and read from such arrays what
    changes after the pool is made; small arguments and results are passed.
    """

    def __init__(self, workers: int, *tasks: Task) -> None:
        """`workers` processes, this one included; `tasks` are the functions that `map` may be given."""
        self._tasks = tasks
        self._count = max(1, workers)
        others = self._count - 1
        self._threads = ThreadPoolExecutor(others) if others and not _FORKS else None
        self._workers = [_Worker(tasks) for _ in range(others)] if _FORKS else []

    def map(self, task: Task, items: range, *arguments: Any) -> list[Any]:
        """`[task(item, *arguments) for item in items]`, divided over the workers.

        Raises what an item of this process raises, and `WorkerError` if a worker failed or died.
        """
        which = self._tasks.index(task)
        own, *others = [items[share] for share in slices(len(items), self._count)]
        if self._threads is not None:
            futures = [self._threads.submit(_each, task, share, arguments) for share in others]
            results = _each(task, own, arguments)
            return [*results, *(result for future in futures for result in future.result())]
        busy = self._workers[: len(others)]
        for worker, share in zip(busy, others, strict=True):
            worker.begin(which, share, arguments)
        try:
            results = _each(task, own, arguments)
        finally:
            answers = [worker.end() for worker in busy]
        for answer in answers:
            if answer is None:
                raise WorkerError(
                    "a worker process failed or was killed (out of memory?); the last checkpoint is whole: "
                    "resume from it, or use fewer workers with run.threads"
                )
            results += answer
        return results

    @property
    def worker_bytes(self) -> int:
        """Memory of the other processes' own, beyond what they were made with."""
        return sum(_private_bytes(worker.pid) - worker.at_first for worker in self._workers)

    def close(self) -> None:
        """End the workers; the pool can do nothing after it."""
        for worker in self._workers:
            worker.dismiss()
        if self._threads is not None:
            self._threads.shutdown()

    def __exit__(self, *error: object) -> None:
        self.close()


def _each(task: Task, items: Sequence[int], arguments: Sequence[Any]) -> list[Any]:
    return [task(item, *arguments) for item in items]


class _Worker:
    """A forked process that waits for a message, does those items, and sends their results."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        orders, self._orders = os.pipe()
        self._results, results = os.pipe()
        self.at_first = _private_bytes(os.getpid())
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._orders)
            os.close(self._results)
            _serve(tasks, orders, results)
        os.close(orders)
        os.close(results)
        self.dismiss = weakref.finalize(self, _dismiss, self.pid, self._orders, self._results)
        """End the process; also called when the worker is garbage collected, and at exit."""

    def begin(self, which: int, items: range, arguments: Sequence[Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the missing answer says it
            _send(self._orders, (which, items, arguments))

    def end(self) -> list[Any] | None:
        """The results; None if there are none because the worker failed."""
        results: list[Any] | None = _receive(self._results)
        return results


def _private_bytes(pid: int) -> int:
    """Memory of a process that belongs to no file and is not meant to be shared (Linux)."""
    resident, with_others = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    return (int(resident) - int(with_others)) * os.sysconf("SC_PAGESIZE")


def _serve(tasks: Sequence[Task], orders: int, results: int) -> None:
    """The loop of a worker: it ends on an order to, or when the process that made it has ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the process that made it decides
    status = 0
    try:
        while (order := _receive(orders)) is not None:
            which, items, arguments = order
            _send(results, _each(tasks[which], items, arguments))
    except BrokenPipeError:  # nobody is there to be answered
        status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
        with contextlib.suppress(OSError):
            _send(results, None)
    finally:
        os._exit(status)  # what the parent has left to do at its exit must not be done twice


def _send(pipe: int, message: Any) -> None:
    data = pickle.dumps(message)
    if len(data) > _MESSAGE_BYTES:
        raise ValueError(f"a message of {len(data)} bytes: large values belong in shared arrays")
    os.write(pipe, data)


def _receive(pipe: int) -> Any:
    """The next message from a pipe; None at its end."""
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    patience = time.perf_counter() + _SPIN
    while not ready.poll(0) and time.perf_counter() < patience:
        os.sched_yield()
    data = os.read(pipe, _MESSAGE_BYTES)
    return pickle.loads(data) if data else None  # noqa: S301 (from a process that this one made)


def _dismiss(pid: int, orders: int, results: int) -> None:
    # workers made later hold this pipe open too, so that closing it here is not enough
    with contextlib.suppress(BrokenPipeError):
        _send(orders, None)
    os.close(orders)
    os.close(results)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
