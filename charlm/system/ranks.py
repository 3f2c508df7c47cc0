"""Ranks: processes that an MPI launcher has started to do one job, on one machine or on many.

`Ranks` is the process that works alone, with nobody to wait for. `connect` gives that, or, where
a launcher has started several processes, the same methods over MPI. Only this module and
`heartbeat` know MPI. All ranks call the same methods in the same order; what the first rank alone
does stands in `first`.

Whatever waits here looks again and again instead of blocking in MPI: ranks that share a processor
let each other work, and signals are answered.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from charlm.errors import ExtraError, RankError
from charlm.system import heartbeat
from charlm.system.extras import extra
from charlm.system.launcher import Place, place
from charlm.system.mapping import describe, mapped

if TYPE_CHECKING:
    import numpy.typing as npt

    Buffer = npt.NDArray[Any]

Result = TypeVar("Result")

_SPIN = 0.05
"""Seconds that a wait only yields the processor; after that it sleeps between two looks."""

_NAP = 0.0005
"""Seconds of such a sleep."""

_PATIENCE = 600.0
"""Seconds without an answer from other ranks after which an exchange fails.

A rank that dies ends the job at once, one whose process does not run after `heartbeat.SILENCE`. This is for
one that lives and does not answer. It is long, since that may be the first rank that writes a
checkpoint to a slow disk.
"""

_GRACE = 2.0
"""Seconds in which ranks that fail wait for each other, to see if all of them do."""

_PASSING = 0.3
"""Seconds in which the launcher passes on what was written; it drops what it still has after an abort."""

_PIECE = 1 << 26
"""Most bytes of one broadcast."""


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


_connected: list[Ranks] = []


def connected() -> Ranks:
    """The ranks that `connect` has found. Before that every process is one that works alone.

    Of those that a launcher has started on a machine, one has rank 0 then, and may show an error.
    """
    return _connected[0] if _connected else Ranks(place().local)


def connect(command: Sequence[str] = ()) -> Ranks:
    """The ranks of this job, by MPI if a launcher has started several.

    Raises `RankError` if mpi4py is missing, if MPI does not see what the launcher started, or if the
    ranks were not given the same `command`.
    """
    started = place()
    if started.size == 1:
        return ALONE
    if not _connected:
        ranks = _MpiRanks(started)
        _connected.append(ranks if ranks.size > 1 else ALONE)
        told = connected().gather(list(command))
        if any(other != told[0] for other in told):
            raise RankError(
                "the ranks of one job have different commands; to train a run in each, start them without MPI"
            )
    return connected()


class _MpiRanks(Ranks):
    """Ranks that MPI connects.

    Workers are forked when MPI runs already. They never call it, and the arrays that it reads and
    writes are shared memory, which a fork does not copy; `RDMAV_FORK_SAFE` keeps the pages that a
    network card writes to out of the children.
    """

    def __init__(self, started: Place) -> None:
        os.environ.setdefault("RDMAV_FORK_SAFE", "1")
        self._launcher = os.getppid()
        try:
            extra("mpi4py", "mpi")
        except ExtraError as error:
            found = (
                f"{started.size} processes were started as one job" if started.size else "PMIX_RANK is set"
            )
            raise RankError(f"{found}, and {error}", 2) from error
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise RankError(
                f"mpi4py finds no MPI library: {error}; pip install mpich, or load that of the cluster"
            ) from error
        self._mpi: Any = MPI
        world = MPI.COMM_WORLD
        if world.size != started.size and (started.size or world.rank != started.rank):
            if started.rank == 1 and not started.size:
                _connected.append(ALONE)  # shows the error: for all that rank 0 can know, it is the only one
            raise RankError(
                f"{started.size or 'several'} processes were started, and MPI sees {world.size}: use the "
                "mpirun of the MPI that mpi4py has loaded, or srun --mpi=pmix (Open MPI), --mpi=pmi2 (MPICH)"
            )
        super().__init__(world.rank, world.size)
        self._heartbeat = heartbeat.Heartbeat(world.Dup())
        self._comm: Any = world.Dup()
        self._failures: Any = world.Dup()
        self._machine: Any = world.Split_type(MPI.COMM_TYPE_SHARED, world.rank)
        # of each rank the first one of its machine
        self._leaders: list[int] = self.gather(self._machine.bcast(world.rank))
        self._machines: list[str] = self.gather(machine())
        self._flags = bytearray(self.size)
        self._stops = False
        self._windows: list[Any] = []
        if self.size > 1 and MPI.Query_thread() == MPI.THREAD_MULTIPLE:
            self._heartbeat.start()

    def first(self, work: Callable[[], Result]) -> Result:
        if self.rank == 0:
            try:
                result = work()
            except Exception as error:
                self._broadcast(RankError("the first rank failed", _status_of(error)))
                raise
            self._broadcast(result)
            return result
        received = self._broadcast()
        if isinstance(received, RankError):
            raise received
        answer: Result = received
        return answer

    def _broadcast(self, value: Any = None) -> Any:
        data = bytearray(pickle.dumps(value, 5)) if self.rank == 0 else bytearray()
        size = array("q", [len(data)])
        self._wait([self._comm.Ibcast(size)])
        if self.rank:
            data = bytearray(size[0])
        self._send_to_all(self._comm, data)
        return value if self.rank == 0 else pickle.loads(data)  # noqa: S301 (from a rank of this job)

    def _send_to_all(self, comm: Any, data: Any) -> None:
        """Broadcast the bytes of `data`."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            self._wait([comm.Ibcast([bytearray(piece) if piece.readonly else piece, self._mpi.BYTE])])

    def gather(self, value: Any) -> list[Any]:
        data = pickle.dumps(value, 5)
        sizes = array("q", bytes(8 * self.size))
        self._wait([self._comm.Iallgather(array("q", [len(data)]), sizes)])
        told = [bytearray(size) for size in sizes]
        others = [rank for rank in range(self.size) if rank != self.rank]
        self._wait(
            [
                *(self._comm.Irecv([told[rank], self._mpi.BYTE], rank) for rank in others),
                *(self._comm.Isend([data, self._mpi.BYTE], rank) for rank in others),
            ]
        )
        told[self.rank][:] = data
        return [pickle.loads(one) for one in told]  # noqa: S301 (likewise)

    def share(self, values: Buffer | None) -> Buffer:
        import numpy as np

        about = self.first(lambda: describe(values))
        found = values if self.rank == 0 and about.file else mapped(about)
        lacking = [rank for rank, has in enumerate(self.gather(found is not None)) if not has]
        machines = {self._leaders[rank] for rank in lacking}
        if not machines:
            return found  # type: ignore[return-value]
        leads = self._machine.rank == 0 and (self.rank == 0 or self.rank in machines)
        leaders = self._mpi.COMM_WORLD.Split(0 if leads else self._mpi.UNDEFINED, self.rank)
        if self._leaders[self.rank] in machines:
            window = self._mpi.Win.Allocate_shared(about.bytes if leads else 0, 1, comm=self._machine)
            self._windows.append(window)
            memory, _ = window.Shared_query(0)
            received = np.frombuffer(memory, about.dtype).reshape(about.shape)
            if self.rank == 0:
                received[...] = values
            if leads:
                self._send_to_all(leaders, received)
            window.Fence()
            received.flags.writeable = False
            found = received
        elif leads:
            self._send_to_all(leaders, found)
        if leads:
            leaders.Free()
        return found  # type: ignore[return-value]

    def exchange(
        self, outgoing: Sequence[Sequence[Buffer]], incoming: Sequence[Sequence[Buffer]]
    ) -> Callable[[], None]:
        flags = [memoryview(self._flags)[rank : rank + 1] for rank in range(self.size)]
        messages: list[tuple[Callable[..., Any], list[Any], int]] = []
        for distance in range(1, self.size):  # each rank begins with another one
            source, target = (self.rank - distance) % self.size, (self.rank + distance) % self.size
            for call, rank, arrays, flag in (
                (self._comm.Irecv, source, incoming[source], flags[source]),
                (self._comm.Isend, target, outgoing[target], flags[self.rank]),
            ):
                buffers = [*(values for values in arrays if values.size), flag]
                messages += [(call, [buffer, self._mpi.BYTE], rank) for buffer in buffers]

        def run() -> None:
            started = time.perf_counter()
            requests = [call(buffer, rank) for call, buffer, rank in messages]
            self._wait(requests, [rank for _, _, rank in messages])
            self._stops = any(self._flags)
            self.waited += time.perf_counter() - started

        return run

    def agree(self, stop: bool) -> bool:
        self._flags[self.rank] = stop
        agreed, self._stops = self._stops, False
        return agreed

    def _wait(self, requests: list[Any], answering: Sequence[int] = ()) -> None:
        """Wait until all requests are done; raises `RankError` if that fails.

        It fails too if the ranks of `answering`, one for each request, take too long.
        """
        end, napped = time.perf_counter() + _SPIN, 0.0
        try:
            while self._is_whole() and not self._mpi.Request.Testall(requests):
                if time.perf_counter() < end:
                    _yield()
                    continue
                time.sleep(_NAP)
                napped += _NAP  # not by the clock: a process that is suspended does not wait
                if answering and napped > _PATIENCE:
                    asked = zip(requests, answering, strict=True)
                    late = sorted({rank for request, rank in asked if not request.Test()})
                    who = " and ".join(self._name(rank) for rank in late)
                    raise RankError(f"no answer from {who} for {_PATIENCE:g} seconds: {_LAST}")
        except self._mpi.Exception as error:
            raise RankError(f"the connection to another rank failed ({error}): {_LAST}") from error

    def _is_whole(self) -> bool:
        """True while nobody that this rank can see is lost; otherwise raises `RankError`."""
        if os.getppid() != self._launcher:
            raise RankError(f"the launcher on {machine()} was killed: {_LAST}")
        if self._heartbeat.silence > heartbeat.SILENCE:
            raise RankError(
                f"no sign of life from {self._name(self._heartbeat.watched)} for {heartbeat.SILENCE:g} "
                f"seconds (suspended, ended, or its machine or network is down): {_LAST}"
            )
        return True

    def _name(self, rank: int) -> str:
        return f"rank {rank} ({self._machines[rank]})"

    def together(self) -> bool:
        request = self._failures.Ibarrier()
        # in turn: the first that gives up shows what happened, and ends the others before they do too
        end = time.perf_counter() + _GRACE + 2 * _PASSING * min(self.rank, 5)
        while not request.Test():
            if time.perf_counter() > end:
                return False
            time.sleep(_NAP)
        return True

    def abort(self, status: int) -> NoReturn:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        time.sleep(_PASSING)
        self._mpi.COMM_WORLD.Abort(status)
        os._exit(status)


_LAST = "the last checkpoint is whole, resume from it"

_yield: Callable[[], None] = getattr(os, "sched_yield", lambda: time.sleep(0))


def _status_of(error: BaseException) -> int:
    """The exit status of an error: of ours, or of click's."""
    status: int = getattr(error, "exit_status", getattr(error, "exit_code", 1))
    return status


def machine() -> str:
    """The name of this machine."""
    return socket.gethostname()
