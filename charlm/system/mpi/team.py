"""A team whose ranks MPI connects.

Whatever waits here looks again and again instead of blocking in MPI: ranks that share a processor
let each other work, and signals are answered.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from charlm.system.errors import RankError
from charlm.system.mpi import heartbeat
from charlm.system.mpi.mapping import describe, mapped
from charlm.system.team import Result, Team, machine

if TYPE_CHECKING:
    import numpy.typing as npt

    Buffer = npt.NDArray[Any]

_SPIN = 0.05
"""Seconds that a wait only yields the processor; after that it sleeps between two looks."""

_NAP = 0.0005
"""Seconds of such a sleep."""

_PATIENCE = 600.0
"""Seconds without an answer from other ranks after which an exchange fails.

A rank that dies ends the job at once, one whose process does not run after `heartbeat.SILENCE`.
This is for one that lives and does not answer. It is long, since that may be the first rank that
writes a checkpoint to a slow disk.
"""

_GRACE = 2.0
"""Seconds in which ranks that fail wait for each other, to see if all of them do."""

_PASSING = 0.3
"""Seconds in which the launcher passes on what was written; it drops what it still has after an abort."""

_PIECE = 1 << 26
"""Most bytes of one broadcast."""

_TEXT = 1 << 20
"""Bytes of a text from which it is shared and not copied."""

_LAST = "the last checkpoint is whole, resume from it"

_yield: Callable[[], None] = getattr(os, "sched_yield", lambda: time.sleep(0))


class MpiTeam(Team):
    """The ranks that the module `mpi4py.MPI` sees; `launcher` is the process that has started this one.

    Workers are forked when MPI runs already. They never call it, and the arrays that it reads and
    writes are shared memory, which a fork does not copy.
    """

    def __init__(self, mpi: Any, launcher: int) -> None:
        world = mpi.COMM_WORLD
        super().__init__(1, world.rank, world.size)
        self._mpi, self._launcher = mpi, launcher
        self._heartbeat = heartbeat.Heartbeat(world.Dup())
        self._comm: Any = world.Dup()
        self._failures: Any = world.Dup()
        self._machine: Any = world.Split_type(mpi.COMM_TYPE_SHARED, world.rank)
        # of each rank the first one of its machine
        self._leaders: list[int] = self.gather(self._machine.bcast(world.rank))
        self._machines: list[str] = self.gather(machine())
        self._flags = bytearray(self.size)
        self._stops = False
        self._windows: list[Any] = []
        if self.size > 1 and mpi.Query_thread() == mpi.THREAD_MULTIPLE:
            self._heartbeat.start()

    def first(self, work: Callable[[], Result]) -> Result:
        if self.rank == 0:
            try:
                result = work()
            except Exception as error:
                status = getattr(error, "exit_status", getattr(error, "exit_code", 1))  # ours, or click's
                self._broadcast(RankError("the first rank failed", status))
                raise
            self._broadcast(result)
            return result
        received = self._broadcast()
        if isinstance(received, RankError):
            raise received
        answer: Result = received
        return answer

    def _broadcast(self, value: Any = None) -> Any:
        """The value of the first rank; its texts are shared, everything else is copied."""
        pickled = _Pickler(io.BytesIO())
        if self.rank == 0:
            pickled.dump(value)
        data = bytearray(pickled.stream.getvalue())
        sizes = array("q", [len(data), len(pickled.texts)])
        self._wait([self._comm.Ibcast(sizes)])
        if self.rank:
            data = bytearray(sizes[0])
        self._send_to_all(self._comm, data)
        own: Sequence[Buffer | None] = pickled.texts if self.rank == 0 else [None] * sizes[1]
        texts = [self._shared(text) for text in own]
        return value if self.rank == 0 else _Unpickler(data, texts).load()

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

    def _shared(self, values: Buffer | None) -> Buffer:
        """The array of the first rank; the others give None. A machine holds one copy of it."""
        import numpy as np

        about = self._broadcast(None if values is None else describe(values))
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


class _Pickler(pickle.Pickler):
    """Pickles a value without its `texts`: large arrays of whole numbers."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, 5)
        self.stream = stream
        self.texts: list[Buffer] = []

    def persistent_id(self, value: Any) -> int | None:
        """The number of a text; None for any other part of the value."""
        is_array = type(value).__module__ == "numpy" and hasattr(value, "nbytes")
        if not is_array or value.nbytes < _TEXT or value.dtype.kind not in "iu":
            return None
        self.texts.append(value)
        return len(self.texts) - 1


class _Unpickler(pickle.Unpickler):
    """The reverse of `_Pickler`."""

    def __init__(self, data: bytearray, texts: Sequence[Buffer]) -> None:
        super().__init__(io.BytesIO(data))
        self._texts = texts

    def persistent_load(self, number: int) -> Buffer:
        """The text with this number."""
        return self._texts[number]
