"""Several networks joined to one that is as wide as all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_model, make_trainer
from naive import Network

from charlm.nn.joined import joined
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.directory import RunDirectory
from charlm.training.events import Joined, Joining, Stopped, Validated
from charlm.training.joining import join
from charlm.training.loop import run
from charlm.training.trainer import Trainer

V = 6


@pytest.mark.parametrize("form", ["rnn", "lstm", "gru after", "gru before"])
@pytest.mark.parametrize("widths", [(5,), (4, 7), (6, 6, 6), (320, 256)], ids=str)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_logits_are_the_scaled_sum_of_naive_networks(form: str, widths: tuple[int, ...], layers: int) -> None:
    """The joined network carries the states of all, and has the sum of their logits times the scale."""
    rng, ids = np.random.default_rng(4), np.random.default_rng(5).integers(0, V, (30, 1))
    networks, expected = [], np.zeros((30, V))
    for H in widths:
        shapes = make_model(form, layers, V, H).shapes()
        size = Parameters(shapes).flat.size
        own = Parameters(shapes, flat=rng.normal(0, H**-0.5, size))
        zero = [[np.zeros((1, H)) for _ in range(1 + (form == "lstm"))] for _ in range(layers)]
        networks.append(own)
        expected += 0.4 * Network(form, own, ids, ids, zero).logits[:, 0]
    model = make_model(form, layers, V, sum(widths))
    params = joined(networks, model.shapes(), 0.4)
    first = model.forward(params, ids[:11], model.zero_state(1, np.float64), Workspace())
    rest = model.forward(params, ids[11:], first.state, Workspace())
    np.testing.assert_allclose(np.concatenate([first.output, rest.output])[:, 0], expected, rtol=1e-10)


VALUES: dict[str, Any] = {
    "train__join": True,
    "train__epochs": 15.0,
    "train__lr": 0.03,
    "train__schedule": "cosine",
    "train__average": 0.5,
    "train__generations": 3,
    "model__dropout": 0.2,
    "model__layers": 2,
}
"""Three networks that are joined."""


def _finished(directory: Path, **values: Any) -> Trainer:
    """A trainer after its last update and validation."""
    trainer = make_trainer(directory, **{**VALUES, **values})
    while not trainer.finished:
        trainer.update()
        if trainer.is_last_of_network:
            result = trainer.validate()
            assert result is not None
            trainer.record_validation(result.nats_per_char)
    return trainer


def _loss(trainer: Trainer, factor: float) -> float:
    """The validation loss of the mean of the logits of all networks, times a factor; read one by one."""
    ids, total = trainer.validation.ids, 0.0
    networks = [*trainer.earlier, trainer.mean]
    for params in networks:
        zero = trainer.model.zero_state(1)
        total = total + trainer.model.forward(params, ids[:-1, None], zero, Workspace()).output[:, 0]
    logits = (factor / len(networks) * total).astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(ids) - 1), ids[1:]].mean())


@pytest.mark.parametrize("networks", [1, 3])
def test_a_trainer_joins_its_networks_with_the_best_factor(tmp_path: Path, networks: int) -> None:
    """The checkpoint is a model as wide as all, with the loss of the mean logits at the best factor."""
    trainer = _finished(tmp_path, train__generations=networks)
    singles, found = trainer.tally.best, join(trainer)
    assert singles is not None
    assert found is not None
    assert found.best is not None
    assert found.loss == pytest.approx(_loss(trainer, found.factor), abs=1e-4)
    assert found.loss < singles
    grid = {round(0.8 + k / 100, 2): _loss(trainer, 0.8 + k / 100) for k in range(41)}
    assert found.loss < min(grid.values()) + 2e-4
    assert found.best.config.model.hidden == networks * trainer.config.model.hidden
    assert found.best.model.shapes() == found.best.parameters.shapes
    assert (
        found.best.progress["best"] == found.best.progress["validation"] == trainer.tally.best == found.loss
    )
    assert (found.best.progress["networks"], found.best.training) == (networks, {})
    assert found.best.progress["factor"] == found.factor


def test_what_is_not_better_is_not_kept(tmp_path: Path) -> None:
    """A better single network stays the best."""
    trainer = _finished(tmp_path)
    trainer.tally.best, trainer.tally.best_step = 0.01, 5
    directory = RunDirectory(tmp_path / "run")
    directory.create(trainer.config.to_commented_yaml())
    told = [event for event in run(trainer, directory) if isinstance(event, Joined)]
    assert [event.is_best for event in told] == [False]
    assert not directory.best.exists()
    assert (trainer.tally.best, trainer.tally.best_step) == (0.01, 5)


def test_the_factor_stays_near_one(tmp_path: Path) -> None:
    """Logits that are far too large or small, or all zero, are multiplied by 0.6 to 1.4."""
    trainer = _finished(tmp_path, train__generations=1)
    for times, factor in ((9.0, 0.6), (1 / 81, 1.4), (0.0, 1.0)):
        for name in ("output.W", "output.b"):
            trainer.mean[name][...] *= times
        found = join(trainer)
        assert found is not None
        assert found.factor == factor


def test_a_run_ends_with_the_joined_network(tmp_path: Path) -> None:
    """`best.npz` holds it, `last.npz` the last network; it is made once, and again after more training."""
    trainer = make_trainer(tmp_path, **VALUES)
    directory = RunDirectory(tmp_path / "run")
    directory.create(trainer.config.to_commented_yaml())
    events = list(run(trainer, directory))
    told = [event for event in events if isinstance(event, Joined)]
    best, last = checkpoint.load(directory.best), checkpoint.load(directory.last)
    assert [type(event) for event in events[-3:]] == [Joining, Joined, Stopped]
    assert told == [Joined(3, best.progress["best"], told[0].factor, is_best=True)]
    assert (best.config.model.hidden, last.config.model.hidden) == (3 * 6, 6)
    before, logged = (json.loads(line) for line in directory.metrics.read_text().splitlines()[-2:])
    assert logged["validation_loss"] == told[0].loss
    assert logged["chars_per_s"] > 0
    assert (logged["step"], logged["lr"], logged["train_loss"]) == (before["step"], before["lr"], None)
    assert (
        last.progress["best"]
        == best.progress["best"]
        < min(event.validation_loss or 0.0 for event in events if isinstance(event, Validated))
    )
    content = directory.best.read_bytes(), directory.last.read_bytes()
    again = make_trainer(tmp_path, **VALUES)
    again.restore(last, "run")
    assert [type(event) for event in run(again, directory)] == [Stopped]
    assert (directory.best.read_bytes(), directory.last.read_bytes()) == content
    more = make_trainer(tmp_path, **{**VALUES, "train__generations": 4})
    more.restore(last, "run")
    assert [event.networks for event in run(more, directory) if isinstance(event, Joined)] == [4]


@pytest.mark.parametrize("is_saved", [False, True])
def test_a_run_that_is_killed_while_it_joins_joins_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_saved: bool
) -> None:
    """Killed before the joined network is saved, or after it, it resumes to equal files."""
    whole = make_trainer(tmp_path, **VALUES)
    expected, directory = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "run")
    for one in (expected, directory):
        one.create(whole.config.to_commented_yaml())
    list(run(whole, expected))
    trainer, save = make_trainer(tmp_path, **VALUES), checkpoint.save

    def killed(path: Path, content: Checkpoint) -> None:
        is_joined = content.config.model.hidden > 6
        if is_saved or not is_joined:
            save(path, content)
        if is_joined:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        list(run(trainer, directory))
    monkeypatch.setattr(checkpoint, "save", save)
    again = make_trainer(tmp_path, **VALUES)
    again.restore(checkpoint.load(directory.last), "run")
    assert Joined in [type(event) for event in run(again, directory)]
    assert checkpoint.load(directory.best).parameters.flat.tobytes() == (
        checkpoint.load(expected.best).parameters.flat.tobytes()
    )
    assert again.tally.best == whole.tally.best


@pytest.mark.parametrize("scorings", [0, 1, 3])
def test_joining_can_be_stopped(tmp_path: Path, scorings: int) -> None:
    """Asked to stop between two scorings, a run ends unfinished, and joins when it is resumed."""
    trainer = make_trainer(tmp_path, **VALUES)
    directory, told = RunDirectory(tmp_path / "run"), []
    directory.create(trainer.config.to_commented_yaml())
    asked = iter([False] * scorings + [True])
    for event in run(trainer, directory, lambda: told[-1:] == [Joining(3)] and next(asked)):
        told.append(event)
    assert not any(isinstance(event, Joined) for event in told)
    assert isinstance(told[-1], Stopped)
    assert not told[-1].finished
    again = make_trainer(tmp_path, **VALUES)
    again.restore(checkpoint.load(directory.last), "run")
    events = list(run(again, directory))
    assert [type(event) for event in events] == [Joining, Joined, Stopped]
    assert isinstance(events[-1], Stopped)
    assert events[-1].finished


def test_a_run_that_is_stopped_is_not_joined(tmp_path: Path) -> None:
    """Networks are joined after the last update of the last one only."""
    trainer = make_trainer(tmp_path, **VALUES)
    directory = RunDirectory(tmp_path / "run")
    directory.create(trainer.config.to_commented_yaml())
    events = list(run(trainer, directory, max_steps=trainer.planned_steps - 1))
    assert not any(isinstance(event, Joined) for event in events)
    assert [event.networks for event in run(trainer, directory) if isinstance(event, Joined)] == [3]


def test_without_a_validation_split_nothing_is_joined(tmp_path: Path) -> None:
    """No loss says which factor is right, or whether the joined network is better."""
    trainer = make_trainer(tmp_path, **VALUES, corpus__split=[1, 0, 0])
    directory = RunDirectory(tmp_path / "run")
    directory.create(trainer.config.to_commented_yaml())
    assert not any(isinstance(event, Joined) for event in run(trainer, directory))
