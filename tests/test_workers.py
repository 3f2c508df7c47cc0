"""A batch split over workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from charlm.errors import WorkerError
from charlm.system import workers as team
from charlm.system.workers import WorkerPool, shard_slices, shared


@pytest.fixture(params=["processes", "threads"])
def _transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of workers, on any system that can fork."""
    if request.param == "threads":
        monkeypatch.setattr(team, "_FORKS", False)


@pytest.mark.parametrize(
    ("batch", "workers", "sizes"),
    [
        (50, 2, [25, 25]),
        (13, 3, [4, 4, 5]),
        (50, 1, [50]),
        (7, 2, [7]),
        (8, 2, [4, 4]),
        (1, 4, [1]),
        (9, 9, [4, 5]),
    ],
)
@pytest.mark.usefixtures("_transport")
def test_parts_cover_the_batch(batch: int, workers: int, sizes: list[int]) -> None:
    """The parts are contiguous, in order, even, cover every stream, and each is worked on once a run."""
    done = shared((batch,), np.int64)

    def work(number: int, part: slice) -> None:
        done[part] += 10**number

    parts = shard_slices(batch, workers)
    assert [part.stop - part.start for part in parts] == sizes
    crew = WorkerPool(parts, work)
    for run in (1, 2):
        crew.run()
        assert done.tolist() == [run * 10**number for number, size in enumerate(sizes) for _ in range(size)]
    crew.close()


def test_workers_are_processes_of_their_own() -> None:
    """Where forking is safe, every part but the first runs in another process."""
    pids = shared((3,), np.int64)

    def work(number: int, _: slice) -> None:
        pids[number] = os.getpid()

    crew = WorkerPool(shard_slices(12, 3), work)
    crew.run()
    assert pids[0] == os.getpid()
    assert len(set(pids.tolist())) == (3 if sys.platform == "linux" else 1)
    crew.close()


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.usefixtures("_transport")
def test_an_error_in_any_part_is_raised(failing: int, capfd: pytest.CaptureFixture[str]) -> None:
    """An error of this process's part is raised as it is, that of another with its trace printed."""

    def work(number: int, _: slice) -> None:
        if number == failing:
            raise ValueError("broken")

    crew = WorkerPool(shard_slices(8, 2), work)
    with pytest.raises((ValueError, WorkerError)):
        crew.run()
    crew.close()
    if failing == 1 and team._FORKS:
        assert "broken" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="workers are threads elsewhere")
def test_a_killed_worker_is_noticed() -> None:
    """If a worker is killed, the run ends with an error instead of waiting for ever."""
    pids = shared((2,), np.int64)

    def work(number: int, _: slice) -> None:
        pids[number] = os.getpid()

    crew = WorkerPool(shard_slices(8, 2), work)
    crew.run()
    os.kill(int(pids[1]), 9)
    with pytest.raises(WorkerError, match="worker process failed"):
        crew.run()
    crew.close()


@pytest.mark.skipif(sys.platform != "linux", reason="workers are threads elsewhere")
def test_workers_die_with_their_maker(tmp_path: Path) -> None:
    """When the process that made them is killed, no worker is left behind, however many there are."""
    code = (
        "import os, sys, numpy as np\n"
        "from charlm.system.workers import WorkerPool, shard_slices, shared\n"
        "pids = shared((4,), np.int64)\n"
        "def work(number, part): pids[number] = os.getpid()\n"
        "crew = WorkerPool(shard_slices(16, 4), work)\n"
        "crew.run()\n"
        "print(*pids, flush=True)\n"
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
