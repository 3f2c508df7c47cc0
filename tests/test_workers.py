"""A pool of worker processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from charlm.system import workers as team
from charlm.system.errors import WorkerError
from charlm.system.workers import WorkerPool, shared, slices


@pytest.fixture(params=["processes", "threads"])
def _transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of workers, on any system that can fork."""
    if request.param == "threads":
        monkeypatch.setattr(team, "_FORKS", False)


@pytest.mark.parametrize(
    ("size", "count", "fewest", "sizes"),
    [
        (50, 2, 4, [25, 25]),
        (13, 3, 4, [4, 4, 5]),
        (50, 1, 4, [50]),
        (7, 2, 4, [7]),
        (8, 2, 4, [4, 4]),
        (1, 4, 4, [1]),
        (9, 9, 4, [4, 5]),
        (3, 9, 1, [1, 1, 1]),
    ],
)
def test_slices(size: int, count: int, fewest: int, sizes: list[int]) -> None:
    """Slices are contiguous, in order, as even as possible, and none has fewer than it may."""
    parts = slices(size, count, fewest)
    assert [part.stop - part.start for part in parts] == sizes
    assert [n for part in parts for n in range(part.start, part.stop)] == list(range(size))


@pytest.mark.parametrize("items", [1, 2, 3, 7])
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.usefixtures("_transport")
def test_every_item_is_done_once(workers: int, items: int) -> None:
    """Each task is done for each item, with its arguments; results come in the order of the items."""
    done = shared((7,), np.int64)

    def add(item: int, amount: int) -> int:
        done[item] += amount
        return item * amount

    def double(item: int) -> None:
        done[item] *= 2

    with WorkerPool(workers, add, double) as pool:
        assert pool.map(add, range(items), 3) == [3 * item for item in range(items)]
        assert pool.map(double, range(items)) == [None] * items
        assert pool.map(add, range(items), 10) == [10 * item for item in range(items)]
    assert done.tolist() == [16] * items + [0] * (7 - items)


def test_workers_are_processes_of_their_own() -> None:
    """Where forking is safe, every worker but the first is another process."""
    with WorkerPool(3, _pid) as pool:
        pids = pool.map(_pid, range(3))
    assert pids[0] == os.getpid()
    assert len(set(pids)) == (3 if sys.platform == "linux" else 1)


def _pid(item: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.usefixtures("_transport")
def test_an_error_in_any_item_is_raised(failing: int, capfd: pytest.CaptureFixture[str]) -> None:
    """An error of this process is raised as it is, that of another with its trace printed."""

    def work(item: int) -> None:
        if item == failing:
            raise ValueError("broken")

    with WorkerPool(2, work) as pool, pytest.raises((ValueError, WorkerError)):
        pool.map(work, range(2))
    if failing == 1 and team._FORKS:
        assert "broken" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="workers are threads elsewhere")
def test_large_values_are_refused() -> None:
    """What does not fit a message belongs in shared arrays, and is an error rather than a hang."""

    def work(item: int, data: bytes) -> None:
        return None

    with WorkerPool(2, work) as pool, pytest.raises(ValueError, match="shared arrays"):
        pool.map(work, range(2), bytes(4096))


@pytest.mark.skipif(sys.platform != "linux", reason="workers are threads elsewhere")
def test_a_killed_worker_is_noticed() -> None:
    """If a worker is killed, the run ends with an error instead of waiting for ever."""
    with WorkerPool(2, _pid) as pool:
        os.kill(pool.map(_pid, range(2))[1], 9)
        with pytest.raises(WorkerError, match="worker process failed"):
            pool.map(_pid, range(2))


@pytest.mark.skipif(sys.platform != "linux", reason="workers are threads elsewhere")
def test_workers_die_with_their_maker(tmp_path: Path) -> None:
    """When the process that made them is killed, no worker is left behind, however many there are."""
    code = (
        "import os\n"
        "from charlm.system.workers import WorkerPool\n"
        "def work(item): return os.getpid()\n"
        "pool = WorkerPool(4, work)\n"
        "print(*pool.map(work, range(4)), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    left = {int(pid) for pid in done.stdout.split()}
    assert len(left) == 4
    deadline = time.monotonic() + 30
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if Path(f"/proc/{pid}").exists() and not _is_zombie(pid)}
        time.sleep(0.01)
    assert not left


def _is_zombie(pid: int) -> bool:
    """Whether only an entry for the parent to read is left of the process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
