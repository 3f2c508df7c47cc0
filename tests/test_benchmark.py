"""The benchmark: what it counts by hand, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from conftest import Run, make_trainer

import charlm
from charlm.cli import charlm as command_line
from charlm.config.keys import Config
from charlm.config.reading import from_mapping
from charlm.system.errors import CharlmError
from charlm.system.team import ALONE, Team
from charlm.training import benchmark
from charlm.training.benchmark import Speed, training_flops
from charlm.training.tally import Update
from charlm.training.trainer import Trainer

KEYS = {
    *("cell", "hidden", "layers", "batch", "seq_len", "vocab", "parameters", "threads", "peak_rss_mb"),
    *("train_chars_per_s", "sample_chars_per_s", "eval_chars_per_s"),
    *("train_gflops", "matmul_gflops", "fraction_of_matmul"),
}

SMALL = ("--set", "model.hidden=24", "--set=train.batch=8", "--set=train.seq_len=10", "--seconds", "0.05")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short text to score, and a small product."""
    monkeypatch.setattr(benchmark, "_EVALUATED", 500)
    monkeypatch.setattr(benchmark, "_PRODUCT", 100)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_json(charlm: Run, cell: str) -> None:
    """The JSON holds the fixed keys, the shape that was asked for, and speeds that fit together."""
    shape = ("--set", f"model.cell={cell}", "--set", "model.layers=1", "--vocab", "300", "--threads", "1")
    values = json.loads(charlm("bench", *SMALL, *shape, "--json").stdout)
    assert values.keys() >= KEYS
    assert (values["cell"], values["hidden"], values["vocab"], values["threads"]) == (cell, 24, 300, 1)
    assert all(values[key] > 0 for key in KEYS - {"cell"})
    assert values["fraction_of_matmul"] == pytest.approx(values["train_gflops"] / values["matmul_gflops"])
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[cell]
    flops = 6 * (gates * 24 * 24 + 24 * 300)
    assert values["train_gflops"] == pytest.approx(values["train_chars_per_s"] * flops / 1e9)


def test_text(charlm: Run) -> None:
    """Without --json the same is printed for people, the run's length and the memory included."""
    shown = charlm("bench", *SMALL, "--threads", "1").stdout
    for word in (
        "training",
        "generating",
        "evaluating",
        "GFLOP/s",
        "memory",
        "2 x 24 lstm",
        "vocabulary 65",
        "; 1 thread; ",
    ):
        assert word in shown


def test_a_configured_text_gives_the_duration(charlm: Run, tmp_path: Path) -> None:
    """With a text to train on, its vocabulary is the default, and the length of the run is estimated."""
    (tmp_path / "text.txt").write_text("abcde" * 200)
    (tmp_path / "small.yaml").write_text("corpus: {path: text.txt}\ntrain: {epochs: 4}\n")
    values = json.loads(charlm("bench", "--config", "small.yaml", *SMALL, "--json").stdout)
    assert values["vocab"] == 5
    assert values["epoch_seconds"] == pytest.approx(899 / values["train_chars_per_s"])
    assert values["run_seconds"] == pytest.approx(4 * values["epoch_seconds"])
    assert "s the whole run" in charlm("bench", "--config", "small.yaml", *SMALL).stdout


@pytest.mark.parametrize(("given", "threads"), [(3, 3), (None, 5)])
def test_what_is_measured_is_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, given: int | None, threads: int
) -> None:
    """From Python and as a command: the configuration, vocabulary, threads (5 is not usual), seconds."""
    measured = []

    def measure(config: Config, vocab: int, seconds: float, team: Team, characters: int | None) -> Speed:
        measured.append((config.model.hidden, vocab, team.workers, seconds))
        raise CharlmError("nothing is measured here")

    monkeypatch.setattr(benchmark, "measure", measure)
    with pytest.raises(CharlmError, match="nothing is measured"):
        charlm.bench(None, {"model.hidden": 24, "run.threads": 5}, 7, given, 0.5)
    command = ["bench", *SMALL[:2], "--set", "run.threads=5", "--vocab", "7", "--seconds", "0.5"]
    CliRunner().invoke(command_line, [*command, *([] if given is None else ["--threads", str(given)])])
    assert measured == [(24, 7, threads, 0.5)] * 2


def test_each_speed_is_of_its_own_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, generating, evaluating and the product each have their own speed, waiting its own share."""
    team, train = Team(), Trainer.update

    def update(trainer: Trainer) -> Update:
        team.waited += 0.25
        return train(trainer)

    def rate(work: Callable[[], object], units: int, seconds: float, team: Team = ALONE) -> float:
        work(), work()
        return float(units)

    monkeypatch.setattr(Trainer, "update", update)
    monkeypatch.setattr(benchmark, "_rate", rate)
    config = from_mapping({"model": {"hidden": 8}, "train": {"batch": 4, "seq_len": 5}})
    speed = benchmark.measure(config, 5, 0.1, team)
    assert (speed.train_chars_per_s, speed.sample_chars_per_s, speed.eval_chars_per_s) == (20, 100, 500)
    assert speed.matmul_gflops == 2 * 100**3 / 1e9
    assert (speed.compute_ms, speed.communication_ms, speed.efficiency) == (750, 250, 0.75)


def test_a_speed_is_that_of_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first piece is a warm-up, and one that took long does not count more than another."""
    clock, seconds = [0.0], iter((90.0, 2.0, 50.0, 2.0))

    def work() -> None:
        clock[0] += next(seconds)

    monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    assert benchmark._rate(work, 600, 0.1) == 300
    assert clock[0] == 144, "three pieces at least"


def test_arithmetic_and_memory_by_hand(tmp_path: Path) -> None:
    """Operations a character and bytes on paper are those of a sum made by hand."""
    trainer = make_trainer(tmp_path, model__hidden=6, model__layers=2, train__batch=4, train__seq_len=7)
    V, H = len(trainer.corpus.vocabulary), 6
    assert training_flops(trainer) == 6 * (3 * 4 * H * H + H * V)
    parameters = 4 * (V * H + H * H + H) + 4 * (2 * H * H + H) + H * V + V
    assert trainer.parameters.flat.size == parameters
    # of each step and layer: four gates and their gradients, h and c; of each step: dh and the logits
    activations = 4 * 7 * (2 * (8 + 2) * H + H + V)
    assert (trainer.needed.parameters, trainer.needed.window) == (4 * 4 * parameters, 4 * activations)
