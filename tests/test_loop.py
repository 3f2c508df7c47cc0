"""The loop around the trainer: what it logs, saves and tells, and that it can be left at any update."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MEASURED, TEXT, make_trainer

from charlm.data.texts import Text
from charlm.inference.score import Score, score
from charlm.runs import checkpoint, directory
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.directory import RunDirectory
from charlm.runs.log import COLUMNS
from charlm.training.events import Event, Logged, Previewed, Stopped, Taught, Updated, Validated, Warned
from charlm.training.loop import preview, run
from charlm.training.trainer import Trainer


def _begin(path: Path, trainer: Trainer) -> RunDirectory:
    directory = RunDirectory(path)
    directory.create(trainer.config.to_commented_yaml())
    return directory


def _trained(path: Path, **values: Any) -> tuple[Trainer, RunDirectory, list[Event]]:
    """A trainer whose run is over, the run's directory, and what was told."""
    trainer = make_trainer(path, **values)
    directory = _begin(path / "run", trainer)
    return trainer, directory, list(run(trainer, directory))


def _log(directory: RunDirectory) -> list[dict[str, Any]]:
    """The log without measured speeds."""
    lines = [json.loads(line) for line in directory.metrics.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]


def _kinds(events: list[Event]) -> list[type]:
    return [type(event) for event in events if not isinstance(event, Updated)]


def test_events_of_a_whole_run(tmp_path: Path) -> None:
    """Validations, previews and log lines come when they are due, and the end is told."""
    trainer, directory, events = _trained(tmp_path, train__epochs=2.0, run__log_every=4, run__eval_every=0.5)
    assert trainer.steps_per_epoch == 12
    steps = [line["step"] for line in _log(directory)]
    # validations every half epoch, log lines at multiples of 4
    assert steps == [4, 6, 8, 12, 16, 18, 20, 24]
    validated = [line["step"] for line in _log(directory) if line["validation_loss"] is not None]
    assert validated == [6, 12, 18, 24]
    epoch = [Logged, Validated, Logged, Validated, Previewed]
    assert _kinds(events) == [*epoch, *epoch, Stopped]
    assert isinstance(events[-1], Stopped)
    assert (events[-1].finished, events[-1].step, events[-1].epoch) == (True, 24, 2.0)
    assert events[-1].best_of == "validation"
    assert sum(isinstance(event, Updated) for event in events) == 24


def test_events_hold_the_numbers_of_their_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update has its own loss, a report or validation the mean of those since the one before.

    The last update is validated and previewed, though nothing falls due then; each state is saved once.
    """
    values = {"train__epochs": 2.0, "run__eval_every": 0.75, "run__sample_every": 0.75, "run__log_every": 4}
    trainer, twin = make_trainer(tmp_path, **values), make_trainer(tmp_path)
    directory, saved = _begin(tmp_path / "run", trainer), []
    save = checkpoint.save

    def counted(path: Path, content: checkpoint.Checkpoint) -> None:
        saved.append(path.name)
        save(path, content)

    monkeypatch.setattr(checkpoint, "save", counted)
    events = list(run(trainer, directory))
    updates = [twin.update() for _ in range(24)]
    assert [event.loss for event in events if isinstance(event, Updated)] == [one.loss for one in updates]
    validated = [event for event in events if isinstance(event, Validated)]
    assert [event.step for event in validated] == [9, 18, 24]
    for event, first in zip(validated, (0, 9, 18), strict=True):
        since = updates[first : event.step]
        nats = sum(update.loss * update.characters for update in since)
        assert event.train_loss == pytest.approx(nats / sum(update.characters for update in since))
    (logged,) = (event for event in events if isinstance(event, Logged) and event.step == 20)
    assert logged.train_loss == pytest.approx(sum(update.loss for update in updates[18:20]) / 2)
    previews = [json.loads(line)["step"] for line in directory.previews.read_text().splitlines()]
    assert previews == [9, 18, 24]
    assert saved.count("last.npz") == 3
    stopped = events[-1]
    assert isinstance(stopped, Stopped)
    total = trainer.tally.total
    assert (stopped.seconds, stopped.chars_per_s) == (total.seconds, total.chars_per_s)
    assert total.seconds > 0


def test_a_dropped_update_is_told_and_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning names it, its loss is none, and the means of the log are those of the other updates."""
    trainer, twin = (
        make_trainer(tmp_path, train__on_nonfinite="skip", train__epochs=1.0, run__log_every=3)
        for _ in range(2)
    )
    backpropagate = trainer.sharded.backpropagate
    monkeypatch.setattr(
        trainer.sharded,
        "backpropagate",
        lambda step, *noise: math.nan if step == 2 else backpropagate(step, *noise),
    )
    directory = _begin(tmp_path / "run", trainer)
    events = list(run(trainer, directory))
    (warning,) = (event.message for event in events if isinstance(event, Warned))
    assert warning == "update 3 was dropped: the loss is not a finite number"
    losses = [event.loss for event in events if isinstance(event, Updated)]
    assert (losses[2], None in losses[:2] + losses[3:]) == (None, False)
    two = [twin.update() for _ in range(2)]
    nats = sum(update.loss * update.characters for update in two)
    expected = nats / sum(update.characters for update in two)
    assert _log(directory)[0]["train_loss"] == pytest.approx(expected)
    assert isinstance(events[-1], Stopped)
    assert events[-1].skipped == 1


def test_rounding_makes_no_report_late(tmp_path: Path) -> None:
    """A tenth of 12 updates is 1.2000000000000002 in floats; five of them are due after the sixth update."""
    trainer, _, events = _trained(tmp_path, train__epochs=1.0, run__eval_every=0.1)
    assert trainer.steps_per_epoch == 12
    validated = [event.step for event in events if isinstance(event, Validated)]
    assert validated == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(("epochs", "at_the_end"), [(1.0, True), (0.5, False)])
def test_a_long_split_is_validated_in_part(tmp_path: Path, epochs: float, at_the_end: bool) -> None:
    """Always on the same beginning; the best model is scored on the whole at the end, if that is quick."""
    values = {"run__eval_length": 20, "run__eval_every": 0.25, "train__lr": 0.2, "train__average": 0.5}
    trainer = make_trainer(tmp_path, train__epochs=epochs, corpus__split=(0.83, 0.17, 0.0), **values)
    whole = trainer.corpus.part("validation")
    scored = []
    run_directory = _begin(tmp_path / "run", trainer)
    for event in run(trainer, run_directory):
        if isinstance(event, Validated):
            text = Text(whole.ids[:21])
            scored.append(score(trainer.model, trainer.mean, text).nats_per_char)
            assert event.validation_loss == pytest.approx(scored[-1])
    assert isinstance(event, Stopped)
    assert event.best == pytest.approx(min(scored))
    best = checkpoint.load(run_directory.best)
    assert (event.best_step < event.step) == at_the_end, "the last model is not the best"
    assert event.whole == (
        pytest.approx(score(trainer.model, best.parameters, whole).nats_per_char) if at_the_end else None
    )
    (again,) = run(trainer, run_directory)
    assert isinstance(again, Stopped)
    assert again.whole is None, "what is finished is not scored again"


def test_log_lines(tmp_path: Path) -> None:
    """A line holds the mean loss and norm of its updates, before clipping, and the rate and position."""
    values = {"train__epochs": 1.0, "train__schedule": "linear"}
    trainer, twin = make_trainer(tmp_path, run__log_every=4, **values), make_trainer(tmp_path, **values)
    directory = _begin(tmp_path / "run", trainer)
    list(run(trainer, directory))
    updates = [twin.update() for _ in range(4)]
    line = _log(directory)[0]
    characters = sum(update.characters for update in updates)
    assert line["train_loss"] == pytest.approx(
        sum(update.loss * update.characters for update in updates) / characters
    )
    assert line["grad_norm"] == pytest.approx(sum(update.norm for update in updates) / 4)
    assert line["clipped"] == 0.0
    assert line["lr"] == updates[-1].lr == pytest.approx(0.002 * 9 / 12)
    assert (line["step"], line["epoch"], line["validation_loss"]) == (4, 4 / 12, None)


def test_best_and_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """best.npz holds the lowest validation loss, last.npz the end, and the log every loss."""
    losses = [3.0, 2.0, 2.5, 2.25]
    scores = iter(Score(nll=10 * loss, characters=10) for loss in losses)
    monkeypatch.setattr(Trainer, "validate", lambda _: next(scores))
    trainer, directory, events = _trained(tmp_path, train__epochs=4.0)
    logged = {line["step"]: line["validation_loss"] for line in _log(directory)}
    assert [loss for loss in logged.values() if loss is not None] == losses
    best, last = checkpoint.load(directory.best), checkpoint.load(directory.last)
    assert best.progress["step"] == 2 * trainer.steps_per_epoch
    assert best.progress["best"] == last.progress["best"] == 2.0
    assert last.progress["step"] == trainer.planned_steps
    assert [event.is_best for event in events if isinstance(event, Validated)] == [True, True, False, False]
    assert isinstance(events[-1], Stopped)
    assert (events[-1].best, events[-1].best_step) == (2.0, best.progress["step"])


def test_a_new_run_is_in_force_from_its_first_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of a run that is overwritten are replaced once last.npz is whole, not by best.npz alone."""
    calls: list[str] = []
    monkeypatch.setattr(checkpoint, "save", lambda path, _: calls.append(path.name))
    monkeypatch.setattr(RunDirectory, "publish", lambda _: calls.append("published"))
    trainer = make_trainer(tmp_path, train__epochs=1.0)
    list(run(trainer, _begin(tmp_path / "run", trainer)))
    assert calls == ["best.npz", "last.npz", "published"]


def test_a_best_model_is_kept_before_training_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed while its best model is written repeats that validation, and keeps the model."""
    losses = {12: 3.0, 24: 1.0, 36: 2.0}

    def validate(trainer: Trainer) -> Score:
        return Score(nll=losses[trainer.tally.step], characters=1)

    def save(path: Path, saved: Checkpoint) -> None:
        if path.name == "best.npz" and saved.progress["best"] == 1.0:
            raise KeyboardInterrupt
        checkpoint_save(path, saved)

    checkpoint_save = checkpoint.save
    monkeypatch.setattr(Trainer, "validate", validate)
    killed = make_trainer(tmp_path, train__epochs=3.0)
    run_directory = _begin(tmp_path / "run", killed)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save)
        with pytest.raises(KeyboardInterrupt):
            list(run(killed, run_directory))
    resumed = make_trainer(tmp_path, train__epochs=3.0)
    resumed.restore(checkpoint.load(run_directory.last), "run")
    list(run(resumed, run_directory))
    assert checkpoint.load(run_directory.best).progress["best"] == 1.0


def test_a_checkpoint_counts_only_lines_that_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is flushed before a checkpoint that stores its length, so that a power cut loses none.

    A line that could not be written before is among them.
    """
    flushed, counted, appended = [0], [], iter(range(99))
    append_whole = directory.append_whole

    def append(file: Path, data: bytes) -> int:
        if next(appended) == 2:  # the line of the first validation
            raise OSError(28, "No space left on device")
        return append_whole(file, data)

    def flush(file: Path) -> None:
        flushed.append(file.stat().st_size)

    def save(path: Path, saved: Checkpoint) -> None:
        counted.append(saved.progress["log_bytes"])
        assert counted[-1] == flushed[-1]

    monkeypatch.setattr(directory, "append_whole", append)
    monkeypatch.setattr(directory, "flush", flush)
    monkeypatch.setattr(checkpoint, "save", save)
    trainer = make_trainer(tmp_path, train__epochs=2.0, run__log_every=4)
    list(run(trainer, _begin(tmp_path / "run", trainer)))
    assert len(set(counted)) == 2


def test_without_validation_best_goes_by_training_loss(tmp_path: Path) -> None:
    """A corpus without a validation split still has a best checkpoint."""
    _, directory, events = _trained(tmp_path, corpus__split=(1.0, 0.0, 0.0), train__epochs=2.0)
    validated = [event for event in events if isinstance(event, Validated)]
    assert [event.validation_loss for event in validated] == [None, None]
    assert checkpoint.load(directory.best).progress["best"] == min(event.train_loss for event in validated)


def test_a_line_has_every_key(tmp_path: Path) -> None:
    """The keys are those that readers rely on, in their order; seconds are all those of training so far."""
    trainer, directory, _ = _trained(tmp_path, train__epochs=2.0, run__log_every=4)
    lines = [json.loads(line) for line in directory.metrics.read_text().splitlines()]
    assert {tuple(line) for line in lines} == {tuple(COLUMNS)}
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)
    assert seconds[-1] == pytest.approx(trainer.tally.total.seconds, abs=0.001)


def test_the_share_of_clipped_updates_is_logged(tmp_path: Path) -> None:
    """It is that of the updates since the line before: here of some whose norm is above the limit."""
    still = {"train__optimizer": "sgd", "train__lr": 1e-30}  # clipping does not change what follows
    twin = make_trainer(tmp_path, train__clip_norm=0.0, **still)
    norms = [twin.update().norm for _ in range(8)]
    limit = sum(sorted(norms[:4])[1:3]) / 2  # two of the first four are above it
    trainer = make_trainer(tmp_path, train__clip_norm=limit, run__log_every=4, **still)
    directory = _begin(tmp_path / "run", trainer)
    list(run(trainer, directory, max_steps=8))
    shares = [line["clipped"] for line in _log(directory)]
    assert shares == [sum(norm > limit for norm in norms[i : i + 4]) / 4 for i in (0, 4)]
    assert shares[0] == 0.5


@pytest.mark.parametrize("stop", [1, 9, 12, 31])
def test_stopping_and_resuming_leaves_no_trace(tmp_path: Path, stop: int) -> None:
    """A run stopped behind any update and resumed writes the log and the model of one that was not."""
    values = {
        "train__epochs": 3.0,
        "run__log_every": 4,
        "run__eval_every": 0.7,
        "run__eval_length": 50,
        "model__dropout": 0.2,
    }
    whole = make_trainer(tmp_path, **values)
    whole_directory = _begin(tmp_path / "whole", whole)
    list(run(whole, whole_directory))

    first = make_trainer(tmp_path, **values)
    directory = _begin(tmp_path / "stopped", first)
    events = list(run(first, directory, max_steps=stop))
    assert isinstance(events[-1], Stopped)
    assert not events[-1].finished
    # what a crash may leave in the log behind the checkpoint
    for file in (directory.metrics, directory.previews):
        with file.open("a") as left:
            left.write('{"step": 99}\n{"st')
    second = make_trainer(tmp_path, **values)
    second.restore(checkpoint.load(directory.last), "run")
    directory.continue_from(second.config.to_commented_yaml(), second.tally.log_bytes, second.tally.step)
    list(run(second, directory))

    assert _log(directory) == _log(whole_directory)
    assert directory.previews.read_text() == whole_directory.previews.read_text()
    assert (second.parameters.flat == whole.parameters.flat).all()
    assert (
        checkpoint.load(directory.best).progress["best"]
        == checkpoint.load(whole_directory.best).progress["best"]
    )


def test_previews_and_reports_do_not_touch_training(tmp_path: Path) -> None:
    """Other values of eval_every, sample_every and log_every give the same parameters."""
    ends = []
    for sample, evaluate, log in ((0.0, 1.0, 0), (0.1, 0.1, 1)):
        reports = {"run__sample_every": sample, "run__eval_every": evaluate, "run__log_every": log}
        trainer = make_trainer(tmp_path, model__dropout=0.3, train__epochs=2.0, **reports)
        list(run(trainer, _begin(tmp_path / str(log), trainer)))
        ends.append(trainer.parameters.flat)
    assert (ends[0] == ends[1]).all()


def test_a_request_to_stop_is_heeded_after_the_update(tmp_path: Path) -> None:
    """When asked to stop, the loop ends the update in progress, saves, and says it is not finished.

    With a number of updates it stops after that one, and does no more if it is there.
    """
    trainer = make_trainer(tmp_path)
    directory = _begin(tmp_path / "run", trainer)
    seen: list[Event] = []
    for event in run(trainer, directory, should_stop=lambda: len(seen) >= 3):
        seen.append(event)
    assert _kinds(seen) == [Stopped]
    assert checkpoint.load(directory.last).progress["step"] == 3
    for _ in range(2):
        list(run(trainer, directory, max_steps=5))
        assert checkpoint.load(directory.last).progress["step"] == trainer.tally.step == 5


def test_a_run_that_is_stopped_at_once_can_be_resumed(tmp_path: Path) -> None:
    """A new run has its checkpoint though no update was done."""
    trainer = make_trainer(tmp_path)
    directory = _begin(tmp_path / "run", trainer)
    list(run(trainer, directory, should_stop=lambda: True))
    assert checkpoint.load(directory.last).progress["step"] == 0


def test_previews_are_kept(tmp_path: Path) -> None:
    """Each text that is shown is in previews.jsonl, with its update and epoch, and no other."""
    trainer = make_trainer(tmp_path, train__epochs=1.0, run__sample_every=0.25, run__sample_length=9)
    directory = _begin(tmp_path / "run", trainer)
    shown = [event.text for event in run(trainer, directory) if isinstance(event, Previewed)]
    kept = [json.loads(line) for line in directory.previews.read_text().splitlines()]
    assert [preview["text"] for preview in kept] == shown
    assert [(preview["step"], preview["epoch"]) for preview in kept] == [(n, n / 12) for n in (3, 6, 9, 12)]


def test_an_interrupted_preview_is_written_after_the_resume(tmp_path: Path) -> None:
    """A run that is stopped during a preview has it in the end, whole and in its place."""
    values = {"train__epochs": 1.0, "run__sample_every": 0.25, "run__sample_length": 9}
    _, whole, _ = _trained(tmp_path, **values)
    trainer = make_trainer(tmp_path, **values)
    directory = _begin(tmp_path / "stopped", trainer)
    list(run(trainer, directory, lambda: trainer.tally.step >= 6))
    assert directory.previews.read_text().count("\n") == 1
    again = make_trainer(tmp_path, **values)
    again.restore(checkpoint.load(directory.last), "run")
    list(run(again, directory))
    assert directory.previews.read_text() == whole.previews.read_text()


def test_a_preview_that_cannot_be_kept_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full for a moment costs a warning."""
    trainer = make_trainer(tmp_path, train__epochs=1.0)
    directory = _begin(tmp_path / "run", trainer)
    directory.previews.mkdir()
    events = list(run(trainer, directory))
    (warning,) = (event.message for event in events if isinstance(event, Warned))
    assert "previews.jsonl cannot be written: is a directory" in warning
    assert sum(isinstance(event, Previewed) for event in events) == 1


def test_preview_is_reproducible(tmp_path: Path) -> None:
    """It depends on the seed and the update alone: the first unit of the text, then as many as asked for."""
    texts = []
    for _ in range(2):
        trainer = make_trainer(tmp_path, train__epochs=1.0, run__sample_length=37)
        events = run(trainer, _begin(tmp_path / "run", trainer))
        texts += [event.text for event in events if isinstance(event, Previewed)]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 1 + 37
    assert texts[0][0] == TEXT[0]


@pytest.mark.parametrize("settings", [{}, {"corpus__normalize": "nfd"}, {"corpus__unit": "byte"}])
def test_a_preview_begins_with_whole_characters(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Nothing is missing at its beginning, whatever the unit: the first syllable, line or letter is there."""
    (tmp_path / "text.txt").write_text("한국말 " * 30)
    trainer = make_trainer(tmp_path, run__sample_length=30, **settings)
    codes = trainer.corpus.vocabulary.units.of_text("한국말 " * 10)
    ids = iter(trainer.corpus.vocabulary.encode(codes, "text")[1:31].tolist())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charlm.inference.generate.generate", lambda *_: ids)
        assert preview(trainer).startswith("한국말 한")


@pytest.mark.parametrize("unit", ["char", "jamo", "byte"])
def test_a_preview_has_as_many_units_as_asked_for(
    tmp_path: Path, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Units are drawn until there are 30, however few characters they are, and however short each text is."""
    (tmp_path / "text.txt").write_text("한국말 " * 30)
    trainer = make_trainer(tmp_path, corpus__unit=unit, run__sample_length=30)
    drawn: list[int] = []

    def draw(*_: Any) -> Iterator[int]:
        for number in trainer.corpus.ids[1:14].tolist():
            drawn.append(number)
            yield number

    monkeypatch.setattr("charlm.inference.generate.generate", draw)
    preview(trainer)
    assert len(drawn) == 30


def test_a_preview_has_random_numbers_of_the_seed(tmp_path: Path) -> None:
    """The same parameters write another text with another seed, or after another update."""
    trainer = make_trainer(tmp_path)
    texts = [preview(trainer)]
    trainer.tally.step += 1
    texts.append(preview(trainer))
    trainer.config = trainer.config.replace({"train.seed": 2})
    texts.append(preview(trainer))
    assert len(set(texts)) == 3


def test_a_preview_is_of_the_running_mean(tmp_path: Path) -> None:
    """It shows the model that is kept, not the parameters that are trained."""
    trainer = make_trainer(tmp_path, train__average=0.9)
    trainer.update()
    shown = preview(trainer)
    trainer.parameters.flat[...] = 9.0
    assert preview(trainer) == shown
    trainer.mean.flat[...] = 0.0
    assert preview(trainer) != shown


def test_reports_fall_due_by_the_epochs_of_each_network(tmp_path: Path) -> None:
    """Two networks are validated at the same places, though one ends within an epoch."""
    trainer = make_trainer(tmp_path, train__generations=2, train__epochs=1.5, run__eval_every=0.501)
    directory = _begin(tmp_path / "run", trainer)
    steps = [event.step for event in run(trainer, directory) if isinstance(event, Validated)]
    each = trainer.schedule.steps
    assert len(steps) == 6
    assert [step - each for step in steps[3:]] == steps[:3]


@pytest.mark.parametrize("network", [0, 1])
def test_a_run_stops_while_teachers_read(tmp_path: Path, network: int) -> None:
    """Asked to stop while counts read, or a network, it ends with a checkpoint and resumes exactly."""
    values = {"train__generations": 2, "train__epochs": 0.5, "train__teacher": "counts"}
    whole, _, _ = _trained(tmp_path, **values)
    trainer = make_trainer(tmp_path, **values)
    directory, told = _begin(tmp_path / "half", trainer), []
    for event in run(trainer, directory, lambda: told[-1:] == [Taught(network, 2)]):
        told.append(event)
    assert isinstance(told[-1], Stopped)
    assert (told[-1].finished, told[-1].step) == (False, network * trainer.schedule.steps)
    assert trainer.table is not None
    assert trainer.table.teachers == 0
    again = make_trainer(tmp_path, **values)
    again.restore(checkpoint.load(directory.last), "run")
    list(run(again, directory))
    assert again.parameters.flat.tobytes() == whole.parameters.flat.tobytes()
