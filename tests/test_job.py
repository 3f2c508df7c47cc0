"""Runs that begin with the weights of another."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FORMS, ROOT, Run

import charlm as api
from charlm.config.keys import KEYS, Config
from charlm.nn.parameters import Parameters
from charlm.runs import checkpoint
from charlm.system.errors import CheckpointError, ConfigError, RunError
from charlm.training.job import _OF_THE_MODEL, copy_rows

TALES = (ROOT / "data/tales.txt").read_text()

SETTINGS: dict[str, Any] = {
    "model.hidden": 12,
    "train.batch": 4,
    "train.seq_len": 10,
    "train.epochs": 1,
    "train.shards": 2,
    "run.sample_every": 0,
}


@pytest.fixture(scope="module")
def _first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("first")
    (made / "a.txt").write_text(TALES[:3000])
    (made / "b.txt").write_text(TALES[3000:5000].translate(dict.fromkeys(map(ord, "ZVJQKq"), 101)))
    (made / "c.txt").write_text(TALES[3000:5000] + "Ωж")
    settings = {**SETTINGS, "model.cell": "gru", "model.gru_reset": "before", "corpus.lowercase": True}
    api.train({}, made / "a.txt", made / "a", settings)
    return made


@pytest.fixture
def first(_first: Path, tmp_path: Path) -> Path:
    """A run on the first 3,000 characters of the tales."""
    return shutil.copytree(_first, tmp_path, dirs_exist_ok=True) / "a"


def test_a_run_begins_with_the_weights(first: Path, tmp_path: Path) -> None:
    """With a learning rate of almost zero the new model is the old one: network, units and scores."""
    still = {**SETTINGS, "train.lr": 1e-30}
    del still["model.hidden"]
    run = api.train({}, tmp_path / "b.txt", tmp_path / "b", still, init=first)
    old, new = api.load(first), run.load()
    assert new.vocabulary == old.vocabulary
    assert (new.config.model.cell, new.config.model.hidden) == ("gru", 12)
    assert new.config.model.gru_reset == "before"
    assert new.config.corpus.lowercase
    for name, array in old.parameters.items():
        assert np.array_equal(new.parameters[name], array), name
    text = TALES[3000:4000]
    assert new.score(text).nats_per_char == old.score(text).nats_per_char


@pytest.mark.parametrize(("form", "min_count"), list(zip(FORMS, (1, 2, 1, 2), strict=True)))
def test_added_units_get_fresh_weights(form: str, min_count: int, tmp_path: Path) -> None:
    """Known units, `<unk>` too, keep their rows under new ids; added ones have those of a new network."""
    cell, reset = (*form.split(), "after")[:2]
    own = {"model.cell": cell, "model.gru_reset": reset, "corpus.min_count": min_count}
    (tmp_path / "a.txt").write_text("bdbdbbd ffd" * 90 + "x")
    (tmp_path / "c.txt").write_text("aceg bdf" * 90)
    first = api.train({}, tmp_path / "a.txt", tmp_path / "a", {**SETTINGS, **own})
    still = {**SETTINGS, "train.lr": 1e-30}
    run = api.train({}, tmp_path / "c.txt", tmp_path / "c", still, init=first.path, extend_vocabulary=True)
    fresh = api.train({}, tmp_path / "c.txt", tmp_path / "d", {**still, **own}).load()
    old, new = first.load(), run.load()
    units = {"a", "c", "e", "g", *old.vocabulary}
    assert new.vocabulary == [*sorted(units - {"<unk>"}), *["<unk>"] * (min_count > 1)]
    places = [new.vocabulary.index(unit) for unit in old.vocabulary]
    for name, array in old.parameters.items():
        if "Wx" in name and "layers.0" in name:
            assert np.array_equal(new.parameters[name][:, places], array)
        elif name.startswith("output"):
            assert np.array_equal(new.parameters[name][..., places], array)
        else:
            assert np.array_equal(new.parameters[name], array)
    added = np.delete(new.parameters["layers.0.Wx"], places, axis=1)
    spread = np.abs(fresh.parameters["layers.0.Wx"]).max()
    assert 0 < np.abs(added).max() <= 1.5 * spread
    assert len(np.unique(added)) == added.size


def test_rows_follow_their_units() -> None:
    """An array without a vocabulary axis is copied whole, one with it row by row."""
    old = Parameters({"Wx": (2, 2, 3), "Wh": (2, 3, 3)})
    old.flat[...] = np.arange(1, old.flat.size + 1)
    new = Parameters({"Wx": (2, 4, 3), "Wh": (2, 3, 3)})
    copy_rows(old, new, np.array([3, 1]))
    assert np.array_equal(new["Wh"], old["Wh"])
    assert np.array_equal(new["Wx"][:, [3, 1]], old["Wx"])
    assert not new["Wx"][:, [0, 2]].any()


def test_what_the_weights_lack_is_named(first: Path, tmp_path: Path, charlm: Run) -> None:
    """Characters that the vocabulary lacks are an error that names them and the option that adds them."""
    sets = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    command = ("train", "--corpus", "c.txt", "--init", "a", "--out", "c", "--max-steps", "1", *sets)
    done = charlm(*command, status=1)
    assert done.stdout == ""
    assert "'ω' (U+03C9) once, 'ж' (U+0436) once; --extend-vocabulary adds them" in done.stderr
    assert not (tmp_path / "c").exists()
    charlm(*command, "--extend-vocabulary")
    assert {"ω", "ж"} < set(api.load(tmp_path / "c").vocabulary)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--set", "model.hidden=13"],
            "model.hidden: 13 differs from a, .* leave it out, or set it to 12",
        ),
        (["--set", "corpus.unit=byte"], "corpus.unit: byte differs from .* set it to char"),
        # what is given counts, also where it is the default
        (["--set", "model.hidden=256"], "model.hidden: 256 differs from a, .* set it to 12"),
        (["--set", "model.cell=lstm"], "model.cell: lstm differs from a, .* set it to gru"),
        (["--set", "corpus.lowercase=false"], "corpus.lowercase: false differs from a, .* set it to true"),
        (["--config", "c.yaml"], "model.gru_reset: after differs from a, .* set it to before"),
        (["--resume"], "--init is for a new run"),
    ],
)
def test_what_contradicts_the_weights_is_refused(
    options: list[str], message: str, first: Path, tmp_path: Path, charlm: Run
) -> None:
    """A configuration of another network, another way of reading, and resuming are errors in one line."""
    (tmp_path / "c.yaml").write_text("model: {gru_reset: after}")
    command = ("train", "--corpus", "b.txt", "--init", "a", "--out", "b", *options)
    assert re.search(message, charlm(*command, "--minutes", "0.1", status=2).stderr)
    assert not (tmp_path / "b").exists()


def test_what_belongs_to_weights() -> None:
    """All that a run cannot change of its network and its units, but for what only its own text needs."""
    fixed = {dotted for dotted, key in KEYS.items() if key.fixed and dotted.startswith(("model.", "corpus."))}
    of_the_text = {"model.init", "corpus.encoding", "corpus.separator", "corpus.split"}
    assert set(_OF_THE_MODEL) == fixed - of_the_text


def test_defaults_that_are_given_in_python_are_refused_too(first: Path, tmp_path: Path) -> None:
    """In settings, in sections of keys, and in a `Config`, which says every key."""
    message = "model.hidden: 256 differs from .*a, .* set it to 12"
    for config, settings in (
        ({}, {"model.hidden": 256}),
        ({"model": {"hidden": 256}}, {}),
        (Config().replace({"model.cell": "gru"}), {}),
    ):
        with pytest.raises(ConfigError, match=message):
            api.train(config, tmp_path / "b.txt", tmp_path / "b", settings, init=first)


def test_everything_else_is_chosen(first: Path, tmp_path: Path, charlm: Run) -> None:
    """Without a configuration the network is that of the weights, and the epochs fit into the minutes."""
    command = ("train", "--corpus", "b.txt", "--init", "a", "--out", "b")
    charlm(*command, "--minutes", "0.04")
    made = checkpoint.load(tmp_path / "b/last.npz").config
    assert (made.model.hidden, made.model.layers) == (12, Config().model.layers)
    assert made.train.schedule == "cosine"


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_it_resumes_exactly_and_on_any_number_of_workers(average: float, first: Path, tmp_path: Path) -> None:
    """A run with added units that is stopped and resumed on other workers ends in the same bytes."""
    settings = {**SETTINGS, "train.epochs": 0.5, "train.average": average, "run.threads": 1}
    longer = {**settings, "train.epochs": 1.0, "run.threads": 2}
    for name, given in (("b", settings), ("c", longer)):
        api.train({}, tmp_path / "c.txt", tmp_path / name, given, init=first, extend_vocabulary=True)
    api.train(tmp_path / "b", settings={"train.epochs": 1.0}, resume=True)
    whole, resumed = (checkpoint.load(tmp_path / name / "last.npz") for name in "cb")
    assert whole.vocabulary == resumed.vocabulary
    assert np.array_equal(whole.parameters.flat, resumed.parameters.flat)
    assert all(np.array_equal(array, resumed.training[name]) for name, array in whole.training.items())


def test_a_run_keeps_its_teachers(tmp_path: Path) -> None:
    """A run that is resumed learns from the copies that it has, though the teachers are gone."""
    (tmp_path / "a.txt").write_text(TALES[:3000])
    teachers = [
        api.train({}, tmp_path / "a.txt", tmp_path / cell, {**SETTINGS, "model.cell": cell}).path
        for cell in ("rnn", "gru")
    ]
    taught = {**SETTINGS, "train.teacher": [str(path) for path in teachers], "train.generations": 2}
    whole = api.train({}, tmp_path / "a.txt", tmp_path / "whole", taught)
    half = api.train(
        {}, tmp_path / "a.txt", tmp_path / "half", taught, max_steps=whole.metrics[-1]["step"] // 2 + 3
    )
    for path in teachers:
        shutil.rmtree(path)
    with pytest.raises(RunError, match=r"train.teacher is .*rnn.* in this run and cannot become .*counts"):
        api.train(
            half.path, settings={"train.teacher": ["counts", "runs/a", "runs/b", "runs/c"]}, resume=True
        )
    api.train(half.path, resume=True)
    first, second = (np.load(run.path / "last.npz") for run in (whole, half))
    assert all(np.array_equal(first[name], second[name]) for name in first if name != "metadata")
    assert "training/earlier/0" in first
    with pytest.raises(
        CheckpointError, match=r"train.teacher: checkpoint .*rnn cannot be read: no such file"
    ):
        api.train({}, tmp_path / "a.txt", tmp_path / "c", taught)
    again = api.train({}, tmp_path / "a.txt", tmp_path / "whole", SETTINGS, overwrite=True)
    assert not [*again.path.glob("teacher-*")], "of the run before"


@pytest.mark.parametrize(
    ("text", "settings", "problem"),
    [
        (TALES[:3000] + "Ω", {}, r"the vocabulary of .*/a lacks 'Ω' \(U\+03A9\)"),
        ("the cat", {}, r"the vocabulary of the text lacks '\\n' \(U\+000A\), .* and \d+ more"),
        (TALES[:3000].lower(), {"corpus.lowercase": True}, "corpus.lowercase is True and False"),
        (TALES[:3000], {"corpus.min_count": 2}, "only the text has <unk>"),
        (TALES[:3000], {"corpus.mode": "lines"}, "corpus.mode is lines and stream"),
    ],
)
def test_a_teacher_must_know_the_same_units(
    text: str, settings: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    """Another vocabulary is an error that says what differs, before anything is written."""
    (tmp_path / "a.txt").write_text(TALES[:3000])
    (tmp_path / "b.txt").write_text(text)
    teacher = api.train({}, tmp_path / "a.txt", tmp_path / "a", SETTINGS).path
    taught = {**SETTINGS, **settings, "train.teacher": str(teacher)}
    with pytest.raises(ConfigError, match=f"train.teacher: .*/a cannot teach this run: {problem}"):
        api.train({}, tmp_path / "b.txt", tmp_path / "b", taught)
    assert not (tmp_path / "b").exists()


def test_a_teacher_is_named_once(tmp_path: Path) -> None:
    """A teacher that is named twice is an error."""
    (tmp_path / "a.txt").write_text(TALES[:3000])
    with pytest.raises(ConfigError, match=r"train.teacher: counts is named twice"):
        api.train({}, tmp_path / "a.txt", tmp_path / "a", {**SETTINGS, "train.teacher": ["counts", "counts"]})
