"""A batch split over threads.

The streams of a batch do not meet before their gradients are summed, so each thread takes some of
them through the whole window, elementwise work and all. (Threads inside the matrix product alone
leave the elementwise work, half of the time in small networks, to one of them.) NumPy lets go of
the interpreter's lock inside its loops; BLAS is to have one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

Result = TypeVar("Result")


class Shards:
    """Threads, and the streams that each of them takes.

    Attributes
    ----------
    parts
        A slice of the batch for each thread: contiguous, in order, as even as can be. Results
        come back in this order, so that sums over them do not depend on which thread was first.
    """

    def __init__(self, batch: int, threads: int) -> None:
        count = max(1, min(threads, batch // _FEWEST))
        edges = [batch * k // count for k in range(count + 1)]
        self.parts = [slice(start, stop) for start, stop in pairwise(edges)]
        self._others = ThreadPoolExecutor(count - 1) if count > 1 else None

    def map(self, work: Callable[[int, slice], Result]) -> list[Result]:
        """Call `work(number, part)` for every part, each in its thread; this thread takes the first."""
        if self._others is None:
            return [work(0, self.parts[0])]
        later = [
            self._others.submit(work, number, part) for number, part in enumerate(self.parts) if number > 0
        ]
        first = work(0, self.parts[0])
        return [first, *(future.result() for future in later)]


_FEWEST = 4
"""Streams below which a thread of its own does not pay."""
