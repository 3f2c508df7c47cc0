"""A team: the processes and machines that compute together.

A team has one or several ranks, which are processes that an MPI launcher has started on one machine or
on many, and each rank has workers, which are processes that it forks. `Team` has one rank;
`mpi.MpiTeam` has the same methods over MPI, and `mpi.connect` returns the one or the other. All ranks
call the same methods in the same order; work for the first rank alone goes through `first`.
"""

from __future__ import annotations

import contextlib
import copy
import os
import socket
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from charlm.system import blas

if TYPE_CHECKING:
    import numpy.typing as npt

    from charlm.system.workers import Task, WorkerPool

    Buffer = npt.NDArray[Any]

Result = TypeVar("Result")


class Team:
    """The team of one rank, and what all teams have in common.

    Attributes
    ----------
    rank, size
        The number of this process, from 0, and the number of all ranks.
    workers
        Processes of each rank that compute, itself included.
    parts
        Parts into which work is divided whose results depend on the division: equal parts give equal
        bits on any team. One per worker, unless `of` is given another number.
    waited
        Seconds in exchanges so far, waiting for other ranks included.
    """

    def __init__(self, workers: int = 1, rank: int = 0, size: int = 1) -> None:
        self.workers, self.rank, self.size = workers, rank, size
        self.waited = 0.0
        self._parts = 0

    def of(self, workers: int | None = None, parts: int = 0) -> Self:
        """The same ranks with another number of workers, or of parts (0: one per worker)."""
        team = copy.copy(self)
        team.workers = workers or self.workers
        team._parts = parts
        return team

    def prepare(self, threads: int = 0) -> Self:
        """Set up BLAS in this process; the team with `threads` workers per rank.

        With 0, the environment decides, or there is one worker per CPU, or per rank if there are several.
        """
        return self.of(blas.prepare(threads, 0 if self.size == 1 else 1))

    @property
    def parts(self) -> int:
        """Parts into which work is divided, see above."""
        return self._parts or self.workers * self.size

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that reads texts, writes runs, and shows what happens."""
        return self.rank == 0

    def pool(self, items: int, *tasks: Task) -> WorkerPool:
        """The workers of this rank, no more than there are `items`, ready for `tasks`."""
        from charlm.system.workers import WorkerPool  # imports NumPy, which `prepare` sets up

        return WorkerPool(min(self.workers, items), *tasks)

    def divide(self, items: int) -> list[range]:
        """The items of each rank: contiguous, in order, as even as possible; the first ranks have some."""
        edges = [-(-items * rank // self.size) for rank in range(self.size + 1)]
        return [range(start, stop) for start, stop in pairwise(edges)]

    def first(self, work: Callable[[], Result]) -> Result:
        """What `work` returns on the first rank, on all ranks; the others do not call it.

        A text in it, which nobody may change, is in the memory of a machine once. If `work` raises
        on the first rank, the others raise `RankError`.
        """
        return work()

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order, on all ranks; for small values."""
        return [value]

    def exchange(
        self, outgoing: Sequence[Sequence[Buffer]], incoming: Sequence[Sequence[Buffer]]
    ) -> Callable[[], None]:
        """A function that sends the contents of arrays, and fills others with what comes.

        `outgoing[r]` goes to rank r, into the arrays that rank has as `incoming` for this one. Arrays are
        contiguous. Every rank calls the function at the same point.
        """
        return lambda: None

    def agree(self, stop: bool) -> bool:
        """Say whether this rank was asked to stop; returns whether all of them stop now.

        The answer travels with the next exchange, so that all ranks stop at the same point.
        """
        return stop

    def together(self) -> bool:
        """Whether all ranks are here, within a moment: a rank that has failed asks if all have."""
        return True

    def abort(self, status: int) -> NoReturn:
        """End this process and all other ranks at once."""
        with contextlib.suppress(OSError):  # nobody may be left to read it
            sys.stdout.flush()
        os._exit(status)


ALONE = Team()
"""One process."""


def machine() -> str:
    """The name of this machine."""
    return socket.gethostname()
