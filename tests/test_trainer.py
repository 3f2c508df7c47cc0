"""The trainer: it learns, it stops before nonsense, and it resumes bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import TEXT, make_trainer

from charlm.arrays import Ids
from charlm.config import build
from charlm.config.keys import COUNTS, KEYS
from charlm.data.batches import Window
from charlm.inference.score import Score, score
from charlm.nn.activations import sigmoid_by_exp_into, sigmoid_by_tanh_into
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.nn.tuning import Tuning
from charlm.nn.workspace import Workspace
from charlm.optim.optimizers import OPTIMIZERS
from charlm.optim.schedules import Plateau
from charlm.runs import checkpoint
from charlm.system.errors import ConfigError, DivergenceError, RunError
from charlm.system.team import ALONE
from charlm.training.job import Job
from charlm.training.tally import Means, Update
from charlm.training.teachers import Table
from charlm.training.trainer import Trainer

REGULARISED: dict[str, dict[str, Any]] = {
    "window": {"model__dropout": 0.3, "model__dropout_mask": "window"},
    "step": {
        "model__dropout": 0.3,
        "model__dropout_mask": "step",
        "model__weight_drop": 0.4,
        "train__average": 0.9,
        "train__reset_state": 0.2,
    },
}
"""Dropout alone, and everything that regularises."""

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
        if trainer.tally.step % 7 == 0:
            trainer.record_validation(report.loss)
    return reports


def _assert_exact(make: Callable[[], Trainer], file: Path, updates: int) -> None:
    """Assert that so many updates, a checkpoint, and 20 more in a new trainer equal training at once."""
    whole, first, second = make(), make(), make()
    expected, reports = _advance(whole, updates + 20), _advance(first, updates)
    checkpoint.save(file, first.snapshot())
    second.restore(checkpoint.load(file), "run")
    assert reports + _advance(second, 20) == expected
    assert _state(second) == _state(whole)


@pytest.mark.parametrize("cell", CELLS[1:], ids=lambda cell: "-".join(cell.values()))
def test_training_is_the_same_with_either_sigmoid(
    cell: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The losses of a hundred updates in float32 do not depend on the form of the sigmoid, to 1e-4 nats."""
    losses = []
    for form in (sigmoid_by_exp_into, sigmoid_by_tanh_into):
        monkeypatch.setattr(build, "Model", partial(Model, tuning=Tuning(sigmoid=form)))
        trainer = make_trainer(tmp_path, **cell, model__hidden=32, train__epochs=50, train__lr=0.01)
        losses.append([trainer.update().loss for _ in range(100)])
    assert losses[0][-1] < losses[0][0] - 0.5, "it has learned"
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("optimizer", "cell", "mask"),
    [
        *zip(OPTIMIZERS, CELLS + CELLS[:2], ["window"] * 6, strict=True),
        *zip(OPTIMIZERS, CELLS[2:] + CELLS, ["step"] * 6, strict=True),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else value,
)
def test_resume_is_exact(tmp_path: Path, cell: dict[str, Any], optimizer: str, mask: str) -> None:
    """20 updates, a checkpoint on disk, a new trainer and 20 more equal 40, bit for bit.

    Every optimiser and every cell meets both masks.
    """
    values = {
        **cell,
        **REGULARISED[mask],
        "train__optimizer": optimizer,
        "train__schedule": "plateau",
        "train__lr_patience": 0,
    }
    _assert_exact(partial(make_trainer, tmp_path, **values), tmp_path / "last.npz", 20)


@pytest.mark.parametrize("forgotten", ["optimizer", "carried", "random", "plateau", "mean", "trained"])
def test_the_resume_test_would_notice(tmp_path: Path, forgotten: str) -> None:
    """A resume that forgot one part of the state would not equal the uninterrupted run."""
    values = {
        "model__dropout": 0.3,
        "train__schedule": "plateau",
        "train__lr_patience": 0,
        "train__lr_decay": 0.5,
        "train__average": 0.9,
    }
    whole, broken = make_trainer(tmp_path, **values), make_trainer(tmp_path, **values)
    # the checkpoint is taken within an epoch: at its start the carried state is zero anyway
    expected = _advance(whole, 38)[-3:], whole.mean.flat.tobytes()
    _advance(broken, 31)
    if forgotten == "optimizer":
        broken.optimizer.slots["m"][...] = 0
    elif forgotten == "carried":
        broken.state[1, 0] = 0
    elif forgotten == "random":
        broken.rng = np.random.default_rng(0)
    elif forgotten == "mean":
        broken.mean.flat[...] = broken.parameters.flat
    elif forgotten == "trained":
        broken.parameters.flat[...] = broken.mean.flat
    else:
        broken.tally.plateau = dataclasses.replace(broken.tally.plateau, factor=1.0)
    assert (_advance(broken, 7)[-3:], broken.mean.flat.tobytes()) != expected


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(cell.values()))
def test_it_learns(tmp_path: Path, cell: dict[str, Any]) -> None:
    """Every cell learns a repeated text far below the entropy of its characters."""
    trainer = make_trainer(tmp_path, **cell, model__hidden=32, model__layers=1, train__lr=0.01)
    losses = [trainer.update().loss for _ in range(250)]
    assert losses[0] > 3.0
    assert np.mean(losses[-10:]) < 0.8


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_output_layer_has_a_learning_rate_of_its_own(tmp_path: Path, optimizer: str, shards: int) -> None:
    """An update moves the parameters of the output `output_lr` times as far, and no others further."""
    moved = []
    for output_lr in (1.0, 4.0):
        trainer = make_trainer(
            tmp_path,
            dtype=np.float64,
            train__optimizer=optimizer,
            train__output_lr=output_lr,
            train__shards=shards,
        )
        before = trainer.parameters.copy()
        trainer.update()
        moved.append({name: after - before[name] for name, after in trainer.parameters.items()})
    for name, once in moved[0].items():
        factor = 4.0 if name in ("output.W", "output.b") else 1.0
        np.testing.assert_allclose(moved[1][name], factor * once, rtol=1e-7, atol=1e-12, err_msg=name)
    assert {name for name, once in moved[0].items() if once.any()} == set(moved[0])


def test_weights_and_noise_are_drawn_from_different_streams(tmp_path: Path) -> None:
    """The generator of the noise is not the one of the weights, neither anew nor where that one ended."""
    streams = []
    initialise = type(make_trainer(tmp_path).model).initialise

    def spy(model: Any, rng: np.random.Generator, *rest: Any) -> Parameters:
        streams.append(rng.bit_generator.state["state"]["inc"])
        return initialise(model, rng, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charlm.nn.model.Model.initialise", spy)
        trainer = make_trainer(tmp_path)
    streams.append(trainer.rng.bit_generator.state["state"]["inc"])
    assert len(set(streams)) == len(streams) == 2


@pytest.mark.parametrize(("chance", "fewest", "most"), [(1.0, 4, 4), (0.5, 1, 3)])
def test_streams_begin_anew_by_chance(tmp_path: Path, chance: float, fewest: int, most: int) -> None:
    """With `reset_state` some streams begin a window from zero, in every layer; the others carry on."""
    trainer = make_trainer(tmp_path, train__reset_state=chance)
    zero = []
    backpropagate = trainer.sharded.backpropagate

    def spy(step: int, *noise: Any) -> float:
        resets = ~trainer.state.any(axis=3)  # [L, S, B]
        assert (resets == resets[0, 0]).all()
        zero.append(int(resets[0, 0].sum()))
        return backpropagate(step, *noise)

    trainer.sharded.backpropagate = spy  # type: ignore[method-assign]
    _advance(trainer, 12)
    assert zero[0] == 4
    assert fewest <= np.mean(zero[1:11]) <= most
    assert chance == 1 or {1, 2, 3} & set(zero[1:11]), "each stream by itself, not all or none"


def test_the_mean_is_what_is_kept(tmp_path: Path) -> None:
    """With `average` the mean is scored and saved as the model; what is trained is saved beside it."""
    plain, averaging = make_trainer(tmp_path), make_trainer(tmp_path, train__average=0.9)
    assert plain.mean is plain.parameters
    expected = averaging.parameters.flat.copy()
    np.testing.assert_array_equal(averaging.mean.flat, expected)
    for t in range(1, 31):
        assert plain.update() == averaging.update(), "training is the same"
        d = min(0.9, t / (t + 9))
        expected = d * expected + (1 - d) * averaging.parameters.flat
        np.testing.assert_allclose(averaging.mean.flat, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(averaging.parameters.flat, plain.parameters.flat)
    saved = averaging.snapshot()
    np.testing.assert_array_equal(saved.parameters.flat, averaging.mean.flat)
    np.testing.assert_array_equal(saved.training["trained"], plain.parameters.flat)
    scored = averaging.validate()
    text = averaging.corpus.part("validation")
    assert scored == score(
        averaging.model, averaging.mean, text, team=ALONE.of(parts=averaging.config.train.shards)
    )
    assert scored != plain.validate()
    assert averaging.score(averaging.model, plain.mean, text) == plain.validate(), "of any parameters"
    averaging.mean["output.b"][0] = np.nan
    with pytest.raises(DivergenceError, match="update 30: the validation loss is not a finite number"):
        averaging.validate()


@pytest.mark.parametrize(("before", "after"), [(0.9, 0.0), (0.0, 0.9)])
def test_a_mean_can_begin_and_end_with_a_resume(tmp_path: Path, before: float, after: float) -> None:
    """What is trained goes on exactly; a new mean begins with it, and one that ends is left."""
    first, expected = make_trainer(tmp_path, train__average=before), make_trainer(tmp_path)
    _advance(first, 20)
    second = make_trainer(tmp_path, train__average=after)
    second.restore(first.snapshot(), "run")
    assert _advance(second, 20) == _advance(expected, 40)[-60:]
    np.testing.assert_array_equal(second.parameters.flat, expected.parameters.flat)


def test_validation_does_not_touch_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training with validations in between, divided into the same shards, equals training without."""
    shards = []

    def recorded(*args: Any, **kwargs: Any) -> Score:
        shards.append(kwargs["team"].parts)
        return score(*args, **kwargs)

    monkeypatch.setattr("charlm.training.trainer.score", recorded)
    plain, interrupted = (
        make_trainer(tmp_path, model__dropout=0.3, train__shards=2),
        make_trainer(tmp_path, model__dropout=0.3, train__shards=2),
    )
    _advance(plain, 20)
    for _ in range(20):
        _advance(interrupted, 1)
        result = interrupted.validate()
        assert result is not None
        assert result.characters == len(interrupted.corpus.part("validation")) - 1
    assert _state(plain) == _state(interrupted)
    assert shards == [2] * 20


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_never_reaches_the_parameters(tmp_path: Path, where: str) -> None:
    """A loss or gradient that is not finite stops training, named, with the parameters as they were."""
    trainer = make_trainer(tmp_path)
    _advance(trainer, 3)
    if where == "loss":
        trainer.parameters["output.b"][2] = np.nan
    before = trainer.parameters.flat.copy(), {n: s.copy() for n, s in trainer.optimizer.slots.items()}
    backpropagate = trainer.sharded.backpropagate

    def broken(number: int, *noise: Any) -> float:
        loss = backpropagate(number, *noise)
        trainer.sharded.grads.flat[17] = np.inf
        return loss

    with pytest.MonkeyPatch.context() as patch:
        if where == "gradient":
            patch.setattr(trainer.sharded, "backpropagate", broken)
        what = {"loss": "loss", "gradient": "gradient of layers.0.Wx"}[where]
        with pytest.raises(DivergenceError, match=f"update 4: the {what} is not a finite number"):
            trainer.update()
    np.testing.assert_array_equal(trainer.parameters.flat, before[0])
    for name, slot in before[1].items():
        np.testing.assert_array_equal(trainer.optimizer.slots[name], slot)


def test_a_loss_too_large_to_be_summed_is_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss of 1e200 nats, though a number, is treated as none: the sum of a few such losses is not one."""
    trainer = make_trainer(tmp_path)
    monkeypatch.setattr(trainer.sharded, "backpropagate", lambda *_: 1e200)
    with pytest.raises(DivergenceError, match="the loss is not a finite number"):
        trainer.update()


def _spoil(trainer: Trainer, patch: pytest.MonkeyPatch, updates: range) -> None:
    """Make the gradient, and the state that is carried on, not finite in these updates."""
    backpropagate = trainer.sharded.backpropagate

    def broken(number: int, *noise: Any) -> float:
        loss = backpropagate(number, *noise)
        if trainer.tally.step + 1 in updates:
            for name in ("output.W", "output.b"):
                trainer.sharded.grads[name].flat[1] = np.nan
            trainer.state[0, 0, 1, 0] = np.inf
        return loss

    patch.setattr(trainer.sharded, "backpropagate", broken)


def test_updates_that_are_not_finite_can_be_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `skip` such an update is dropped, counted and told, spoilt streams begin anew.

    The optimiser counts the others alone: its moments have not seen those that were dropped.
    """
    trainer = make_trainer(tmp_path, train__on_nonfinite="skip")
    _spoil(trainer, monkeypatch, range(3, 5))
    update, numbers = trainer.sharded.update, list[int]()

    def counted(lr: float, factor: float, t: int) -> None:
        numbers.append(t)
        update(lr, factor, t)

    monkeypatch.setattr(trainer.sharded, "update", counted)
    trainer.update()
    trainer.update()
    before, moments = trainer.parameters.flat.copy(), trainer.optimizer.slots["m"].copy()
    assert [trainer.update().dropped for _ in range(2)] == ["gradient of output.W"] * 2
    np.testing.assert_array_equal(trainer.parameters.flat, before)
    np.testing.assert_array_equal(trainer.optimizer.slots["m"], moments)
    assert (trainer.tally.step, trainer.tally.applied) == (4, 2)
    assert (trainer.tally.skipped, trainer.tally.skipped_in_a_row) == (2, 2)
    assert trainer.state[0, 0, 1].tolist() == [0.0] * 6
    assert np.delete(trainer.state[0, 0], 1, axis=0).all()
    assert np.isfinite([trainer.update().loss for _ in range(3)]).all()
    assert (trainer.tally.skipped, trainer.tally.skipped_in_a_row) == (2, 0)
    assert numbers == [1, 2, 3, 4, 5]


def test_ten_skipped_updates_in_a_row_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine may pass; the tenth in a row is an error, also when the run was resumed in between."""
    trainer = make_trainer(tmp_path, train__on_nonfinite="skip", train__epochs=9.0)
    _spoil(trainer, monkeypatch, range(2, 11))
    _advance(trainer, 12)
    assert trainer.tally.skipped == 9
    _spoil(trainer, monkeypatch, range(13, 99))
    for _ in range(5):
        trainer.update()
    saved = trainer.snapshot()
    checkpoint.save(tmp_path / "five.npz", saved)
    again = make_trainer(tmp_path, train__on_nonfinite="skip", train__epochs=9.0)
    again.restore(checkpoint.load(tmp_path / "five.npz"), "five")
    assert again.tally.applied == trainer.tally.applied < again.tally.step
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
        trainer.record_validation(loss)
        ended.append(trainer.finished)
    assert ended == [False, False, False, False, False, True]
    assert trainer.tally.best == 1.9


def _another(dotted: str, value: Any) -> Any:
    """Another value of a key, in place of `value`."""
    choices = KEYS[dotted].choices
    if choices:
        return next(choice for choice in choices if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return {float: 0.1, tuple: (0.7, 0.3, 0.0), str: "latin-1"}[type(value)]


@pytest.mark.parametrize("dotted", [dotted for dotted in KEYS if not dotted.startswith("run.")])
def test_what_a_resume_may_change(tmp_path: Path, dotted: str) -> None:
    """A change that would make nonsense of a run is refused, and the message names the key; no other is."""
    trainer = make_trainer(tmp_path)
    changed = trainer.config.replace({dotted: _another(dotted, trainer.config.flat()[dotted])})
    again = Trainer(Job(changed, trainer.corpus))
    if not KEYS[dotted].fixed:
        again.restore(trainer.snapshot(), "run")
        return
    with pytest.raises(RunError, match=f"run: {dotted} is .* and cannot become "):
        again.restore(trainer.snapshot(), "run")


def test_a_snapshot_tells_of_its_text(tmp_path: Path) -> None:
    """The units of the text, and of its training split; of lines, those that are predicted."""
    saved = make_trainer(tmp_path, 2).snapshot()
    assert (saved.corpus["characters"], saved.corpus["train"]) == (len(TEXT), int(0.8 * len(TEXT)))
    lines = make_line_trainer(tmp_path)
    saved, train = lines.snapshot(), lines.corpus.part("train")
    assert (saved.corpus["characters"], saved.corpus["train"]) == (len(lines.corpus.ids), train.targets)


def test_more_epochs_are_accepted(tmp_path: Path) -> None:
    """A finished run goes on when it is given more epochs."""
    trainer = make_trainer(tmp_path, train__epochs=1.0)
    _advance(trainer, trainer.planned_steps)
    assert trainer.finished
    longer = make_trainer(tmp_path, train__epochs=2.0)
    longer.restore(trainer.snapshot(), "run")
    assert not longer.finished
    assert longer.tally.step == trainer.tally.step


@pytest.mark.parametrize("transport", ["processes", "threads"])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(cell.values()))
def test_any_number_of_workers_gives_the_same_bits(
    tmp_path: Path, cell: dict[str, Any], transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1, 2 and 4 workers, processes or threads, end in equal bytes with the same shards.

    Both meet every cell, and each cell has one mask with processes and the other with threads.
    """
    mask = "window" if (transport == "threads") == (cell["model__cell"] == "gru") else "step"
    if transport == "threads":
        monkeypatch.setattr("charlm.system.workers._FORKS", False)
    values = {**cell, **REGULARISED[mask], "train__batch": 13, "train__generations": 2, "train__epochs": 0.4}
    states = []
    for threads in (1, 2, 4):
        with make_trainer(tmp_path, threads, train__shards=4, **values) as trainer:
            reports = _advance(trainer, 12)
            validation = trainer.validate()
            states.append((reports, validation, _state(trainer)))
    assert states[0] == states[1] == states[2]


def test_noise_on_weights_is_the_same_in_all_shards(tmp_path: Path) -> None:
    """A mask that all streams share is drawn once a window, however the batch is divided."""
    losses = []
    for threads in (1, 3):
        values = {"train__batch": 13, "train__lr": 1e-9, "model__weight_drop": 0.5}
        with make_trainer(tmp_path, threads, np.float64, **values) as trainer:
            assert trainer.config.train.shards == threads
            losses.append([trainer.update().loss for _ in range(5)])
    np.testing.assert_allclose(*losses, rtol=1e-9)
    assert len(set(losses[0])) == 5


WORDS = [("abcdefghijklmnop" * 2)[n % 11 : n % 11 + 1 + 5 * n % 13] for n in range(45)]
"""Lines of 2 to 14 characters, the line break counted."""


def make_line_trainer(
    directory: Path,
    threads: int = 1,
    dtype: npt.DTypeLike = np.float32,
    words: list[str] = WORDS,
    **values: Any,
) -> Trainer:
    """A small trainer on `words`, each a line; nine batches of four of them, in windows of at most 7."""
    (directory / "text.txt").write_text("".join(f"{word}\n" for word in words))
    return make_trainer(directory, threads, dtype, corpus__mode="lines", **values)


def _gradients_one_line_at_a_time(trainer: Trainer, windows: list[Window]) -> list[tuple[float, Parameters]]:
    """The slow twin: mean loss and gradients of a batch's windows, each line alone, without padding."""
    model, parameters = trainer.model, trainer.parameters
    states = [model.zero_state(1, np.float64) for _ in range(trainer.streams.batch)]
    results = []
    for x, y, padding, _ in windows:
        mask = np.ones(x.shape, bool) if padding is None else padding
        total, nats = parameters.zeros_like(), 0.0
        for b in range(x.shape[1]):
            T = int(mask[:, b].sum())
            if T == 0:
                continue
            workspace, own = Workspace(), parameters.zeros_like()
            window = model.forward(parameters, x[:T, b : b + 1], states[b], workspace)
            logits, states[b] = window.output, window.state
            p = np.exp(logits[:, 0]) / np.exp(logits[:, 0]).sum(axis=1, keepdims=True)
            onehot = np.eye(model.vocab)[y[:T, b]]
            nats -= float(np.log((p * onehot).sum(axis=1)).sum())
            dlogits = ((p - onehot) / mask.sum())[:, None]
            window.backward(own, dlogits)
            total.flat += own.flat
        results.append((nats / float(mask.sum()), total))
    return results


def _gradients(trainer: Trainer) -> list[tuple[float, Parameters]]:
    """Mean loss and gradients of every window of an epoch, as the trainer computes them."""
    results = []
    for step in range(trainer.steps_per_epoch):
        if trainer.streams.resets_state(step):
            trainer.state[...] = 0.0
        loss = trainer.sharded.backpropagate(step, trainer.rng)
        trainer.sharded.clip_values()
        results.append((loss, trainer.sharded.grads.copy()))
    return results


def _differ(first: list[tuple[float, Parameters]], second: list[tuple[float, Parameters]]) -> float:
    """The largest difference of a loss or a gradient."""
    return max(
        max(abs(mine - theirs), float(np.abs(ours.flat - others.flat).max()))
        for (mine, ours), (theirs, others) in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(cell.values()))
def test_padding_changes_no_gradient(tmp_path: Path, cell: dict[str, Any], threads: int) -> None:
    """Lines side by side, with padding, have the mean loss and gradients of each line run alone."""
    trainer = make_line_trainer(tmp_path, threads, np.float64, **cell, train__batch=8)
    windows = [trainer.streams.window(step) for step in range(trainer.steps_per_epoch)]
    begins = [step for step in range(len(windows)) if trainer.streams.resets_state(step)]
    assert trainer.config.train.shards == threads
    assert len(begins) < len(windows), "no line is cut"
    assert any(mask is not None and (~mask).all(axis=0).any() for _, _, mask, _ in windows), "no row is empty"
    expected = []
    for first, stop in zip(begins, [*begins[1:], len(windows)], strict=True):
        expected += _gradients_one_line_at_a_time(trainer, windows[first:stop])
    assert _differ(_gradients(trainer), expected) < 1e-12


@pytest.mark.parametrize("heeded", [True, False])
def test_what_padding_holds_does_not_matter(
    tmp_path: Path, heeded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other ids in the padding change nothing; and much, where it is not said to be padding."""
    trainer = make_line_trainer(tmp_path, dtype=np.float64)
    expected = _gradients(trainer)
    window = trainer.streams.window
    rng = np.random.default_rng(0)

    def other(ids: Ids, mask: npt.NDArray[np.bool]) -> Ids:
        return np.where(mask, ids, rng.integers(0, trainer.model.vocab, ids.shape))

    def filled(step: int) -> Window:
        x, y, mask, places = window(step)
        if mask is None:
            return Window(x, y, None, places)
        return Window(other(x, mask), other(y, mask), mask if heeded else None, places)

    monkeypatch.setattr(trainer.streams, "window", filled)
    difference = _differ(_gradients(trainer), expected)
    assert difference < 1e-12 if heeded else difference > 1e-3


@pytest.mark.parametrize(("lines", "begins"), [(False, 1), (True, 9)])
def test_the_state_is_carried_until_the_text_begins_anew(tmp_path: Path, lines: bool, begins: int) -> None:
    """The first window of an epoch, or of a batch of lines, begins from zeros; every other is carried on."""
    trainer = (make_line_trainer if lines else make_trainer)(tmp_path)
    ends, zeros = list[bytes](), list[int]()
    forward = type(trainer.model).forward

    def spy(model: Any, parameters: Any, x: Any, state: Any, *rest: Any) -> Any:
        if state.any():
            assert state.tobytes() == ends[-1]
        else:
            zeros.append(trainer.tally.step)
        result = forward(model, parameters, x, state, *rest)
        ends.append(result.state.tobytes())
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(trainer.model), "forward", spy)
        _advance(trainer, 2 * trainer.steps_per_epoch)
    assert zeros == [step for step in range(len(ends)) if trainer.streams.resets_state(step)]
    assert zeros[begins] == trainer.steps_per_epoch
    assert len(zeros) == 2 * begins < len(ends)


def test_an_epoch_of_lines_counts_their_characters(tmp_path: Path) -> None:
    """The characters of an epoch's updates are those of the training lines, padding not counted."""
    trainer = make_line_trainer(tmp_path)
    for _ in range(2):
        counted = sum(trainer.update().characters for _ in range(trainer.steps_per_epoch))
        assert counted == trainer.corpus.part("train").targets
    score = trainer.validate()
    assert score is not None
    assert score.characters == trainer.corpus.part("validation").targets


@pytest.mark.parametrize(
    ("updates", "mask", "threads"), [(15, "step", 1), (31, "window", 1), (15, "window", 2), (31, "step", 2)]
)
def test_lines_resume_exactly(tmp_path: Path, updates: int, mask: str, threads: int) -> None:
    """Stopped in the middle of an epoch, and of a line, training goes on bit for bit."""
    make = partial(make_line_trainer, tmp_path, threads, train__batch=9, **REGULARISED[mask])
    one = make()
    while updates % one.steps_per_epoch == 0 or one.streams.resets_state(updates):
        updates += 1
    _assert_exact(make, tmp_path / "last.npz", updates)


TAUGHT: dict[str, Any] = {
    "model__dropout": 0.3,
    "train__average": 0.5,
    "train__schedule": "cosine",
    "train__epochs": 2.0,
    "train__generations": 3,
    "train__teacher": COUNTS,
    "train__taught_share": 0.6,
}
"""Three networks, one after the other; the first is taught by the counts of the text."""


def test_a_network_follows_another(tmp_path: Path) -> None:
    """Each begins as a run of its own does, with other weights; counts teach the first, networks the rest."""
    trainer, alone = make_trainer(tmp_path, **TAUGHT), make_trainer(tmp_path, train__epochs=2.0)
    updates, V = alone.planned_steps, trainer.model.vocab
    assert trainer.planned_steps == 3 * updates
    begun, taught, counts = [], [], Table(trainer.corpus.part("train"), V, 1, 0.5)
    list(counts.add_counts())
    places = np.arange(1, 80)
    table = trainer.table
    assert table is not None
    for number in range(3):
        assert trainer.begins_network
        list(trainer.prepare())
        assert not trainer.begins_network
        assert (table.teachers, table.share) == ((1, 0.5), (1, 0.6), (2, 0.6))[number]
        if not number:
            for mine, theirs in zip(table.at(places) or (), counts.at(places) or (), strict=True):
                np.testing.assert_array_equal(mine, theirs)
        assert trainer.tally.applied == trainer.tally.applied_before
        begun.append(trainer.parameters.flat.copy())
        assert not any(slot.any() for slot in trainer.optimizer.slots.values())
        assert trainer.mean.flat.tobytes() == trainer.parameters.flat.tobytes()
        losses = [trainer.update() for _ in range(updates)]
        assert [update.lr for update in losses] == [
            trainer.config.train.lr * trainer.schedule.factor(step, Plateau()) for step in range(updates)
        ]
        taught.append(trainer.mean.copy())
    assert trainer.finished
    assert len({weights.tobytes() for weights in begun}) == 3
    expected = Table(trainer.corpus.part("train"), V, 2, 0.6)
    for params in taught[:2]:
        list(expected.add_network(trainer.model, params))
    for mine, theirs in zip(table.at(places) or (), expected.at(places) or (), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_networks_without_a_chain_learn_alike(tmp_path: Path) -> None:
    """Each begins with other weights, and is taught by the counts, which have read once, as the first is."""
    trainer = make_trainer(tmp_path, **TAUGHT, train__chain=False)
    alone, begun = make_trainer(tmp_path, **TAUGHT, train__chain=False), []
    updates, table = trainer.schedule.steps, trainer.table
    assert table is not None
    for number in range(3):
        assert (trainer.begins_network, trainer.teachers_wait) == (True, number == 0)
        assert bool(list(trainer.prepare())) == (number == 0)
        assert (table.teachers, table.share) == (1, 0.5)
        begun.append(trainer.parameters.flat.copy())
        alone.parameters.flat[...], alone.mean.flat[...] = begun[-1], begun[-1]
        for slot in alone.optimizer.slots.values():
            slot[...] = 0.0
        alone.rng.bit_generator.state = trainer.rng.bit_generator.state
        alone.state[...], alone.tally.step = trainer.state, 0
        for _ in range(updates - 1):
            trainer.update()
            alone.update()
        assert trainer.parameters.flat.tobytes() == alone.parameters.flat.tobytes()
        trainer.update()
    assert trainer.finished
    assert len({weights.tobytes() for weights in begun}) == 3


@pytest.mark.parametrize("make", [make_trainer, make_line_trainer])
def test_counts_read_all_that_is_trained_on(tmp_path: Path, make: Callable[..., Trainer]) -> None:
    """Half an epoch is taught as by counts that read the whole text, and only its places are read."""
    parameters = []
    for whole in (False, True):
        trainer = make(tmp_path, train__teacher=COUNTS, train__epochs=0.5)
        assert trainer.table is not None
        if whole:
            list(trainer.table.add_counts())
        while not trainer.finished:
            trainer.update()
        parameters.append(trainer.parameters.flat.tobytes())
        places = np.flatnonzero(trainer.table._q.any(axis=1))
        assert (len(places) == trainer.corpus.part("train").targets) == whole
    assert parameters[0] == parameters[1]


@pytest.mark.parametrize("make", [make_trainer, make_line_trainer])
def test_an_update_learns_from_text_and_teachers(tmp_path: Path, make: Callable[..., Trainer]) -> None:
    """Its gradient is (1 - α) of the text's and α of the teachers', its loss that of the text."""
    values = {"train__teacher": COUNTS, "train__shards": 2, "train__batch": 5}
    gradients = {}
    for share in (0.0, 0.3, 1.0):
        trainer = make(tmp_path, 1, np.float64, **values, train__teacher_share=share)
        list(trainer.prepare())
        gradients[share] = _gradients(trainer)
    mixed = [
        (loss, _mixed(text, teachers, 0.3))
        for (loss, text), (_, teachers) in zip(gradients[0.0], gradients[1.0], strict=True)
    ]
    assert _differ(gradients[0.3], mixed) < 1e-12
    plain = make(tmp_path, 1, np.float64, train__shards=2, train__batch=5)
    assert _differ(gradients[0.0], _gradients(plain)) < 1e-12
    table = trainer.table  # of which the teacher now says what the text says, at every place
    assert table is not None
    others = np.asarray(table.text.ids)[:, None] + np.arange(table.named)
    table._ids[...], table._q[...] = others % trainer.model.vocab, np.eye(1, table.named)
    assert _differ(gradients[0.0], _gradients(trainer)) < 1e-12
    assert _differ(gradients[0.0], gradients[1.0]) > 1e-2


def _mixed(text: Parameters, teachers: Parameters, share: float) -> Parameters:
    mixed = text.copy()
    mixed.flat[...] = (1 - share) * text.flat + share * teachers.flat
    return mixed


@pytest.mark.parametrize("make", [make_trainer, make_line_trainer])
@pytest.mark.parametrize(("after", "chain"), [(-7, True), (0, True), (3, True), (3, False)])
def test_networks_resume_exactly(
    tmp_path: Path, make: Callable[..., Trainer], after: int, chain: bool
) -> None:
    """A checkpoint before, at or after the end of the first network goes on as if nothing had been."""
    values = TAUGHT | {"train__chain": chain}
    updates = make(tmp_path, **values).schedule.steps
    _assert_exact(partial(make, tmp_path, **values), tmp_path / "last.npz", updates + after)


def test_patience_is_of_each_network(tmp_path: Path) -> None:
    """A later network may be worse than the best for as long as it improves; the best stays."""
    trainer = make_trainer(tmp_path, train__generations=2, train__epochs=1.0, train__patience=2)
    trainer.record_validation(1.0)
    for _ in range(trainer.schedule.steps + 1):
        trainer.update()
    for loss, kept in ((5.0, False), (4.0, False), (3.0, False), (0.5, True), (0.6, False)):
        assert trainer.record_validation(loss) is kept
        assert not trainer.out_of_patience
    assert not trainer.record_validation(0.5)
    assert trainer.out_of_patience
    assert trainer.finished
    assert trainer.tally.best == 0.5
    first = make_trainer(tmp_path, train__generations=2, train__epochs=1.0, train__patience=1)
    first.update()
    for loss in (1.0, 2.0):
        first.record_validation(loss)
    assert first.begins_network, "the first one's patience has run out"
    first.update()
    assert (first.tally.generation, first.tally.begun, first.out_of_patience) == (1, 1, False)


def test_a_resume_keeps_the_networks_that_there_are(tmp_path: Path) -> None:
    """Fewer networks than have begun are refused; more are trained."""
    trainer = make_trainer(tmp_path, train__generations=2, train__epochs=1.0)
    for _ in range(trainer.schedule.steps + 1):
        trainer.update()
    for generations in (1, 2, 3):
        config = trainer.config.replace({"train.generations": generations})
        job = Job(config, trainer.corpus, saved=trainer.snapshot())
        if generations > 1:
            assert Trainer(job).planned_steps == generations * trainer.schedule.steps
            continue
        with pytest.raises(ConfigError, match=r"train.generations: run .* has begun network 2"):
            Trainer(job)


@pytest.mark.parametrize("transport", ["processes", "threads"])
@pytest.mark.parametrize("make", [make_trainer, make_line_trainer])
def test_shards_change_no_more_than_the_order_of_sums(
    tmp_path: Path, make: Callable[..., Trainer], transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three shards, one for each worker, compute what one does, but for rounding."""
    if transport == "threads":
        monkeypatch.setattr("charlm.system.workers._FORKS", False)
    values = {"model__dropout": 0.3, "train__batch": 13}
    with (
        make(tmp_path, 1, np.float64, **values) as alone,
        make(tmp_path, 3, np.float64, **values) as together,
    ):
        assert (alone.config.train.shards, together.config.train.shards) == (1, 3)
        updates = 3 * alone.steps_per_epoch
        np.testing.assert_allclose(_advance(together, updates), _advance(alone, updates), rtol=1e-9)
        np.testing.assert_allclose(together.parameters.flat, alone.parameters.flat, rtol=0, atol=1e-9)
        np.testing.assert_allclose(together.state, alone.state, rtol=0, atol=1e-9)


def test_lines_are_learned(tmp_path: Path) -> None:
    """A few words are learned down to the choice between them, which is ln 4 nats a word."""
    words = ["ant", "bumblebee", "cat", "dragonfly"] * 20
    values: dict[str, Any] = {"model__hidden": 32, "model__layers": 1, "train__lr": 0.02}
    trainer = make_line_trainer(tmp_path, words=words, **values)
    for _ in range(200):
        trainer.update()
    score = trainer.validate()
    assert score is not None
    # a quarter of the words each, as nearly as 16 of them are: 28 characters for four words
    assert np.log(4) * 4 / 28 * 0.8 < score.nats_per_char < np.log(4) * 4 / 28 * 1.4


def test_a_small_text_shrinks_the_batch(tmp_path: Path) -> None:
    """A text too small for the batch is trained on all the same, with a warning that says how."""
    lines = make_line_trainer(tmp_path, words=["a", "bc", "d"], train__batch=50)
    assert lines.warning == "the training split has only 2 lines: train.batch from 50 to 2"
    assert make_line_trainer(tmp_path).warning is None
    (tmp_path / "text.txt").unlink()
    text = make_trainer(tmp_path, train__batch=1000)
    assert text.warning is not None
    assert f"train.batch from 1000 to {text.streams.batch}" in text.warning
    assert make_trainer(tmp_path).warning is None
    for trainer in (lines, text):
        _advance(trainer, 2)


def test_a_training_split_of_nothing_is_refused(tmp_path: Path) -> None:
    """There must be something to predict in the training split."""
    with pytest.raises(RunError, match="training split holds one character;"):
        make_trainer(tmp_path, corpus__split=(0.004, 0.996, 0.0))
    with pytest.raises(RunError, match="training split holds no lines"):
        make_line_trainer(tmp_path, words=["abcdefgh", "abcdefgh"], corpus__split=(0.4, 0.6, 0.0))


def test_each_update_uses_the_rate_of_its_own_position(tmp_path: Path) -> None:
    """The first update has the first rate of the schedule, the last one the last."""
    trainer = make_trainer(
        tmp_path, train__schedule="linear", train__warmup=4, train__lr=0.01, train__epochs=1.0
    )
    rates = [trainer.update().lr for _ in range(trainer.planned_steps)]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert rates == [0.01 * trainer.schedule.factor(step, Plateau()) for step in range(len(rates))]
    assert trainer.finished


def test_the_best_step_is_that_of_the_validated_parameters(tmp_path: Path) -> None:
    """The update after which the lowest loss was measured is noted, and only a lower loss replaces it."""
    trainer = make_trainer(tmp_path)
    for loss, best in ((3.0, True), (3.0, False), (2.0, True), (2.5, False)):
        trainer.update()
        assert trainer.record_validation(loss) is best
        assert trainer.tally.validation == loss
    assert (trainer.tally.best, trainer.tally.best_step) == (2.0, 3)


def test_a_mean_loss_is_that_of_characters() -> None:
    """A window counts by its characters in the mean loss, and once in the mean norm and the share."""
    means = Means()
    assert (means.loss, means.norm, means.clipped_share) == (None, None, None)
    means.add(Update(loss=2.0, norm=3.0, lr=0.1, characters=10, clipped=True), seconds=1.0)
    means.add(Update(loss=1.0, norm=1.0, lr=0.1, characters=30), seconds=3.0)
    assert (means.loss, means.norm, means.clipped_share, means.chars_per_s) == (1.25, 2.0, 0.5, 10.0)


@pytest.mark.parametrize(
    ("clip_norm", "clip_value", "clipped"),
    [(0.0, 0.0, False), (1e6, 1e6, False), (1e-3, 0.0, True), (0.0, 1e-4, True), (1e6, 1e-4, True)],
)
def test_an_update_says_whether_it_was_clipped(
    tmp_path: Path, clip_norm: float, clip_value: float, clipped: bool
) -> None:
    """It was if its norm or any of its values was above the limit; 0 is none."""
    trainer = make_trainer(tmp_path, train__clip_norm=clip_norm, train__clip_value=clip_value)
    assert trainer.update().clipped is clipped
