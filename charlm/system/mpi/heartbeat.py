"""Signs of life between ranks, so that one that hangs or cannot be reached is noticed."""

import atexit
import math
import threading
from typing import Any

BEAT = 1.0
"""Seconds between two signs of life of a rank."""

SILENCE = 60.0
"""Seconds without a sign of life of a rank after which it counts as lost."""


class Heartbeat:
    """A sign of life, sent to the next rank of a ring and expected from the one before.

    A separate thread sends it while the rank computes, reads a text, writes a checkpoint or waits.
    So silence means that the process does not run or cannot be reached, and the
    limit need not know how long anything takes. Silence is counted in beats of the one who
    listens: if that is suspended or slow itself, it counts slowly, so that a job that was suspended
    as a whole goes on. Needs an MPI that several threads may call; without it there is none.

    Attributes
    ----------
    watched
        The rank before.
    silence
        Seconds since its last sign of life; infinite if the connection failed.
    """

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self._next, self.watched = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
        self.silence = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin; the interpreter ends it, before MPI ends."""
        self._thread.start()
        atexit.register(self._end)

    def _end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._beat()
        except RuntimeError:  # of MPI
            self.silence = math.inf

    def _beat(self) -> None:
        sign, heard = bytearray(1), bytearray(1)
        sent, expected = None, self._comm.Irecv(heard, self.watched)
        while not self._ended.wait(BEAT):
            if sent is None or sent.Test():  # not one after the other to a rank that takes none
                sent = self._comm.Isend(sign, self._next)
            self.silence += BEAT
            while expected.Test():
                self.silence = 0.0
                expected = self._comm.Irecv(heard, self.watched)
        expected.Cancel()
        expected.Wait()
