"""Signs of life between ranks; with MPI they are tested in `test_ranks.py`."""

from __future__ import annotations

import math
import threading
import time

import pytest

from charlm.system.mpi import heartbeat


class _Request:
    """A request that is done, or not."""

    def __init__(self, done: bool) -> None:
        self.done = done

    def Test(self) -> bool:  # noqa: N802 (as mpi4py has it)
        return self.done

    def Cancel(self) -> None:  # noqa: N802
        pass

    Wait = Cancel


class _Line:
    """The connection of rank 2 of 3 to its neighbours, as a heartbeat sees it."""

    rank, size = 2, 3

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.sent = fails, 0

    def Irecv(self, _buffer: bytearray, source: int) -> _Request:  # noqa: N802
        assert source == 1
        return _Request(False)

    def Isend(self, _buffer: bytearray, target: int) -> _Request:  # noqa: N802
        assert target == 0
        if self.fails:
            raise RuntimeError("the network is down")
        self.sent += 1
        return _Request(False)


@pytest.mark.parametrize("fails", [False, True])
def test_a_heartbeat_counts_the_silence(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """Silence grows beat by beat, and only one message waits for a rank that takes none."""
    monkeypatch.setattr(heartbeat, "BEAT", 0.01)
    line = _Line(fails)
    beating = heartbeat.Heartbeat(line)
    beating.start()
    end = time.monotonic() + 30
    while beating.silence < 0.05:
        assert time.monotonic() < end
        time.sleep(0.01)
    beating._end()
    assert (beating.silence == math.inf) == fails
    assert line.sent == (0 if fails else 1)


class _Suspended(threading.Event):
    """Ten times as long as it was asked for: five waits, then the end."""

    waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(10 * (timeout or 0.0))
        self.waits += 1
        return self.waits > 5


def test_a_heartbeat_does_not_count_its_own_suspension(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who listens counts beats, not the time in which it was suspended."""
    monkeypatch.setattr(heartbeat, "BEAT", 0.01)
    beating = heartbeat.Heartbeat(_Line())
    beating._ended = _Suspended()
    beating._beat()
    assert beating.silence == pytest.approx(0.05)
