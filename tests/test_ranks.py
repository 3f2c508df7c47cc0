"""One run on several ranks: the same bits, and an end of all when one fails."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ENVIRONMENT, TEXT, Run, contents, make_model, make_trainer

from charlm.config.keys import TrainConfig
from charlm.runs import checkpoint
from charlm.system.team import ALONE, Team, machine
from charlm.training import advice
from charlm.training.memory import needed

if sys.platform == "win32":
    pytest.skip("MPI is tested with signals of POSIX", allow_module_level=True)

MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

needs_mpi = pytest.mark.skipif(
    MPIRUN is None or importlib.util.find_spec("mpi4py") is None, reason="needs mpirun and mpi4py"
)

_OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
"""What lets Open MPI run as root, and more ranks than there are cores."""

SETTINGS = {
    "model.cell": "lstm",
    "model.hidden": 12,
    "model.layers": 2,
    "model.dropout": 0.2,
    "model.weight_drop": 0.3,
    "train.average": 0.9,
    "train.reset_state": 0.1,
    "train.batch": 12,
    "train.seq_len": 8,
    "train.epochs": 1,
    "train.generations": 2,
    "train.join": True,
    "train.teacher": "counts",
    "train.shards": 3,
    "run.sample_every": 1,
    "run.sample_length": 10,
    "run.log_every": 3,
}

FAILING = """
import os, sys, time
from charlm.cli import main
from charlm.system.mpi import heartbeat, team
from charlm.system.mpi.launcher import place
from charlm.training.trainer import Trainer

action, rank, step = sys.argv.pop(1), int(sys.argv.pop(1)), int(sys.argv.pop(1))
heartbeat.BEAT, heartbeat.SILENCE, team._PATIENCE = 0.1, 1.5, 3.0 if action == "sleep1000" else 7.0
update = Trainer.update

def failing(trainer):
    if place().rank == rank and trainer.tally.step == step:
        if action == "raise":
            raise ValueError("planted")
        if action == "end":
            sys.exit()
        if action.startswith("sleep"):
            time.sleep(float(action[5:]))
        else:
            os.kill(os.getpid(), int(action))
    return update(trainer)

Trainer.update = failing
main()
"""
"""The command, in which a rank raises at an update, ends, sleeps, or sends itself a signal.

Ranks wait for each other for seconds only.
"""

SHARING = """
from charlm.cli import main
from charlm.system.mpi import team
from charlm.system.mpi.launcher import place

team._TEXT = 100
connect, mapped = team.MpiTeam.__init__, team.mapped
"""
"""The command, which shares short texts too."""

APART = f"""{SHARING}

def apart(self, *given):
    connect(self, *given)
    self._machine, self._leaders = self._mpi.COMM_SELF, list(range(self.size))

team.MpiTeam.__init__ = apart
team.mapped = lambda about: None if place().rank else mapped(about)
main()
"""
"""The command on ranks that are all on machines of their own, of which the first alone has a cache."""

Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Started]:
    """Starts the command, or `code` with its arguments, on several ranks; ends what is left of them."""
    (tmp_path / "text.txt").write_text(TEXT * 4)
    (tmp_path / "run.yaml").write_text("corpus: {path: text.txt, split: [0.8, 0.1, 0.1]}\n")

    jobs: list[subprocess.Popen[str]] = []

    def started(ranks: int, *arguments: str, code: str = "", **environment: str) -> subprocess.Popen[str]:
        what = ["-c", code] if code else ["-m", "charlm"]
        job = subprocess.Popen(
            [str(MPIRUN), "-n", str(ranks), sys.executable, *what, *arguments],
            cwd=tmp_path,
            env={**ENVIRONMENT, **_OPEN_MPI, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        jobs.append(job)
        return job

    yield started
    for job in jobs:
        if job.poll() is None:
            job.kill()  # the ranks of a launcher that dies are ended
            job.communicate()


def finish(process: subprocess.Popen[str], status: int | None = 0) -> tuple[str, str]:
    """What a job showed; it must end, with `status` or with any but 0."""
    shown, told = process.communicate(timeout=60)
    assert (process.returncode == status) if status is not None else process.returncode, told
    return shown, told


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What two runs do not have in common, by name; pytest would compare the bytes for minutes."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def train(out: str, *more: str, **settings: Any) -> list[str]:
    """Arguments of a small run in the directory `out`; `settings` have `__` for the dot."""
    values = SETTINGS | {name.replace("__", "."): value for name, value in settings.items()}
    sets = [f"--set={key}={value}" for key, value in values.items()]
    return ["train", "--config", "run.yaml", *sets, "--out", out, *more]


@needs_mpi
def test_ranks_and_workers_end_in_equal_bytes(start: Started, charlm: Run, tmp_path: Path) -> None:
    """2 to 4 ranks, with 1 or 2 workers, write and score what one process does, whatever each can read."""
    jobs = {
        # of three shards the first rank has two, and adds them before it sends them
        "2x2": start(2, *train("2x2", run__threads=2), code=f"{SHARING}main()"),
        # no cache can be made, so that no file holds the ids: they are sent
        "3x1": start(3, *train("3x1"), code=f"{SHARING}main()", XDG_CACHE_HOME="/dev/null"),
        # one rank has no shard
        "apart": start(4, *train("apart"), code=APART),
    }
    charlm(*train("one", run__threads=1))
    for job in jobs.values():
        finish(job)
    one = contents(tmp_path / "one")
    previews = (tmp_path / "one/previews.jsonl").read_bytes()
    assert len(one["log"]) > 6
    for name in jobs:
        assert differences(contents(tmp_path / name), one) == [], name
        assert (tmp_path / name / "previews.jsonl").read_bytes() == previews
    alone = json.loads(charlm("eval", "perplexity", "--checkpoint", "one", "--json").stdout)
    assert json.loads(finish(start(2, "eval", "perplexity", "--checkpoint", "one", "--json"))[0]) == alone


@needs_mpi
def test_a_run_goes_on_on_other_ranks(start: Started, charlm: Run, tmp_path: Path) -> None:
    """Stopped on 3 ranks, then on 2, and finished without MPI, a run has the bits of one that was not."""
    charlm(*train("one", run__threads=1))
    finish(start(3, *train("moved", "--max-steps", "5")))
    finish(start(2, *train("moved", "--resume", "--max-steps", "11")))
    charlm(*train("moved", "--resume", run__threads=1))
    assert differences(contents(tmp_path / "moved"), contents(tmp_path / "one")) == []


@needs_mpi
@pytest.mark.parametrize(
    "actions",
    [
        {"raise": "ValueError: planted", str(int(signal.SIGKILL)): ""},
        {
            # it lives and does not answer
            "sleep1000": f"no answer from rank 1 ({machine()}) for ",
            # it shows no sign of life
            str(int(signal.SIGSTOP)): "no sign of life from rank 1 (",
            "end": "no sign of life from rank 1 (",
        },
    ],
    ids=["that die", "that do not answer"],
)
def test_a_rank_that_fails_ends_all(start: Started, tmp_path: Path, actions: dict[str, str]) -> None:
    """If a rank raises, dies, hangs or ends, the job ends with an error, and the last checkpoint is whole."""
    long = {"train__epochs": 50, "run__eval_every": 0.1}
    # side by side, because they mostly wait
    jobs = {action: start(3, action, "1", "9", *train(action, **long), code=FAILING) for action in actions}
    for action, message in actions.items():
        shown = finish(jobs[action], None)[1]
        assert shown.count(message) == 1 or not message
        assert shown.count("resume from it") <= 1
        assert checkpoint.load(tmp_path / action / "last.npz").progress["step"] <= 9


needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")


@needs_mpi
@needs_proc
def test_ranks_whose_launcher_dies_end(start: Started, tmp_path: Path) -> None:
    """Ranks whose parent was killed do not go on as orphans, nor wait for each other."""
    job = start(2, *train("run", train__epochs=1000, run__eval_every=0.1))
    ranks = _training(job, tmp_path / "run")
    try:
        os.kill(_parent(ranks[0]), signal.SIGKILL)
        finish(job, None)
        end = time.monotonic() + 10
        while left := [rank for rank in ranks if _runs(rank)]:
            assert time.monotonic() < end, left
            time.sleep(0.1)
    finally:
        for rank in ranks:
            if _runs(rank):
                os.kill(rank, signal.SIGKILL)


@needs_mpi
@needs_proc
def test_ranks_may_be_slow_or_suspended(start: Started, tmp_path: Path) -> None:
    """A job with a slow rank goes on, and so does one that was suspended as a whole."""
    job = start(3, "sleep2", "1", "9", *train("run", train__epochs=1000, run__eval_every=0.1), code=FAILING)
    ranks = _training(job, tmp_path / "run", after=9)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for rank in ranks:
            os.kill(rank, number)
        time.sleep(2)
    os.kill(ranks[0], signal.SIGTERM)
    assert finish(job, 143)[0].startswith("stopped after update ")


@needs_mpi
@pytest.mark.parametrize(
    ("number", "status", "ranks"),
    [
        # SIGTERM: test_ranks_may_be_slow_or_suspended
        (signal.SIGUSR1, 128 + signal.SIGUSR1, 2),
        # one process in a job of Slurm, which warns before its end
        (signal.SIGUSR1, 128 + signal.SIGUSR1, 1),
    ],
)
def test_a_signal_to_one_rank_stops_all(
    start: Started, tmp_path: Path, number: int, status: int, ranks: int
) -> None:
    """A rank that gets SIGTERM or SIGUSR1 stops all after the same update, with a checkpoint."""
    arguments = [str(int(number)), str(ranks - 1), "9", *train("run", train__epochs=50)]
    shown, _ = finish(start(ranks, *arguments, code=FAILING, SLURM_JOB_ID="1"), status)
    step = checkpoint.load(tmp_path / "run/last.npz").progress["step"]
    assert step in (10, 11)
    assert shown.startswith(f"stopped after update {step}; to continue: ")


@needs_mpi
def test_errors_are_shown_once(start: Started) -> None:
    """What the first rank finds wrong is one line, and the status is that of one process."""
    jobs = {
        2: start(3, "train", "--config", "missing.yaml"),
        1: start(2, *train("run", train__lr=1e300, train__clip_norm=0)),
    }
    for status, job in jobs.items():
        lines = [line for line in finish(job, status)[1].splitlines() if "rror" in line]
        assert len(lines) == 1
        assert lines[0].startswith("Error: ")


@needs_mpi
def test_bench_measures_communication(start: Started) -> None:
    """Under mpirun, the benchmark says how much of an update ranks wait for each other."""
    code = (
        "from charlm import cli\nfrom charlm.training import benchmark\n"
        "benchmark._EVALUATED, benchmark._PRODUCT = 100, 50\ncli.main()"
    )
    small = ["--set=model.hidden=8", "--set=train.batch=8", "--set=train.seq_len=4", "--seconds", "0.05"]
    found = json.loads(finish(start(2, "bench", *small, "--json", code=code))[0])
    assert found["ranks"] == 2
    assert found["threads"] == 1
    assert found["communication_ms"] > 0
    assert found["efficiency"] == pytest.approx(
        found["compute_ms"] / (found["compute_ms"] + found["communication_ms"])
    )


SIZELESS = """
import sys
from charlm.cli import main
from charlm.system import mpi
from charlm.system.mpi.launcher import Place, place

more = int(sys.argv.pop(1))
mpi.place = lambda: Place(place().rank + more, 0, place().rank + more)
main()
"""
"""The command, whose launcher tells a rank, with a number added to it, and no size."""


@needs_mpi
def test_mpi_knows_how_many_ranks_there_are(start: Started) -> None:
    """A launcher may leave the size to MPI: of several ranks, of one; what contradicts MPI is an error."""
    several = start(2, "0", *train("several", "--max-steps", "2"), code=SIZELESS)
    one = start(1, "0", *train("one", "--max-steps", "2"), code=SIZELESS)
    wrong = start(1, "1", *train("wrong"), code=SIZELESS)
    for job in (several, one):
        assert finish(job)[0].startswith("stopped after update 2; ")
    assert "Error: several processes were started, and MPI sees 1: use" in finish(wrong, 1)[1]


class _Told(Team):
    """Three ranks, of which the last is on another machine."""

    def gather(self, value: Any) -> list[Any]:
        return [value, value, ("elsewhere", "another NumPy")]


def test_ranks_that_differ_are_a_warning(tmp_path: Path) -> None:
    """Another arithmetic on one machine is one warning that says what it costs; so are idle ranks."""
    with make_trainer(tmp_path, train__batch=2, train__shards=9) as trainer:
        assert list(advice.of_team(trainer)) == []
        trainer.team = _Told(size=3)
        idle, differs = advice.of_team(trainer)
    assert idle == "1 of 3 ranks has nothing to do: the batch of 2 is divided into 2 shards (train.shards)"
    assert differs.startswith("elsewhere has another NumPy, and ")
    assert "same bits" in differs


def test_every_worker_of_every_rank_has_a_shard(tmp_path: Path) -> None:
    """Left out, `train.shards` is one for each worker of each rank, and a rank has those of its own."""
    with make_trainer(tmp_path, 2, team=Team(rank=1, size=2), train__batch=16) as trainer:
        assert trainer.config.train.shards == 4
        assert trainer.sharded._own == trainer.sharded._own_spans == range(2, 4)


def test_each_rank_needs_its_share_of_the_memory() -> None:
    """On several ranks each needs its part of the window, and the gradients of its own shards and spans."""
    model = make_model("lstm", hidden=20)
    alone, half = (needed(model, TrainConfig(optimizer="adam"), 8, 50, 4, ranks=ranks) for ranks in (1, 2))
    assert 2 * half.window == alone.window
    size = 4 * sum(math.prod(shape) for shape in model.shapes().values())
    assert alone.parameters == (1 + 4 + 2) * size
    assert half.parameters == (1 + 1 + 2 + 1 + 2) * size
    # all 8 shards of the other rank come as one
    half = needed(model, TrainConfig(optimizer="adam"), 16, 50, 16, ranks=2)
    assert half.parameters == (1 + 1 + 8 + 1 + 2) * size


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("items", [0, 1, 4, 7])
def test_items_are_divided(items: int, size: int) -> None:
    """Every item belongs to one rank, in order; the first ranks have some, and none two more than another."""
    parts = Team(size=size).divide(items)
    assert [item for part in parts for item in part] == list(range(items))
    assert len(parts) == size
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert len(parts[0]) == max(map(len, parts))


def test_one_process_waits_for_nobody() -> None:
    """The process that works alone does at once what ranks agree on."""
    assert ALONE.first(lambda: 5) == 5
    assert ALONE.gather(6) == [6]
    assert [ALONE.agree(stop) for stop in (True, False)] == [True, False]
    assert ALONE.together()


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("noise", [("0.2", "0"), ("0", "0.3")], ids=["dropout", "weight drop"])
def test_every_division_ends_in_equal_bytes(
    start: Started, process: Run, tmp_path: Path, cell: str, noise: tuple[str, str]
) -> None:
    """1 to 4 ranks with 1 and 2 workers, every cell, dropout and weight drop: one digest."""
    settings = {
        "model__cell": cell,
        "model__dropout": noise[0],
        "model__weight_drop": noise[1],
        "train__batch": 16,
        "train__shards": 4,
    }
    process(*train("one", **settings, run__threads=1))
    for ranks in (1, 2, 3, 4):
        for workers in (1, 2):
            out = f"{ranks}x{workers}"
            finish(start(ranks, *train(out, **settings, run__threads=workers)))
            assert differences(contents(tmp_path / out), contents(tmp_path / "one")) == [], out


KILLS = 50


@needs_mpi
@pytest.mark.slow
def test_random_kills_of_random_ranks(start: Started, process: Run, tmp_path: Path) -> None:
    """Each kill of a rank ends the job within 10 seconds; the run, resumed each time, loses nothing."""
    rng = np.random.default_rng(0)
    settings = {"train__epochs": 1000, "run__eval_every": 0.1, "run__sample_every": 0}
    reached = kills = 0
    longest = 0.0
    while kills < KILLS:
        resume = ["--resume"] if (tmp_path / "run/last.npz").exists() else ["--overwrite"]
        ranks = int(rng.integers(2, 5))
        job = start(ranks, *train("run", *resume, **settings))
        time.sleep(rng.uniform(0.5, 4))
        pids = _ranks_of(job)
        if not pids:
            continue
        os.kill(int(rng.choice(pids)), signal.SIGKILL)
        killed = time.perf_counter()
        job.communicate(timeout=60)
        longest = max(longest, time.perf_counter() - killed)
        assert job.returncode
        kills += 1
        if (tmp_path / "run/last.npz").exists():
            step = checkpoint.load(tmp_path / "run/last.npz").progress["step"]
            assert step >= reached
            reached = step
    print(f"the longest took {longest:.1f} s; update {reached} was reached")  # shown by pytest -rP
    assert longest < 10
    assert reached > 0
    stop = str(reached + 3)
    process(*train("run", "--resume", "--max-steps", stop, **settings, run__threads=1))
    process(*train("one", "--max-steps", stop, **settings, run__threads=1))
    last = [checkpoint.load(tmp_path / name / "last.npz") for name in ("run", "one")]
    np.testing.assert_array_equal(last[0].parameters.flat, last[1].parameters.flat)


def _training(job: subprocess.Popen[str], run: Path, after: int = 0) -> list[int]:
    """The processes of the ranks of a job, as soon as it has saved something after that update."""
    while not (run / "last.npz").exists() or checkpoint.load(run / "last.npz").progress["step"] <= after:
        assert job.poll() is None
        time.sleep(0.1)
    return _ranks_of(job)


def _ranks_of(job: subprocess.Popen[str]) -> list[int]:
    """The processes of the ranks of a job (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().split(b"\0")
            parent = _parent(int(entry.name))
        except (OSError, ValueError):
            continue
        named = any(variable.startswith((b"PMI_RANK=", b"OMPI_COMM_WORLD_RANK=")) for variable in variables)
        if named and b"train" in command and parent in (job.pid, *_children(job.pid)):
            found.append(int(entry.name))
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
