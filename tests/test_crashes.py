"""A run is never lost: kills at any system call, disks that fail at every write."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MEASURED, ROOT, make_trainer
from faults import Disk, at_system_calls

from charlm.runs import checkpoint
from charlm.runs.directory import RunDirectory
from charlm.system.errors import CharlmError, CheckpointError, RunError
from charlm.training.loop import Warned, run
from charlm.training.trainer import Trainer

ERRORS = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS]


def _trainer(directory: Path, **values: Any) -> Trainer:
    small = {"model__hidden": 3, "model__layers": 1, "train__epochs": 1.0, "run__eval_every": 0.25}
    return make_trainer(directory, **{**small, "run__sample_every": 0.0, "run__log_every": 2, **values})


def _log(directory: RunDirectory) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in directory.metrics.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]


@pytest.mark.skipif(sys.platform != "linux", reason="system calls are traced with Linux's ptrace")
def test_killed_at_any_system_call_of_a_save(tmp_path: Path) -> None:
    """A kill before or after any system call of a save leaves the old checkpoint or the new one."""
    trainer, directory = _trainer(tmp_path), RunDirectory(tmp_path / "run")
    directory.create("")
    checkpoint.save(directory.last, trainer.snapshot())
    trainer.update()
    new = trainer.snapshot()
    steps = []
    for killed in at_system_calls(directory.path, lambda: checkpoint.save(directory.last, new)):
        steps.append(checkpoint.load(killed / directory.last.name).progress["step"])
        RunDirectory(killed).continue_from("", 0, 1)
        assert sorted(file.name for file in killed.iterdir()) == ["config.yaml", "last.npz", "metrics.jsonl"]
    # the old one until the rename, the new one from then on, and both were seen
    assert steps == sorted(steps)
    assert {0, 1} == set(steps)
    assert len(steps) > 3


def _operations(directory: RunDirectory, trainer: Trainer) -> dict[str, tuple[Path, Callable[[], object]]]:
    return {
        "checkpoint": (directory.last, lambda: checkpoint.save(directory.last, trainer.snapshot())),
        "configuration": (directory.config, lambda: directory.continue_from("new: 1\n", 10**6, 1)),
        "log": (directory.metrics, lambda: directory.log({"step": 2})),
    }


def _message(write: Callable[[], object]) -> str | None:
    """What the user is told, or None if nothing went wrong."""
    try:
        write()
    except CharlmError as error:
        return str(error)
    return None


@pytest.mark.parametrize("error", ERRORS, ids=[errno.errorcode[number] for number in ERRORS])
@pytest.mark.parametrize("what", ["checkpoint", "configuration", "log"])
def test_a_write_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, error: int) -> None:
    """Whichever write fails, it is one line that names file and cause, and every file is as it was."""
    trainer, directory = _trainer(tmp_path), RunDirectory(tmp_path / "run")
    directory.create("old: 1\n")
    directory.log({"step": 1})
    checkpoint.save(directory.last, trainer.snapshot())
    before = {file.name: file.read_bytes() for file in directory.path.iterdir()}
    trainer.update()
    file, write = _operations(directory, trainer)[what]
    number = 0
    while True:
        number += 1
        disk = Disk(error, lambda call, number=number: call == number)
        with monkeypatch.context() as patch:
            disk.patch(patch)
            message = _message(write)
        if message is None:
            break
        assert file.name in message or str(directory.path) in message
        assert os.strerror(error).lower() in message.lower()
        after = {file.name: file.read_bytes() for file in directory.path.iterdir()}
        if what == "log":
            assert after == before
        # the last calls make the new name last: by then the new file is whole and in its place
        assert after.keys() == before.keys()
        changed = [name for name in after if after[name] != before[name]]
        assert changed in ([], [file.name])
        assert not changed or number > 3
    assert not disk.failed
    assert number > {"checkpoint": 5, "configuration": 4, "log": 1}[what]


def test_lines_that_could_not_be_logged_come_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that fails for a while, in the middle of a line too, lacks nothing in the end."""
    directory = RunDirectory(tmp_path / "run")
    directory.create("")
    directory.log({"step": 1})
    for step in (2, 3):
        with monkeypatch.context() as patch:
            # opened, and half of it written: the other half does not fit
            Disk(errno.ENOSPC, lambda call: call == 3, short=True).patch(patch)
            with pytest.raises(RunError, match="no space left"):
                directory.log({"step": step})
        assert _log(directory) == [{"step": 1}]
    assert directory.log({"step": 4}) == directory.metrics.stat().st_size
    assert [line["step"] for line in _log(directory)] == [1, 2, 3, 4]


@pytest.fixture
def unharmed(tmp_path: Path) -> tuple[list[dict[str, Any]], bytes]:
    """Log and parameters of a run that nothing happened to."""
    trainer, directory = _trainer(tmp_path), RunDirectory(tmp_path / "unharmed")
    directory.create("")
    list(run(trainer, directory))
    return _log(directory), trainer.parameters.flat.tobytes()


# every ninth write, or every one
@pytest.mark.parametrize("often", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_one_failure_never_ends_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unharmed: tuple[Any, bytes], often: int
) -> None:
    """If any one write of a whole run fails, the run warns, goes on, and ends as if nothing had been."""
    failed = 0
    for number in count(1, often):
        trainer, directory = _trainer(tmp_path), RunDirectory(tmp_path / f"run{number}")
        directory.create("")
        disk = Disk(ERRORS[number % len(ERRORS)], lambda call, number=number: call == number)
        with monkeypatch.context() as patch:
            disk.patch(patch)
            events = list(run(trainer, directory))
        failed += disk.failed
        assert any(isinstance(event, Warned) for event in events) == bool(disk.failed)
        assert (_log(directory), trainer.parameters.flat.tobytes()) == unharmed
        assert checkpoint.load(directory.last).progress["step"] == trainer.planned_steps
        if not disk.failed:
            break
    assert failed == len(range(1, number, often)) > 15


def test_a_disk_that_stays_broken_ends_a_run_that_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unharmed: tuple[Any, bytes]
) -> None:
    """If every write fails from some write on, the run stops with what it had; resumed, it ends as if not."""
    for number in range(1, 60, 3):
        trainer, directory = _trainer(tmp_path), RunDirectory(tmp_path / f"run{number}")
        directory.create("")
        disk = Disk(ERRORS[number % len(ERRORS)], lambda call, number=number: call >= number)
        with monkeypatch.context() as patch:
            disk.patch(patch)
            with pytest.raises(CheckpointError, match=r"\.npz cannot be written"):
                list(run(trainer, directory))
        assert not list(directory.path.glob(".*"))
        resumed = _trainer(tmp_path)
        if directory.last.exists():
            resumed.restore(checkpoint.load(directory.last), "the run")
        directory = RunDirectory(directory.path)
        directory.continue_from("", resumed.tally.log_bytes, resumed.tally.step)
        list(run(resumed, directory))
        assert (_log(directory), resumed.parameters.flat.tobytes()) == unharmed


KILLS = 200

TRAIN = [sys.executable, "-m", "charlm", "train", "--config"]


def _options(directory: Path) -> dict[str, Any]:
    """How processes train in a directory, which gets a text."""
    (directory / "text.txt").write_text("the ferry came over at noon, and nobody was on it. " * 60)
    return {
        "cwd": directory,
        "env": {**os.environ, "PYTHONPATH": str(ROOT)},
        "stdout": subprocess.DEVNULL,
        "stderr": (directory / "errors.txt").open("wb"),  # a pipe that nobody reads would fill up
    }


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_killed_at_random_moments(tmp_path: Path, cell: str) -> None:
    """A run killed again and again, and resumed each time, ends with the files of one that was not."""
    optimizer, schedule = {
        "rnn": ("momentum", "cosine"),
        "lstm": ("adamw", "plateau"),
        "gru": ("rmsprop", "step"),
    }[cell]
    (tmp_path / "run.yaml").write_text(
        f"corpus: {{path: text.txt, split: [0.8, 0.2, 0]}}\n"
        f"model: {{cell: {cell}, hidden: 8, layers: 2, dropout: 0.2}}\n"
        f"train: {{batch: 8, seq_len: 8, epochs: 400, optimizer: {optimizer}, schedule: {schedule}}}\n"
        "run: {eval_every: 0.2, sample_every: 0, log_every: 3, threads: 2}\n"
    )
    command, options = [*TRAIN, "run.yaml", "--out"], _options(tmp_path)
    subprocess.run([*command, "whole"], check=True, **options)
    rng = np.random.default_rng(len(cell))
    kills = 0
    finished = False
    while not finished:
        resume = ["--resume"] if (tmp_path / "killed" / "last.npz").exists() else ["--overwrite"]
        process = subprocess.Popen([*command, "killed", *resume], start_new_session=True, **options)
        try:
            process.wait(rng.uniform(0.35, 0.9) if kills < KILLS // 3 + 1 else None)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.wait()
        assert process.returncode in (0, -signal.SIGKILL), (tmp_path / "errors.txt").read_text()[-2000:]
        finished = process.returncode == 0
    assert kills > KILLS // 3
    whole, killed = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "killed")
    assert _log(killed) == _log(whole)
    for one, other in ((whole.last, killed.last), (whole.best, killed.best)):
        first, second = checkpoint.load(one), checkpoint.load(other)
        np.testing.assert_array_equal(first.parameters.flat, second.parameters.flat)
        for name, array in first.training.items():
            np.testing.assert_array_equal(array, second.training[name])


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["any", "first checkpoint"])
def test_killed_while_a_run_is_overwritten(tmp_path: Path, moment: str) -> None:
    """A directory that held a whole run holds one after every kill of `--overwrite`, and it can go on."""
    (tmp_path / "run.yaml").write_text(
        "corpus: {path: text.txt, split: [0.8, 0.2, 0]}\n"
        "model: {hidden: 8, layers: 1}\n"
        "train: {batch: 8, seq_len: 8, epochs: 400}\n"
        "run: {eval_every: 0.1, sample_every: 0, threads: 2}\n"
    )
    options = _options(tmp_path)
    subprocess.run([*TRAIN, "run.yaml", "--max-steps", "9"], check=True, **options)
    run, rng = tmp_path / "runs/run", np.random.default_rng(len(moment))
    kept = replaced = 0
    for seed in range(2, KILLS // 4):
        before = checkpoint.load(run / "last.npz").config.train.seed
        process = subprocess.Popen(
            [*TRAIN, "run.yaml", "--overwrite", "--set", f"train.seed={seed}"],
            start_new_session=True,
            **options,
        )
        if moment == "any":
            time.sleep(rng.uniform(0.2, 0.8))
        else:
            while not (run / ".new/config.yaml").exists():
                assert process.poll() is None, (tmp_path / "errors.txt").read_text()[-2000:]
            time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.wait()
        after = checkpoint.load(run / "last.npz").config.train.seed
        assert checkpoint.load(run / "best.npz").config.train.seed in (before, seed)
        assert after in (before, seed)
        done = subprocess.run([*TRAIN, "runs/run", "--resume", "--max-steps", "1"], check=False, **options)
        assert done.returncode == 0, (tmp_path / "errors.txt").read_text()[-2000:]
        found = {checkpoint.load(run / name).config.train.seed for name in ("last.npz", "best.npz")}
        assert found in ({before}, {seed})
        assert not list(run.glob(".*"))
        kept += found == {before}
        replaced += found == {seed}
    assert min(kept, replaced) > 3
