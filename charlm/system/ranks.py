"""Ranks: processes that an MPI launcher has started to do one job, on one machine or on many.

`Ranks` is the process that works alone, with nobody to wait for; `mpi.MpiRanks` has the same methods
over MPI, and `connection.connect` gives the one or the other. All ranks call the same methods in the
same order; what the first rank alone does stands in `first`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    import numpy.typing as npt

    Buffer = npt.NDArray[Any]

Result = TypeVar("Result")


class Ranks:
    """One process that works alone, and what several have in common.

    Attributes
    ----------
    rank, size
        The number of this process, from 0, and of all.
    workers
        Worker processes of a rank unless more are asked for; 0: one for each CPU.
    waited
        Seconds in exchanges so far, waiting for others included.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.workers = 0 if size == 1 else 1
        self.waited = 0.0

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that reads texts, writes runs, and shows what happens."""
        return self.rank == 0

    def divide(self, items: int) -> list[range]:
        """The items of each rank: contiguous, in order, as even as possible; the first ranks have some."""
        edges = [-(-items * rank // self.size) for rank in range(self.size + 1)]
        return [range(start, stop) for start, stop in pairwise(edges)]

    def first(self, work: Callable[[], Result]) -> Result:
        """What `work` returns on the first rank, on all ranks; the others do not call it.

        If it raises on the first rank, the others raise `RankError`.
        """
        return work()

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order, on all ranks; for what is small."""
        return [value]

    def share(self, values: Buffer | None) -> Buffer:
        """The array of the first rank, on all ranks; the others give None.

        For a large array that nobody changes: there is one copy of it on a machine.
        """
        if values is None:
            raise ValueError("the first rank has the array")
        return values

    def exchange(
        self, outgoing: Sequence[Sequence[Buffer]], incoming: Sequence[Sequence[Buffer]]
    ) -> Callable[[], None]:
        """A function that sends the contents of arrays, and fills others with what comes.

        `outgoing[r]` goes to rank r, into what that rank has as `incoming` for this one. Arrays are
        contiguous. Every rank calls the function at the same point.
        """
        return _nothing

    def agree(self, stop: bool) -> bool:
        """Say whether this rank was asked to stop; returns whether all of them stop now.

        What is said travels with the next exchange, so that all ranks stop at the same point.
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


ALONE = Ranks()
"""The process that works alone."""


def _nothing() -> None:
    """Exchange nothing."""


def machine() -> str:
    """The name of this machine."""
    return socket.gethostname()
