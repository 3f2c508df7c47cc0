"""What a run tells before its first update."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import make_trainer

from charlm.config.build import find_files
from charlm.config.reading import resolve
from charlm.runs.directory import RunDirectory
from charlm.runs.log import read_objects
from charlm.system.errors import RunError
from charlm.system.team import Team
from charlm.training import advice, job, recipe, session
from charlm.training.request import Request


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, None),
        # five epochs of twelve updates
        ({"train__warmup": 60}, None),
        ({"train__warmup": 61}, "train.warmup of 61 updates is longer than the run of 60"),
        ({"corpus__split": (1.0, 0.0, 0.0)}, None),
        ({"corpus__split": (0.999, 0.001, 0.0)}, "the validation split is too short to score"),
        ({"train__batch": 4000}, "train.batch from 4000 to"),
        ({"run__eval_length": 5, "train__epochs": 5.0}, "the whole is scored at the end"),
        ({"run__eval_length": 5, "train__epochs": 0.1}, "the whole would take too long"),
    ],
)
def test_warnings(tmp_path: Path, values: dict[str, Any], told: str | None) -> None:
    """A setting that does not fit to the text or to the run is a warning, and no other is."""
    trainer = make_trainer(tmp_path, **values)
    messages = [*advice.of_run(trainer, Request(trainer.config))]
    assert len(messages) == (told is not None)
    assert told is None or told in messages[0]


@pytest.mark.parametrize(("small", "many", "told"), [(29, 59, True), (28, 59, False), (29, 60, False)])
def test_many_small_updates_are_a_warning(tmp_path: Path, small: int, many: int, told: bool) -> None:
    """The run here has 60 updates of 4 x 7 characters: both limits must be passed."""
    trainer = make_trainer(tmp_path)
    messages = [*advice.of_run(trainer, Request(trainer.config), small, many)]
    expected = "60 updates of 4 x 7 characters take long: a larger train.batch or train.seq_len makes fewer"
    assert messages == ([expected] if told else [])


@pytest.mark.parametrize(
    ("unit", "step", "held"), [("char", 0, True), ("byte", 0, True), ("char", 1, True), ("char", 0, False)]
)
def test_an_odd_text_is_a_warning(tmp_path: Path, unit: str, step: int, held: bool) -> None:
    """Carriage returns among characters are a warning at any update, the look of a text only at the first.

    The vocabulary of weights with which the run begins may hold carriage returns that the text does not.
    """
    (tmp_path / "text.txt").write_bytes(b"ab\r\n" * 99)
    trainer = make_trainer(tmp_path, corpus__unit=unit)
    trainer.tally.step = step
    ids = trainer.corpus.ids
    if not held:
        trainer.corpus = replace(trainer.corpus, ids=ids[trainer.corpus.vocabulary.codes[ids] != ord("\r")])
    messages = [*advice.of_run(trainer, Request(trainer.config))]
    words = ["looks like a list of lines"] * (step == 0)
    words += ["holds carriage returns"] * (held and unit == "char")
    assert [word for message in messages for word in words if word in message] == words
    assert len(messages) == len(words)


@pytest.mark.parametrize("size", ["batch", "seq_len"])
def test_the_sizes_that_are_told_fit_the_text(tmp_path: Path, size: str) -> None:
    """Where the text is too short for the configured batch or window, the smaller ones are told."""
    trainer = make_trainer(tmp_path, **{f"train__{size}": 4000})
    started = session._started(trainer, RunDirectory(tmp_path))
    assert (started.streams, started.seq_len) == (trainer.streams.batch, trainer.streams.seq_len)
    assert max(started.streams, started.seq_len) < 4000


def test_only_a_pipe_becomes_standard_input(tmp_path: Path) -> None:
    """The files beside it keep their names, by which later commands find them."""
    (tmp_path / "a.txt").write_text("a")
    read, write = os.pipe()
    os.close(write)
    try:
        paths = (str(tmp_path / "a.txt"), f"/dev/fd/{read}")
        config = resolve({"corpus.path": paths}, "run")
        config, files = job._nameable(config, find_files(config.corpus))
    finally:
        os.close(read)
    assert config.corpus.path == (paths[0], "-")
    assert [source.name for source in files.path] == list(paths)
    assert len(files.remarks) == 1


def test_a_resumed_run_keeps_its_log_and_its_previews(tmp_path: Path) -> None:
    """What was logged and shown up to the checkpoint stays, and the run goes on, also on other threads."""
    (tmp_path / "text.txt").write_text("abcd" * 60)
    settings = {
        "model.hidden": 4,
        "train.batch": 4,
        "train.seq_len": 9,
        "train.epochs": 2.0,
        "run.log_every": 1,
    }
    settings |= {"corpus.path": str(tmp_path / "text.txt"), "run.dir": str(tmp_path / "run")}
    config = resolve({**settings, "run.sample_every": 0.2, "run.sample_length": 3}, "run")
    shown: list[int] = []
    for resume, step in ((False, 5), (True, 12)):
        config = config.replace({"run.threads": 1 if resume else 2})
        run = session.train(Request(config, resume=resume, max_steps=step))
        assert [line["step"] for line, _ in read_objects(run.metrics)] == list(range(1, step + 1))
        previews = [line["step"] for line, _ in read_objects(run.previews)]
        assert previews[: len(shown)] == shown
        assert len(previews) > len(shown)
        shown = previews


def _request(tmp_path: Path, **values: Any) -> Request:
    """A request for a run of an epoch on a short text."""
    (tmp_path / "text.txt").write_text("abcd" * 60)
    settings: dict[str, Any] = {"corpus.path": str(tmp_path / "text.txt"), "run.dir": str(tmp_path / "run")}
    settings |= {"model.hidden": 4, "train.batch": 4, "train.epochs": 1.0}
    settings |= {name.replace("__", "."): value for name, value in values.items()}
    return Request(resolve(settings, "run"))


def test_a_plan_is_made_with_the_threads_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured for `charlm init` is the speed of training: on `run.threads` workers.

    What was noticed while the text was read is said too.
    """
    workers: list[int] = []

    def fit(given: job.Job, request: Request, team: Team) -> job.Job:
        workers.append(team.workers)
        return given

    monkeypatch.setattr(recipe, "fit", fit)
    for threads in (1, 2):
        request = _request(tmp_path, run__threads=threads)
        (tmp_path / "text.txt").write_text("\ufeff" + "abcd" * 60, encoding="utf-8")
        _, messages = session.planned(request)
        assert [message.partition("text.txt ")[2] for message in messages] == [
            "begins with a byte-order mark, which is removed"
        ]
    assert workers == [1, 2]


def test_a_run_that_began_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that comes to hold a run while the text is read is looked at again once it is locked."""

    def slow(*arguments: Any) -> job.Job:
        RunDirectory(tmp_path / "run").create("of another\n")
        return job.prepare(*arguments)

    monkeypatch.setattr(session, "prepare", slow)
    with pytest.raises(RunError, match=r"run holds a run that has no last\.npz to continue from"):
        session.train(_request(tmp_path))
    assert (tmp_path / "run/config.yaml").read_text() == "of another\n"
