"""The trainer: it learns, it stops before nonsense, and it resumes bit for bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_trainer

from charlm import checkpoint
from charlm.errors import DivergenceError, RunError
from charlm.optim.optimizers import OPTIMIZERS
from charlm.train import Trainer

CELLS: list[dict[str, Any]] = [
    {"model__cell": "rnn"},
    {"model__cell": "lstm"},
    {"model__cell": "gru"},
    {"model__cell": "gru", "model__gru_reset": "before"},
]


def _state(trainer: Trainer) -> dict[str, Any]:
    """Everything a checkpoint holds, but measured times, as comparable values."""
    snapshot = trainer.snapshot()
    progress = {
        name: {key: item for key, item in value.items() if key != "seconds"}
        if isinstance(value, dict)
        else value
        for name, value in snapshot.progress.items()
    }
    arrays = {**snapshot.training, "parameters": snapshot.parameters.flat}
    return progress | {name: array.tobytes() for name, array in arrays.items()}


def _advance(trainer: Trainer, updates: int) -> list[float]:
    reports = []
    for _ in range(updates):
        report = trainer.update()
        reports += [report.loss, report.norm, report.lr]
        if trainer.progress.step % 7 == 0:
            trainer.heed(report.loss)
    return reports


@pytest.mark.parametrize("mask", ["window", "step"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(cell.values()))
def test_resume_is_exact(tmp_path: Path, cell: dict[str, Any], optimizer: str, mask: str) -> None:
    """20 updates, a checkpoint on disk, a new trainer and 20 more equal 40, bit for bit."""
    values = {
        **cell,
        "model__dropout": 0.3,
        "model__dropout_mask": mask,
        "train__optimizer": optimizer,
        "train__schedule": "plateau",
        "train__lr_patience": 0,
    }
    whole = make_trainer(tmp_path, **values)
    expected = _advance(whole, 40)

    first = make_trainer(tmp_path, **values)
    got = _advance(first, 20)
    checkpoint.save(tmp_path / "last.npz", first.snapshot())
    second = make_trainer(tmp_path, **values)
    second.restore(checkpoint.load(tmp_path / "last.npz"), "run")
    got += _advance(second, 20)

    assert got == expected
    assert _state(second) == _state(whole)


@pytest.mark.parametrize("forgotten", ["optimizer", "carried", "random", "plateau"])
def test_the_resume_test_would_notice(tmp_path: Path, forgotten: str) -> None:
    """A resume that forgot one part of the state would not equal the uninterrupted run."""
    values = {
        "model__dropout": 0.3,
        "train__schedule": "plateau",
        "train__lr_patience": 0,
        "train__lr_decay": 0.5,
    }
    whole, broken = make_trainer(tmp_path, **values), make_trainer(tmp_path, **values)
    # the checkpoint is taken within an epoch: at its start the carried state is zero anyway
    expected = _advance(whole, 38)[-3:]
    _advance(broken, 31)
    if forgotten == "optimizer":
        broken.optimizer.slots["m"][...] = 0
    elif forgotten == "carried":
        broken.carried[1][0][...] = 0
    elif forgotten == "random":
        broken.rng = np.random.default_rng(0)
    else:
        broken.progress.plateau = dataclasses.replace(broken.progress.plateau, share=1.0)
    assert _advance(broken, 7)[-3:] != expected


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(cell.values()))
def test_it_learns(tmp_path: Path, cell: dict[str, Any]) -> None:
    """Every cell learns a repeated text far below the entropy of its characters."""
    trainer = make_trainer(tmp_path, **cell, model__hidden=32, model__layers=1, train__lr=0.01)
    losses = [trainer.update().loss for _ in range(250)]
    assert losses[0] > 3.0
    assert np.mean(losses[-10:]) < 0.8


def test_state_is_carried_within_an_epoch_and_dropped_at_its_end(tmp_path: Path) -> None:
    """The first window of an epoch begins from zeros, every other from where the last one ended."""
    trainer = make_trainer(tmp_path)
    seen: list[tuple[bool, bool]] = []
    forward = type(trainer.model).forward
    after = [""]

    def spy(model: Any, parameters: Any, x: Any, state: Any, *rest: Any) -> Any:
        zero = not any(array.any() for layer in state for array in layer)
        seen.append((zero, repr(state) == after[0]))
        result = forward(model, parameters, x, state, *rest)
        after[0] = repr(result[1])
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(trainer.model), "forward", spy)
        _advance(trainer, 2 * trainer.steps_per_epoch)
    epoch = [(True, False)] + [(False, True)] * (trainer.steps_per_epoch - 1)
    assert seen == 2 * epoch


def test_validation_does_not_touch_training(tmp_path: Path) -> None:
    """Training with validations in between equals training without."""
    plain, interrupted = (
        make_trainer(tmp_path, model__dropout=0.3),
        make_trainer(tmp_path, model__dropout=0.3),
    )
    _advance(plain, 20)
    for _ in range(20):
        _advance(interrupted, 1)
        score = interrupted.validate()
        assert score is not None
        assert score.characters == len(interrupted.corpus.part("validation")) - 1
    assert _state(plain) == _state(interrupted)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_never_reaches_the_parameters(tmp_path: Path, where: str) -> None:
    """A loss or gradient that is not finite stops training, named, with the parameters as they were."""
    trainer = make_trainer(tmp_path)
    _advance(trainer, 3)
    if where == "loss":
        trainer.parameters["output.b"][2] = np.nan
    before = trainer.parameters.flat.copy(), {n: s.copy() for n, s in trainer.optimizer.slots.items()}
    backpropagate = trainer.updater.backpropagate

    def broken(number: int, rng: np.random.Generator) -> float:
        loss = backpropagate(number, rng)
        trainer.updater.gradients.flat[17] = np.inf
        return loss

    with pytest.MonkeyPatch.context() as patch:
        if where == "gradient":
            patch.setattr(trainer.updater, "backpropagate", broken)
        what = {"loss": "loss", "gradient": "gradient of layers.0.Wx"}[where]
        with pytest.raises(DivergenceError, match=f"update 4: the {what} is not a finite number"):
            trainer.update()
    np.testing.assert_array_equal(trainer.parameters.flat, before[0])
    for name, slot in before[1].items():
        np.testing.assert_array_equal(trainer.optimizer.slots[name], slot)


def _spoil(trainer: Trainer, patch: pytest.MonkeyPatch, updates: range) -> None:
    """Make the gradient, and the state that is carried on, not finite in these updates."""
    backpropagate = trainer.updater.backpropagate

    def broken(number: int, rng: np.random.Generator) -> float:
        loss = backpropagate(number, rng)
        if trainer.progress.step + 1 in updates:
            trainer.updater.gradients["output.W"][1, 1] = np.nan
            trainer.carried[0][0][1, 0] = np.inf
        return loss

    patch.setattr(trainer.updater, "backpropagate", broken)


def test_updates_that_are_not_finite_can_be_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `skip` such an update is dropped, counted and told, spoilt streams begin anew."""
    trainer = make_trainer(tmp_path, train__on_nonfinite="skip")
    _spoil(trainer, monkeypatch, range(3, 5))
    trainer.update()
    trainer.update()
    before, moments = trainer.parameters.flat.copy(), trainer.optimizer.slots["m"].copy()
    assert [trainer.update().dropped for _ in range(2)] == ["gradient of output.W"] * 2
    np.testing.assert_array_equal(trainer.parameters.flat, before)
    np.testing.assert_array_equal(trainer.optimizer.slots["m"], moments)
    assert (trainer.progress.step, trainer.optimizer.updates) == (4, 2)
    assert (trainer.progress.skipped, trainer.progress.skipped_in_a_row) == (2, 2)
    assert trainer.carried[0][0][1].tolist() == [0.0] * 6
    assert np.isfinite([trainer.update().loss for _ in range(3)]).all()
    assert (trainer.progress.skipped, trainer.progress.skipped_in_a_row) == (2, 0)


def test_ten_skipped_updates_in_a_row_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine may pass; the tenth in a row is an error, also when the run was resumed in between."""
    trainer = make_trainer(tmp_path, train__on_nonfinite="skip", train__epochs=9.0)
    _spoil(trainer, monkeypatch, range(2, 11))
    _advance(trainer, 12)
    assert trainer.progress.skipped == 9
    _spoil(trainer, monkeypatch, range(13, 99))
    for _ in range(5):
        trainer.update()
    saved = trainer.snapshot()
    checkpoint.save(tmp_path / "five.npz", saved)
    again = make_trainer(tmp_path, train__on_nonfinite="skip", train__epochs=9.0)
    again.restore(checkpoint.load(tmp_path / "five.npz"), "five")
    _spoil(again, monkeypatch, range(13, 99))
    for _ in range(4):
        again.update()
    with pytest.raises(
        DivergenceError, match=r"update 22: the gradient of output\.W .* the 10th update in a row"
    ):
        again.update()


def test_patience(tmp_path: Path) -> None:
    """Training ends after so many validations in a row without improvement, and not before."""
    trainer = make_trainer(tmp_path, train__patience=2)
    ended = []
    for loss in (3.0, 2.0, 2.5, 1.9, 2.0, 1.95):
        trainer.heed(loss)
        ended.append(trainer.finished)
    assert ended == [False, False, False, False, False, True]
    assert trainer.progress.best == 1.9


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model__hidden", 7),
        ("model__cell", "gru"),
        ("model__layers", 1),
        ("train__batch", 3),
        ("train__seq_len", 5),
        ("train__optimizer", "sgd"),
        ("train__seed", 2),
        ("corpus__split", (0.7, 0.3, 0.0)),
    ],
)
def test_resuming_with_another_network_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    """A change that would make nonsense of a run is refused, and the message names it."""
    saved = make_trainer(tmp_path).snapshot()
    with pytest.raises(RunError, match=key.replace("__", ".")):
        make_trainer(tmp_path, **{key: value}).restore(saved, "run")


def test_resuming_on_another_text_is_refused(tmp_path: Path) -> None:
    """A corpus whose contents changed is not gone on with."""
    saved = make_trainer(tmp_path).snapshot()
    (tmp_path / "text.txt").write_text((tmp_path / "text.txt").read_text().upper())
    with pytest.raises(RunError, match="corpus is not the one"):
        make_trainer(tmp_path).restore(saved, "run")


def test_more_epochs_are_accepted(tmp_path: Path) -> None:
    """A finished run goes on when it is given more epochs."""
    trainer = make_trainer(tmp_path, train__epochs=1.0)
    _advance(trainer, trainer.planned_steps)
    assert trainer.finished
    longer = make_trainer(tmp_path, train__epochs=2.0)
    longer.restore(trainer.snapshot(), "run")
    assert not longer.finished
    assert longer.progress.step == trainer.progress.step


def test_a_small_text_shrinks_the_batch(tmp_path: Path) -> None:
    """A text too small for the batch is trained on all the same, with a warning that says how."""
    trainer = make_trainer(tmp_path, train__batch=1000)
    assert trainer.warning is not None
    assert f"train.batch from 1000 to {trainer.streams.batch}" in trainer.warning
    _advance(trainer, 2)
    assert make_trainer(tmp_path).warning is None


@pytest.mark.parametrize("transport", ["processes", "threads"])
@pytest.mark.parametrize("mask", ["window", "step"])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(cell.values()))
def test_workers_share_the_work(
    tmp_path: Path, cell: dict[str, Any], mask: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three workers, processes or threads, compute what one does but for the order of float64 sums."""
    if transport == "threads":
        monkeypatch.setattr("charlm.team._FORKS", False)
    values = {**cell, "model__dropout": 0.3, "model__dropout_mask": mask, "train__batch": 13}
    alone, together = (make_trainer(tmp_path, threads, np.float64, **values) for threads in (1, 3))
    assert len(together.updater._team._parts) == 3
    np.testing.assert_allclose(_advance(together, 12), _advance(alone, 12), rtol=1e-9)
    np.testing.assert_allclose(together.parameters.flat, alone.parameters.flat, rtol=0, atol=1e-9)
    for mine, theirs in zip(together.carried, alone.carried, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9)


def test_workers_leave_no_chance(tmp_path: Path) -> None:
    """With the same number of workers, two runs are the same to the last bit."""
    first, again = (make_trainer(tmp_path, 3, train__batch=13, model__dropout=0.2) for _ in range(2))
    assert _advance(first, 25) == _advance(again, 25)
    assert _state(first) == _state(again)


def test_a_training_split_of_one_character_is_refused(tmp_path: Path) -> None:
    """There must be something to predict in the training split."""
    with pytest.raises(RunError, match="training split holds 1 characters"):
        make_trainer(tmp_path, corpus__split=(0.004, 0.996, 0.0))
