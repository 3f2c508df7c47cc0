"""The configuration that is chosen for a text, a time and a machine."""

from __future__ import annotations

import itertools
import json
import math
import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import MEASURED, TEXT, Run

from charlm.config.keys import Config
from charlm.data.corpus import Corpus
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.inference import counts
from charlm.system.errors import ConfigError
from charlm.system.team import Team
from charlm.training import advice, recipe
from charlm.training.job import Job, prepare
from charlm.training.recipe import Pace, enough, held_out, looks_like_lines, rules
from charlm.training.request import Request
from charlm.training.trainer import Trainer, is_scored_whole


def _corpus(N: int, V: int = 20, split: tuple[float, float, float] = (0.9, 0.05, 0.05)) -> Corpus:
    ids = np.random.default_rng(0).integers(0, V, N).astype(np.uint8)
    return Corpus(ids, Vocabulary(range(97, 97 + V), Units()), split, digest="")


def _speed(config: Config, corpus: Corpus) -> float:
    H = config.model.hidden
    return 3e10 / (12 * H * H + H * len(corpus.vocabulary))


def _validated(config: Config, corpus: Corpus) -> int:
    """Characters that a validation scores."""
    held = corpus.part("validation").targets
    return min(held, config.run.eval_length or held)


def _fitted(
    config: Config, corpus: Corpus, seconds: float = 60, everything: bool = True, begun: float | None = None
) -> tuple[Config, Corpus]:
    """The configuration that is chosen, or fitted to the time, and how the text is split."""
    begun = time.perf_counter() if begun is None else begun
    job = recipe.fit(Job(config, corpus), Request(config, seconds, begun, everything))
    return job.config, job.corpus


@pytest.fixture
def paces(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """A machine that trains on 30 billion numbers of a matrix a second; the configurations it measured."""
    measured: list[Config] = []

    def pace(job: Job, *_: Any) -> Pace:
        measured.append(job.config)
        speed = _speed(job.config, job.corpus)
        return Pace(speed, _validated(job.config, job.corpus) / (2.5 * speed))

    monkeypatch.setattr(recipe, "pace", pace)
    return measured


def _joining(config: Config, split: Corpus) -> float:
    """The epochs of training that take as long as the four scorings of the joined networks."""
    train, cost = config.train, recipe._joined_cost(Job(config, split))
    return 4 * train.join * cost * _validated(config, split) / recipe.SCORING / split.part("train").targets


def test_what_is_given_is_what_became_of_it(paces: list[Config]) -> None:
    """A given text keeps the path by which it is found again, not the one that was typed."""
    given = Config().give({"corpus.path": "a.txt", "run.dir": "here", "model.hidden": 256})
    config = given.replace({"corpus.path": "/texts/a.txt", "run.dir": "there"})
    chosen, _ = _fitted(config, _corpus(60_000))
    assert (chosen.corpus.path, chosen.run.dir, chosen.model.hidden) == ("/texts/a.txt", "there", 256)


def test_more_time_makes_no_smaller_model(paces: list[Config]) -> None:
    """With more time the network and its regularisation grow, and all of the time is used."""
    corpus = _corpus(600_000)
    found = []
    for minutes in (0.1, 0.5, 1, 3, 4, 10, 15, 20, 30, 60, 300):
        config, split = _fitted(Config(), corpus, 60 * minutes)
        networks, joined = config.train.generations, _joining(config, split)
        epochs = networks * config.train.epochs + joined
        assert 0.85 < epochs * split.part("train").targets / _speed(config, split) / (60 * minutes) < 1
        each = max(3, math.ceil(8 / networks))
        assert each - 0.02 < config.train.epochs / config.run.eval_every <= each, "the last is at the end"
        assert paces[-1].model == config.model, "the pace is that of the network that is chosen"
        updates = config.train.epochs * recipe._windows(Job(config, split))
        assert 0 < config.train.warmup <= min(100, updates / 20), "most of the run is not warm-up"
        lines = updates / config.run.log_every
        assert config.run.log_every == 100 or 40 <= lines < 80, "a curve has points enough, and few lines"
        found.append((networks, config.model.hidden, config.model.dropout, config.model.weight_drop))
    assert found == sorted(found, key=lambda one: one[:2])
    assert len({hidden for _, hidden, *_ in found}) > 2
    assert [found[0][0], found[-1][0]] == [1, 2]
    assert found[-1][2] > 0.24
    assert found[-1][3] == 0.3
    assert found[0][3] < 0.3


@pytest.mark.parametrize(
    ("minutes", "networks", "teachers", "share"),
    [
        (0.2, 1, ("counts",), 0.5),
        (1, 1, ("counts",), 0.3),
        (2, 1, ("counts",), 0.15),
        (20, 2, ("counts",), 0.15),
    ],
)
def test_what_teaches_follows_from_the_epochs(
    paces: list[Config], minutes: float, networks: int, teachers: tuple[str, ...], share: float
) -> None:
    """Counts teach the less, the more epochs there are; a text that is seen often has several networks."""
    width = {"model.hidden": 192}
    train = _fitted(Config().give(width), _corpus(600_000), 60 * minutes)[0].train
    assert (train.generations, train.teachers) == (networks, teachers)
    assert train.teacher_share == pytest.approx(share, abs=0.03)
    given = {**width, "train.generations": 2, "train.teacher": "counts"}
    train = _fitted(Config().give(given), _corpus(600_000), 60 * minutes)[0].train
    assert (train.generations, train.teachers) == (2, ("counts",))


def test_several_networks_are_joined(paces: list[Config]) -> None:
    """Each is chosen as for its part of the time; the joined one is scored in what is left of it."""
    corpus, found = _corpus(600_000), {}
    for minutes in (2, 4, 60):
        config, split = _fitted(Config(), corpus, 60 * minutes)
        train, H = config.train, config.model.hidden
        assert (train.join, train.chain) == (True, False)
        part, N = 60 * minutes / train.generations, split.part("train").targets
        assert config.model.hidden == max(
            one for one in recipe._SIZES if recipe.enough(N, 20, one, 0.89 * part * 3e10 / (12 * one * one))
        )
        cost = recipe._joined_cost(Job(config, split))
        assert cost == pytest.approx(train.generations**2, rel=0.2)
        expected = rules(N, 20, H, train.epochs * N, networks=train.generations)
        assert config.model.dropout == pytest.approx(expected["model.dropout"], abs=0.02)
        found[minutes] = train.generations, train.epochs
    assert [networks for networks, _ in found.values()] == [1, 2, 2]
    assert 8 <= found[4][1] < found[60][1]


@pytest.mark.parametrize(("seconds", "networks"), [(5, 1), (40, 1), (9, 2), (90, 2)])
def test_counts_take_their_part_of_the_time(seconds: float, networks: int) -> None:
    """Half is for the whole text; the other half is for what is trained on, where that is less."""
    job = Job(
        Config().give({"train.generations": networks, "train.batch": 2, "train.seq_len": 5}), _corpus(1_001)
    )
    epochs = recipe._epochs(job, Pace(100.0, 0.0, 6.0), seconds, 0)
    reading = recipe._readings(job)
    epoch = job.corpus.part("train").targets / 100
    taken = epoch * (networks * epochs + reading) + 3 + 3 * min(1, epochs)
    assert taken == pytest.approx(seconds, rel=1e-3)


def test_what_networks_read_is_counted() -> None:
    """A network that is given reads the text before the first network and the second, an earlier one once."""
    for networks, readings, chain in ((1, 1, True), (2, 3, True), (3, 4, True), (3, 1, False)):
        values = {"train.generations": networks, "train.teacher": ("counts", "runs/other")}
        config = Config().give(values | {"train.chain": chain})
        assert recipe._readings(Job(config, _corpus(1_001))) == pytest.approx(readings / recipe.SCORING)


def test_a_width_that_is_given_is_the_one_that_is_measured(paces: list[Config]) -> None:
    """What is chosen around it is what would be chosen with it."""
    free, _ = _fitted(Config(), _corpus(60_000), 60)
    width = {"model.hidden": free.model.hidden}
    given, _ = _fitted(Config().give(width), _corpus(60_000), 60)
    assert [config.model.hidden for config in paces[-2:]] == 2 * [given.model.hidden]
    assert given.train.generations == free.train.generations
    assert given.train.epochs == pytest.approx(free.train.epochs, rel=0.05)
    small, _ = _fitted(Config().give({"model.hidden": 48}), _corpus(600_000), 8)
    assert 8 < small.train.epochs < 16
    assert small.train.generations == 1, "not yet time for two"
    for name, share in (("counts", free.train.teacher_share), ("runs/other", 0.5)):
        taught, _ = _fitted(Config().give({**width, "train.teacher": name}), _corpus(60_000), 60)
        assert taught.train.teacher_share == share


def test_nothing_teaches_where_it_cannot(paces: list[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a text of which nothing is held out, or without memory for its counts, there is one network."""
    lines = replace(_corpus(0), ids=np.tile(np.arange(7, dtype=np.uint8), 90_000)[:-6], by_line=True)
    large = replace(_corpus(600_000), vocabulary=Vocabulary(range(97, 97 + 300), Units()))
    found = [_fitted(Config(), corpus, 200)[0].train for corpus in (_corpus(300), lines, large)]
    assert [train.teachers for train in found] == [(), ("counts",), ("counts",)]
    seen = found[1].epochs * math.sqrt(6 / 50)
    assert found[1].teacher_share == pytest.approx(2 / seen, rel=0.1), "a short line says less"
    assert found[0].generations == 1
    assert _fitted(Config().give({"model.hidden": 1024}), large, 4)[0].train.teachers == (), "no time"
    monkeypatch.setattr(recipe, "machine_bytes", lambda: 4 * counts.BYTES * 500_000)
    assert _fitted(Config(), _corpus(600_000), 90)[0].train.teachers == ()
    monkeypatch.setattr(recipe, "machine_bytes", lambda: None)
    assert _fitted(Config(), _corpus(600_000), 90)[0].train.teachers == ("counts",)


def test_what_a_person_chose_is_kept(paces: list[Config]) -> None:
    """Keys that were given win over every rule, and the others are chosen around them."""
    given = {
        "model.hidden": 256,  # which is the default
        "model.cell": "gru",
        "train.lr": 0.01,
        "train.epochs": 2.0,
        "corpus.split": (0.8, 0.2, 0.0),
    }
    corpus = _corpus(100_000, split=(0.8, 0.2, 0.0))
    config, split = _fitted(Config().give(given), corpus)
    assert {key: config.flat()[key] for key in given} == given
    assert split.split == (0.8, 0.2, 0.0)
    assert paces[-1].model.cell == "gru"
    assert paces[-1].train.lr == 0.01, "the pace is measured with them too"
    assert config.train.generations == 2
    assert 3.98 < 2.0 / config.run.eval_every <= 4, "the reports are those of these epochs"
    assert config.run.sample_every == 0.5


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("hidden", [None, 100])
def test_rates_are_those_of_the_network_that_is_given(
    paces: list[Config], cell: str, hidden: int | None
) -> None:
    """The learning rates fit the given cell, and its given or chosen number of units."""
    given = {"model.cell": cell} | ({"model.hidden": hidden} if hidden else {})
    config, _ = _fitted(Config().give(given), _corpus(3_000_000), 600)
    fitting = rules(1, 1, config.model.hidden, 1, cell=cell)
    assert (config.model.cell, config.model.hidden) == (cell, hidden or config.model.hidden)
    assert (config.train.lr, config.train.output_lr) == (fitting["train.lr"], fitting["train.output_lr"])


def test_the_time_of_measuring_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What measuring has taken is not trained in, with a configuration and without."""
    clock = [0.0]

    def pace(job: Job, *_: Any) -> Pace:
        clock[0] += 6
        return Pace(_speed(job.config, job.corpus), 0.0)

    monkeypatch.setattr(recipe, "pace", pace)
    monkeypatch.setattr(recipe, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    corpus = _corpus(600_000)
    for everything, measured in ((False, 6), (True, 12)):
        begun = clock[0]
        config, split = _fitted(Config(), corpus, 60, everything, begun)
        assert clock[0] == begun + measured
        trained = config.train.epochs + _joining(config, split)
        seconds = trained * split.part("train").targets / _speed(config, split)
        assert seconds == pytest.approx(0.97 * 60 - measured, rel=0.01)


def test_the_first_updates_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new network's first updates are slow: the pace is that of the later ones."""
    clock, updates = [0.0], []

    def update(_: Trainer) -> Any:
        clock[0] += 0.1 if len(updates) >= 5 else 9.0
        updates.append(clock[0])
        return SimpleNamespace(characters=100)

    monkeypatch.setattr(Trainer, "update", update)
    monkeypatch.setattr(recipe, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    config = Config().replace({"model.hidden": 8, "train.batch": 4})
    assert recipe.pace(Job(config, _corpus(4000)), 1.0).characters == pytest.approx(1000)


def test_validations_are_counted_with_their_time() -> None:
    """In a minute there are four epochs of 10 seconds with validations of 5."""
    corpus = _corpus(1001, split=(1.0, 0.0, 0.0))
    job = Job(Config().give({"run.eval_every": 1.0}), corpus)
    assert recipe._validations(job, Pace(100.0, 5.0), 60) == 4
    assert recipe._validations(job, Pace(100.0, 0.0), 60) == 6


@pytest.mark.parametrize("held", [5_000, 400_000, 50_000_000])
@pytest.mark.parametrize("eval_every", [None, 0.02, 0.1, 1.0, 1000.0])
@pytest.mark.parametrize("everything", [False, True])
def test_training_and_validations_fill_the_time(
    paces: list[Config], everything: bool, eval_every: float | None, held: int
) -> None:
    """However long the text for validation is, and however often it is scored; of a long one a part is."""
    corpus = replace(_corpus(9), ids=np.zeros(1_000_000, np.uint8), split=(1.0, 0.0, 0.0))
    separate = replace(corpus, ids=np.zeros(held + 1, np.uint8))
    corpus = replace(corpus, separate={"validation": separate})
    config = Config() if eval_every is None else Config().give({"run.eval_every": eval_every})
    config = config.replace({"model.hidden": 128})
    config, corpus = _fitted(config, corpus, 60, everything)
    speed, epochs, scored = _speed(config, corpus), config.train.epochs, _validated(config, corpus)
    training = epochs * corpus.part("train").targets / speed
    one = scored / (2.5 * speed)
    validations = math.ceil(round(epochs / config.run.eval_every, 6)) * one
    whole = held / (2.5 * speed)
    at_the_end = whole if scored < held and is_scored_whole(held, training * speed) else 0.0
    reading = recipe._readings(Job(config, corpus)) * corpus.part("train").targets / speed
    together = training + validations + at_the_end + reading
    assert together == pytest.approx(0.97 * 60, rel=0.02, abs=one)
    assert validations <= (0.03 if everything and eval_every is None else 0.105) * 60 or scored <= 1000
    assert at_the_end <= 0.1 * 60
    assert (config.run.eval_length == 0) == (scored == held)
    if held == 5_000 and not everything and eval_every is not None and eval_every >= 0.1:
        assert scored == held, "a short text is always scored whole"


def test_a_length_of_validations_that_was_asked_for_is_kept(paces: list[Config]) -> None:
    """`run.eval_length` above zero is what a person wants, with a configuration and without."""
    corpus = _corpus(1_000_000, split=(0.5, 0.5, 0.0))
    config = Config().give({"run.eval_length": 321_000, "corpus.split": corpus.split})
    for everything in (False, True):
        assert _fitted(config, corpus, 60, everything)[0].run.eval_length == 321_000


@pytest.mark.parametrize(("text", "by_line"), [("ab", False), ("solo/", True), ("a" * 900 + "/b/", True)])
def test_the_shortest_texts_are_trained_on(paces: list[Config], text: str, by_line: bool) -> None:
    """Nothing is held out of a text that has nothing to spare, such as a single line."""
    codes = np.array([ord(character) for character in ("/" if by_line else "") + text])
    vocabulary = Vocabulary(codes, Units())
    ids = vocabulary.encode(codes, "it")
    _, split = _fitted(Config(), Corpus(ids, vocabulary, (0.9, 0.05, 0.05), digest="", by_line=by_line))
    assert split.part("train").targets == len(text) - (not by_line)
    assert paces[0].train.seq_len == 50


@pytest.mark.parametrize(
    ("given", "test", "said"),
    [
        ({}, False, "2 % of the text is for validation, and as much for test: more would"),
        ({}, True, "2 % of the text is for validation: more would"),
        ({"corpus.split": (0.96, 0.02, 0.02)}, False, ""),
    ],
)
def test_a_small_part_for_validation_is_explained(given: dict[str, Any], test: bool, said: str) -> None:
    """Only where it was chosen, and with what is true of the test split."""
    corpus = _corpus(1000, split=(0.96, 0.02, 0.0 if test else 0.02))
    warnings = list(recipe.warnings(Config().give(given), corpus))
    assert [warning[: len(said)] for warning in warnings] == [said][: bool(said)]
    assert not list(advice.of_text(Config(), corpus, Request(Config(), 60)))


@pytest.mark.parametrize(("seconds", "measured"), [(0.1, True), (0.0, False)])
def test_a_validation_is_measured(monkeypatch: pytest.MonkeyPatch, seconds: float, measured: bool) -> None:
    """Scoring a short text is slow, so a validation is timed, unless it would take too long."""
    validations = []

    def slow(_: Trainer) -> None:
        validations.append(time.sleep(0.5))

    monkeypatch.setattr(Trainer, "validate", slow)
    config = Config().replace({"model.hidden": 8, "train.batch": 4})
    found = recipe.pace(Job(config, _corpus(4000)), seconds)
    assert found.characters > 0
    assert bool(validations) == measured
    if measured:
        assert found.validation >= 0.5 * recipe._SEAMS, "a trained network forgets later"
    else:
        assert found.validation == pytest.approx(199 / (2.5 * found.characters))


def test_no_time_at_all_is_refused(paces: list[Config]) -> None:
    """Not even one update is a `ConfigError`, with and without a configuration."""
    for everything in (True, False):
        with pytest.raises(ConfigError, match="not even one update"):
            _fitted(Config(), _corpus(100_000), 60, everything, time.perf_counter() - 61)


@pytest.mark.parametrize(
    ("N", "characters", "share"),
    [(100, 1e9, 0.0), (1000, 1e9, 0.05), (10**9, 1e6, 0.001), (10**6, 3e4, 0.03)],
)
def test_what_is_held_out(N: int, characters: float, share: float) -> None:
    """A twentieth, less of a text that would take too long to score, nothing of a tiny one."""
    assert held_out(N, characters) == share


@pytest.mark.parametrize(("seconds", "hidden"), [(10, 48), (11, 192)])
def test_a_short_run_is_measured_with_the_smallest_network(
    paces: list[Config], seconds: float, hidden: int
) -> None:
    """The usual network takes too long where there is hardly time for a few updates."""
    job = Job(Config(), _corpus(9000))
    recipe.choose(job, seconds)
    assert paces[0].model.hidden == hidden


def test_little_time_is_for_validation(paces: list[Config]) -> None:
    """Of a long text as much is held out as takes 0.003 of the time: scoring is 2.5 times as fast."""
    corpus = replace(_corpus(9), ids=np.zeros(2_000_000, np.uint8))
    _, split = _fitted(Config(), corpus, 60)
    scored = split.part("validation").targets / (2.5 * _speed(paces[0], corpus))
    assert scored == pytest.approx(0.003 * 60, rel=0.01)
    separate = {"validation": replace(corpus, ids=np.zeros(50_000_000, np.uint8), split=(1.0, 0.0, 0.0))}
    config, split = _fitted(Config(), replace(corpus, separate=separate), 600)
    scored = config.run.eval_length / (2.5 * _speed(config, split))
    assert scored == pytest.approx(0.003 * 600, rel=0.2), "by the speed of the network that is chosen"


def test_larger_networks_want_more() -> None:
    """More characters to train on, a longer text, and a smaller vocabulary allow a larger network."""

    def largest(N: float, V: int, n: float) -> int:
        return max(H for H in recipe._SIZES if enough(int(N), V, H, n))

    assert largest(10**6, 65, 1e6) < largest(10**6, 65, 1e7) < largest(10**8, 65, 1e9)
    assert largest(10**5, 65, 1e9) < largest(10**7, 65, 1e9)
    assert largest(10**6, 1500, 1e9) < largest(10**6, 65, 1e9)
    assert largest(5 * 10**5, 65, 5.1e6) > largest(2.6 * 10**6, 65, 5.1e6)
    assert largest(100, 65, 10) == recipe._SIZES[0]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "mine"])
def test_every_cell_has_learning_rates(cell: str) -> None:
    """The LSTM learns fastest, the RNN slowest; a cell that nobody knows has the rates of the GRU."""
    chosen = rules(10**6, 65, 224, 4e6, cell=cell)
    assert chosen["model.cell"] == cell
    rates = (chosen["train.lr"], round(chosen["train.output_lr"], 1))
    assert rates == {"lstm": (0.02, 4.9), "rnn": (0.004464, 3.0)}.get(cell, (0.008036, 3.0))


def test_what_is_seen_often_is_regularised() -> None:
    """More epochs, a larger network, a shorter text and a larger vocabulary each call for more dropout."""

    def dropped(N: int, V: int, H: int, epochs: float, steps: int = 50) -> tuple[float, float]:
        chosen = rules(N, V, H, epochs * N, steps)
        return chosen["model.dropout"], chosen["model.weight_drop"]

    usual = dropped(10**6, 65, 256, 15)
    assert 0 < usual[0] < usual[1]
    for more in (
        dropped(10**6, 65, 256, 30),
        dropped(10**6, 65, 384, 15),
        dropped(5 * 10**5, 65, 256, 15),
    ):
        assert usual[0] < more[0]
        assert usual[1] < more[1]
    many = dropped(10**6, 1500, 256, 15)
    assert many == (pytest.approx(usual[0] + 0.22, abs=0.01), pytest.approx(usual[1] + 0.095, abs=0.01))
    assert dropped(3 * 10**6, 65, 256, 1) == (0, 0)
    lines = dropped(10**6, 65, 256, 15, steps=7)
    assert lines[0] < usual[0]
    assert lines[1] < usual[1]


def test_short_lines_are_read_in_larger_batches(paces: list[Config]) -> None:
    """An update of short lines holds about as many characters as one of a stream."""
    assert rules(10**5, 65, 192, 4e6, 7)["train.batch"] == 64
    assert rules(10**5, 65, 192, 0.8e6, 7)["train.batch"] == 40
    assert rules(10**5, 65, 192, 1.2e6)["train.batch"] == 16
    assert rules(10**5, 65, 192, 3.6e6)["train.batch"] == 24
    lines = replace(_corpus(0), ids=np.tile(np.arange(7, dtype=np.uint8), 9000)[:-6], by_line=True)
    assert _fitted(Config(), lines, 600)[0].train.batch == 64


def test_rules_are_keys_with_valid_values() -> None:
    """Whatever the text and the time, the settings are a configuration."""
    for N, V in itertools.product((1, 10**4, 10**9), (1, 65, 100_000)):
        for n in (1.0, 1e6, 1e12):
            config = Config().replace(rules(N, V, 256, n))
            assert 0 < config.train.weight_decay <= 0.05
            assert 16 <= config.train.batch <= 64
            assert config.train.batch % 8 == 0
            assert 0 <= config.model.dropout <= 0.65
            assert 0 <= config.model.weight_drop <= 0.5


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("".join(f"name{number}\n" for number in range(200)), True),
        ("A sentence that goes on\nover several lines.\n\n" * 100, False),
        ("x" * 500 + "\n" + "short\n" * 200, True),
        ("word " * 500, False),
    ],
)
def test_lists_of_lines_are_recognised(text: str, lines: bool) -> None:
    """Many short lines without a gap look like a list; paragraphs do not."""
    codes = [ord(character) for character in text]
    vocabulary = Vocabulary(codes, Units())
    corpus = Corpus(vocabulary.encode(np.array(codes), "it"), vocabulary, (1, 0, 0), digest="")
    assert looks_like_lines(corpus) == lines


def _epochs(run: Path) -> float:
    return float(yaml.safe_load((run / "config.yaml").read_text())["train"]["epochs"])


def _without_times(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in rows]


def test_train_needs_nothing_but_a_text(charlm: Run, tmp_path: Path) -> None:
    """The command chooses, says where the configuration is, and what was stopped goes on as if it had not."""
    (tmp_path / "my.txt").write_text(TEXT * 5)
    train = ("train", "--corpus", "my.txt", "--minutes", "0.04", "--set", "run.threads=1")
    started = time.monotonic()
    charlm(*train)
    assert time.monotonic() - started < 15
    run = tmp_path / "runs/my"
    assert _epochs(run) > 0.01
    config = run / "config.yaml"
    (tmp_path / "again.yaml").write_text(config.read_text())
    charlm("train", "--config", "again.yaml", "--out", "parts", "--max-steps", "3")
    charlm("train", "--corpus", "my.txt", "--out", "parts", "--resume")
    assert _without_times(tmp_path / "parts") == _without_times(run)
    with np.load(run / "last.npz") as one, np.load(tmp_path / "parts/last.npz") as other:
        for name in set(one.files) - {"metadata"}:
            np.testing.assert_array_equal(one[name], other[name])
    refused = charlm("train", "--config", "runs/my", "--resume", "--minutes", "1", status=2).stderr
    assert "--minutes is for a new run" in refused
    assert "this run is finished" in charlm("train", "--corpus", "my.txt", "--resume").stdout
    refused = charlm("train", "--corpus", "my.txt", "--resume", "--minutes", "1", status=2).stderr
    assert "--minutes is for a new run" in refused
    missing = charlm("train", "--corpus", "my.txt", "--resume", "--out", "other", status=1).stderr
    assert "other holds no last.npz to resume from" in missing


def test_init_prints_what_train_would_use(charlm: Run, tmp_path: Path) -> None:
    """The output is a configuration file with every key and its meaning; nothing is written."""
    (tmp_path / "my.txt").write_text(TEXT * 5)
    before = sorted(tmp_path.iterdir())
    printed = charlm("init", "--corpus", "my.txt", "--minutes", "0.04", "--set", "model.hidden=48").stdout
    assert sorted(tmp_path.iterdir()) == before
    assert "  # hidden units of each layer\n  hidden: 48\n" in printed
    assert r'separator: "\n"' in printed
    (tmp_path / "mine.yaml").write_text(printed)
    charlm("train", "--config", "mine.yaml", "--max-steps", "2")
    written = yaml.safe_load((tmp_path / "runs/my/config.yaml").read_text())
    read = yaml.safe_load(printed)
    read["train"]["shards"] = written["train"]["shards"]
    assert written == read


def test_odd_texts_are_chosen_for(charlm: Run, tmp_path: Path) -> None:
    """A text without room for a split, and a list of names need nothing else."""
    quick = ("--minutes", "0.1", "--max-steps", "2")
    (tmp_path / "tiny.txt").write_text("a tiny text")
    done = charlm("train", "--corpus", "tiny.txt", "--minutes", "0.04")
    assert "best training loss" in done.stdout
    log = (tmp_path / "runs/tiny/metrics.jsonl").read_text()
    assert log.count("\n") >= 40, "a short run has a curve, too"
    (tmp_path / "names.txt").write_text("".join(f"na{a}{b}\n" for a in "aeiou" for b in "klmnprst" * 4))
    assert "corpus.mode=lines" in charlm("train", "--corpus", "names.txt", *quick).stderr
    (tmp_path / "names.yaml").write_text("train: {epochs: 1, batch: 4}\nmodel: {hidden: 4, layers: 1}")
    configured = ("train", "--config", "names.yaml", "--corpus", "names.txt", "--max-steps", "1")
    assert "corpus.mode=lines" in charlm(*configured, "--out", "a").stderr
    assert "corpus.mode=lines" not in charlm(*configured, "--out", "b", "--set", "corpus.mode=stream").stderr
    done = charlm("train", "--corpus", "names.txt", *quick, "--set", "corpus.mode=lines", "--out", "lines")
    assert "corpus.mode=lines" not in done.stderr
    assert re.search("160 lines", done.stderr)
    assert "easier to predict: 8 of 8 validation lines (100 %), 8 of 8 test lines (100 %)" in done.stderr
    (tmp_path / "one.txt").write_text("solo")
    printed = charlm("init", "--corpus", "one.txt", "--minutes", "0.04", "--set", "corpus.mode=lines").stdout
    assert yaml.safe_load(printed)["corpus"]["split"] == [1.0, 0.0, 0.0]
    assert "--config" not in charlm("init", "--help").stdout


def _read(path: Path, **given: Any) -> tuple[Config, Corpus]:
    """Read a text as where all is chosen except what is `given`, by keys of `corpus`."""
    values = {f"corpus.{name}": value for name, value in given.items()}
    config = Config().replace({"corpus.path": str(path)}).give(values)
    job = prepare(Request(config, 60, everything=True))
    return job.config, job.corpus


@pytest.mark.parametrize(
    ("name", "data", "words", "key", "value"),
    [
        ("old.txt", ("나룻배가 강을 건너왔다. " * 40).encode("cp949"),
         "old.txt is not UTF-8: byte 0 (0xb3, line 1); it can be read as cp949 (나룻배", "encoding", "cp949"),
        ("book.pdf", b"%PDF-1.4\n" + bytes(range(256)), "book.pdf is a PDF document", "unit", "byte"),
        ("books/cover.jpg", b"\xff\xd8\xff\xe0" * 99, "cover.jpg is a JPEG image", "unit", "byte"),
    ],
    ids=["another encoding", "no text", "a picture among texts"],
)  # fmt: skip
def test_what_is_no_text_in_utf8_is_refused(
    charlm: Run, tmp_path: Path, name: str, data: bytes, words: str, key: str, value: str
) -> None:
    """Bytes are learned only on request: the error names the file and the setting that works."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(data)
    path = tmp_path / name.split("/")[0]
    if path.is_dir():
        (path / "a.txt").write_text(TEXT)
    for command in ("train", "init"):
        refused = charlm(command, "--corpus", path.name, status=1).stderr
        assert words in refused
        assert f"--set corpus.{key}={value}" in refused
    assert not (tmp_path / "runs").exists()
    config, corpus = _read(path, **{key: value})
    assert config.corpus.newlines == "keep"
    assert corpus.warnings == ()


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
def test_line_ends_of_windows_are_converted(tmp_path: Path, line_end: str) -> None:
    """Where all is chosen, line ends are too, and it is said; not against a person, nor for bytes."""
    path = tmp_path / "my.txt"
    path.write_text(TEXT.replace(". ", f".{line_end}"), newline="")
    config, corpus = _read(path)
    assert config.corpus.newlines == "lf"
    assert corpus.vocabulary.text(corpus.ids) == TEXT.replace(". ", ".\n")
    assert corpus.warnings == (
        "the text has line ends of Windows, which are converted: corpus.newlines=lf is chosen",
    )
    for given in ({"newlines": "keep"}, {"unit": "byte"}):
        config, corpus = _read(path, **given)
        assert config.corpus.newlines == "keep"
        assert corpus.warnings == ()
        assert ord("\r") in corpus.vocabulary.codes


def test_chosen_line_ends_are_written(charlm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration that is printed, for the minutes asked for, converts the line ends, and says so."""
    asked: list[float | None] = []

    def fit(job: Job, request: Request, team: Team) -> Job:
        asked.append(request.seconds)
        return job

    monkeypatch.setattr(recipe, "fit", fit)
    (tmp_path / "my.txt").write_text(TEXT.replace(". ", ".\r\n"), newline="")
    done = charlm("init", "--corpus", "my.txt", "--minutes", "0.1")
    assert asked == [6.0]
    assert "newlines: lf" in done.stdout
    assert done.stderr.count("corpus.newlines=lf is chosen") == 1
    assert "carriage returns" not in done.stderr


def test_minutes_and_texts_that_cannot_be(charlm: Run, tmp_path: Path) -> None:
    """No text, no time and endless time are one line."""
    (tmp_path / "my.txt").write_text(TEXT)
    (tmp_path / "my.yaml").write_text("corpus: {path: my.txt}")
    for arguments, words in (
        ((), "no text to train on: give --corpus FILE"),
        (("--corpus", "my.txt", "--minutes", "0"), "--minutes"),
        (("--corpus", "my.txt", "--minutes", "nan"), "not a finite number"),
        (("--corpus", "my.txt", "--set", "corpus.unit=latin"), "corpus.unit"),
        (("--corpus", "my.txt", "--minutes", "1", "--set", "train.epochs=3"), "leave out one of the two"),
        (("--config", "my.yaml", "--minutes", "1", "--set", "train.epochs=3"), "leave out one of the two"),
        (("--corpus", "my.txt", "--extend-vocabulary"), "--init RUN"),
        (("--corpus", "my.txt", "--resume", "--overwrite"), "--resume and --overwrite exclude each other"),
    ):
        refused = charlm("train", *arguments, status=2).stderr
        assert refused.count("\n") == 1
        assert words in refused
    assert "give --corpus FILE, or train with --config FILE" in charlm("init", status=2).stderr
    assert not (tmp_path / "runs").exists()
