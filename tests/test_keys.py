"""Every key of the configuration arrives: another value changes what the key is about, as it says.

Each case sets its key as `--set` does, and looks at the corpus, the trainer or the run that the
command makes of it. A key that has no case fails.
"""

from __future__ import annotations

import functools
import json
import math
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_optimizers import TWINS

from charlm.arrays import Array
from charlm.config.build import build_corpus
from charlm.config.keys import KEYS, Config, TrainConfig
from charlm.config.reading import from_mapping, parse_overrides
from charlm.data.corpus import Corpus
from charlm.nn.cells.gru import GRUAfter, GRUBefore
from charlm.nn.cells.lstm import LSTM
from charlm.nn.cells.rnn import RNN
from charlm.nn.model import Model
from charlm.optim.schedules import Schedule
from charlm.runs.directory import EVENT_FILES, RunDirectory
from charlm.system.errors import DivergenceError
from charlm.training import session
from charlm.training.events import Event, Joined, Logged, Previewed, Started, Stopped, Taught, Validated
from charlm.training.job import Job
from charlm.training.request import Request
from charlm.training.trainer import Trainer

LR = 0.5

SMALL = {
    "corpus.split": (1.0, 0.0, 0.0),
    "model.hidden": 3,
    "train.batch": 3,
    "train.seq_len": 5,
    "train.epochs": 3.0,
    "train.lr": LR,
    "train.clip_norm": 0.0,
    "run.sample_every": 0.0,
}
"""What every case begins with: four updates per epoch on the text below."""

TEXT = "the cats sat on the mat and the dog lay on the log till noon."

PER_EPOCH, UPDATES = 4, 12


class Lab:
    """Makes corpora, trainers and runs of configurations, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.text = self.file("text.txt", TEXT)

    def file(self, name: str, contents: str | bytes) -> str:
        """The path of a new file."""
        path = self.directory / name
        path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
        return str(path)

    def config(self, values: dict[str, Any]) -> Config:
        """The configuration that `--set` makes of small values, and of these."""
        settings = {"corpus.path": self.text, "run.dir": str(self.directory / "run"), **SMALL, **values}
        overrides = parse_overrides(f"{dotted}={json.dumps(value)}" for dotted, value in settings.items())
        return from_mapping({}, overrides, "--set")

    def corpus(self, values: dict[str, Any]) -> Corpus:
        """The text, as these values have it read."""
        return build_corpus(self.config(values).corpus)[0]

    def trainer(self, values: dict[str, Any]) -> Trainer:
        """A trainer in float64."""
        config = self.config(values)
        return Trainer(Job(config, build_corpus(config.corpus)[0]), dtype=np.float64)

    def run(self, values: dict[str, Any]) -> list[Event]:
        """The events of a run, which replaces the one before."""
        events: list[Event] = []
        session.train(Request(self.config(values), overwrite=True), events.append)
        return events


Case = Callable[[Lab], None]

CASES: dict[str, Case] = {}


def case(dotted: str) -> Callable[[Case], Case]:
    """The decorator of the case of a key."""

    def register(one: Case) -> Case:
        CASES[dotted] = one
        return one

    return register


@pytest.mark.parametrize("dotted", list(KEYS))
def test_a_key_does_what_it_says(dotted: str, tmp_path: Path) -> None:
    """Another value of the key changes what the key is about, in the way that its meaning says."""
    CASES[dotted](Lab(tmp_path))


def read(corpus: Corpus, name: str = "") -> str:
    """The units of a corpus, or of a split of it, as text; `<unk>` as ¤."""
    ids = corpus.part(name).ids if name else corpus.ids
    units = [chr(code) for code in corpus.vocabulary.codes] + ["¤"] * corpus.vocabulary.has_unknown
    return "".join(units[number] for number in ids)


# The text


@case("corpus.path")
def _path(lab: Lab) -> None:
    other, third = lab.file("other.txt", "another"), lab.file("third.txt", "text")
    assert read(lab.corpus({"corpus.path": other})) == "another"
    assert read(lab.corpus({"corpus.path": [third, other]})) == "text\nanother"


def _separate(name: str, lab: Lab) -> None:
    rest = {"validation": "test", "test": "validation"}[name]
    own = lab.file("own.txt", "a cat on the log")
    usual, corpus = (
        lab.corpus({"corpus.split": (0.5, 0.25, 0.25), f"corpus.{name}": path}) for path in ("", own)
    )
    assert read(corpus, name) == "a cat on the log" != read(usual, name)
    assert len(corpus.part("train")) == 45
    assert len(corpus.part(rest)) == 61 - 45


CASES |= {f"corpus.{name}": functools.partial(_separate, name) for name in ("validation", "test")}


@case("corpus.mode")
def _mode(lab: Lab) -> None:
    path = lab.file("words.txt", "one\ntwo\n\nthree\n")
    stream, lines = (
        lab.trainer({"corpus.path": path, "corpus.mode": mode, "train.batch": 2})
        for mode in ("stream", "lines")
    )
    assert read(stream.corpus) == "one\ntwo\n\nthree\n"
    assert (stream.corpus.whole.lines, lines.corpus.whole.lines) == (None, 3)
    begun = [step for step in range(lines.steps_per_epoch) if lines.streams.resets_state(step)]
    assert len(begun) == 2, "of three lines, two at a time"
    line_break = lines.corpus.vocabulary.line_break
    assert all((lines.streams.window(step).x[0] == line_break).all() for step in begun)


@case("corpus.unit")
def _unit(lab: Lab) -> None:
    path = lab.file("accents.txt", "éa")
    assert [ord(unit) for unit in read(lab.corpus({"corpus.path": path}))] == [0xE9, 0x61]
    assert [ord(unit) for unit in read(lab.corpus({"corpus.path": path, "corpus.unit": "byte"}))] == [
        *"éa".encode()
    ]


@case("corpus.encoding")
def _encoding(lab: Lab) -> None:
    for encoding in ("utf-8", "utf-16", "cp949"):
        path = lab.file(f"{encoding}.txt", "가나다".encode(encoding))
        assert read(lab.corpus({"corpus.path": path, "corpus.encoding": encoding})) == "가나다"


@case("corpus.newlines")
def _newlines(lab: Lab) -> None:
    path = lab.file("windows.txt", b"a\r\nb\rc\n")
    assert read(lab.corpus({"corpus.path": path, "corpus.newlines": "keep"})) == "a\r\nb\rc\n"
    assert read(lab.corpus({"corpus.path": path, "corpus.newlines": "lf"})) == "a\nb\nc\n"


@case("corpus.lowercase")
def _lowercase(lab: Lab) -> None:
    path = lab.file("large.txt", "Éa B")
    plain, lower = (
        lab.corpus({"corpus.path": path, "corpus.lowercase": lowercase}) for lowercase in (False, True)
    )
    assert (read(plain), read(lower)) == ("Éa B", "éa b")
    assert [*lower.vocabulary.units.of_text("ÉB")] == [ord("é"), ord("b")], "a prime is lowercased too"


@case("corpus.normalize")
def _normalize(lab: Lab) -> None:
    text = "e\u0301 \u1e9b\u0323 ﬁ 각"
    path = lab.file("forms.txt", text)
    assert read(lab.corpus({"corpus.path": path})) == text
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        corpus = lab.corpus({"corpus.path": path, "corpus.normalize": form.lower()})
        assert read(corpus) == unicodedata.normalize(form, text)
        prime = [ord(unit) for unit in unicodedata.normalize(form, "각")]
        assert [*corpus.vocabulary.units.of_text("각")] == prime


@case("corpus.min_count")
def _min_count(lab: Lab) -> None:
    path = lab.file("rare.txt", "aabbbc")
    for least, units in ((1, "aabbbc"), (2, "aabbb¤"), (3, "¤¤bbb¤")):
        assert read(lab.corpus({"corpus.path": path, "corpus.min_count": least})) == units


@case("corpus.separator")
def _separator(lab: Lab) -> None:
    paths = [lab.file(f"{name}.txt", name) for name in "ab"]
    for separator in ("\n", "", "--"):
        assert read(lab.corpus({"corpus.path": paths, "corpus.separator": separator})) == f"a{separator}b"


@case("corpus.split")
def _split(lab: Lab) -> None:
    corpus = lab.corpus({"corpus.split": (0.5, 0.2, 0.3)})
    assert [read(corpus, name) for name in ("train", "validation", "test")] == [
        TEXT[:30],
        TEXT[30:42],
        TEXT[42:],
    ]
    trainer = lab.trainer({"corpus.split": (0.5, 0.2, 0.3)})
    score = trainer.validate()
    assert (trainer.streams.batch * trainer.streams.seq_len, score and score.characters) == (15, 11)


# The network


@case("model.cell")
def _cell(lab: Lab) -> None:
    kinds = {"rnn": (RNN, 1, 1), "lstm": (LSTM, 4, 2), "gru": (GRUAfter, 3, 1)}
    for name, (kind, gates, states) in kinds.items():
        trainer = lab.trainer({"model.cell": name})
        assert type(trainer.model.cell) is kind
        assert trainer.parameters["layers.0.Wh"].shape == (gates, 3, 3)
        assert trainer.state.shape == (2, states, 3, 3)


@case("model.hidden")
def _hidden(lab: Lab) -> None:
    trainer = lab.trainer({"model.hidden": 7})
    assert {trainer.parameters[f"layers.{layer}.Wh"].shape for layer in (0, 1)} == {(4, 7, 7)}
    assert trainer.parameters["output.W"].shape[0] == trainer.state.shape[-1] == 7


@case("model.layers")
def _layers(lab: Lab) -> None:
    for layers in (1, 3):
        trainer = lab.trainer({"model.layers": layers})
        assert sum(name.endswith(".Wh") for name in trainer.parameters) == layers == len(trainer.state)


def masks(trainer: Trainer) -> dict[str, Array]:
    """What the next window is multiplied by."""
    seen: list[dict[str, Array]] = []
    forward = Model.forward

    def spy(model: Model, *arguments: Any) -> Any:
        seen.append({name: mask.copy() for name, mask in (arguments[4] or {}).items()})
        return forward(model, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "forward", spy)
        trainer.update()
    (window,) = seen
    return window


def _masked(key: str, hidden: int, names: set[str], lab: Lab) -> None:
    assert masks(lab.trainer({key: 0.0})) == {}
    for rate in (0.25, 0.75):
        drawn = masks(lab.trainer({key: rate, "model.hidden": hidden}))
        assert set(drawn) == names
        for name, mask in drawn.items():
            assert mask.shape == ((4, hidden, hidden) if name.endswith("Wh") else (1, 3, hidden))
            np.testing.assert_allclose(np.unique(mask), [0, 1 / (1 - rate)], rtol=1e-6)
            assert np.mean(mask == 0) == pytest.approx(rate, abs=0.07)


CASES |= {
    key: functools.partial(_masked, key, hidden, names)
    for key, hidden, names in (
        ("model.dropout", 300, {"dropout.0.mask", "dropout.1.mask"}),
        ("model.weight_drop", 50, {"layers.0.Wh", "layers.1.Wh"}),
    )
}


@case("model.dropout_mask")
def _dropout_mask(lab: Lab) -> None:
    values = {"model.dropout": 0.5, "model.hidden": 30}
    for mask in masks(lab.trainer({**values, "model.dropout_mask": "window"})).values():
        assert mask.shape == (1, 3, 30)
    for mask in masks(lab.trainer({**values, "model.dropout_mask": "step"})).values():
        assert mask.shape == (5, 3, 30)
        assert len({step.tobytes() for step in mask}) == 5


@case("model.gru_reset")
def _gru_reset(lab: Lab) -> None:
    for reset, kind in (("after", GRUAfter), ("before", GRUBefore)):
        trainer = lab.trainer({"model.cell": "gru", "model.gru_reset": reset})
        assert type(trainer.model.cell) is kind
        assert ("layers.0.bn" in trainer.parameters) is (reset == "after")


@case("model.init")
def _init(lab: Lab) -> None:
    for init in ("orthogonal", "uniform"):
        Wh = lab.trainer({"model.init": init, "model.hidden": 20}).parameters["layers.1.Wh"]
        products = np.einsum("gij,gik->gjk", Wh, Wh)
        assert np.allclose(products, np.eye(20), atol=1e-9) == (init == "orthogonal")
        assert (np.abs(Wh).max() <= 20**-0.5) == (init == "uniform")


# Training


@case("train.batch")
def _batch(lab: Lab) -> None:
    for batch in (1, 4):
        trainer = lab.trainer({"train.batch": batch})
        assert trainer.streams.window(0).x.shape[1] == trainer.state.shape[2] == batch


@case("train.seq_len")
def _seq_len(lab: Lab) -> None:
    for seq_len, windows in ((2, 10), (10, 2)):
        trainer = lab.trainer({"train.seq_len": seq_len})
        assert len(trainer.streams.window(0).x) == seq_len
        assert trainer.steps_per_epoch == windows


@case("train.epochs")
def _epochs(lab: Lab) -> None:
    for epochs, updates in ((0.3, 2), (2.0, 8), (2.01, 9)):  # rounded up
        (stopped,) = (event for event in lab.run({"train.epochs": epochs}) if isinstance(event, Stopped))
        assert (stopped.finished, stopped.step) == (True, updates)
    assert Schedule(TrainConfig(epochs=0.07), 100).steps == 7, "though 0.07 * 100 is 7.000000000000001"


def three_updates(lab: Lab, optimizer: str, **changed: float) -> float:
    """Check three updates against the formula; returns how far the defaults would have led elsewhere."""
    values = {f"train.{name}": value for name, value in changed.items()}
    trainer = lab.trainer({"train.optimizer": optimizer, **values})
    before, gradients = trainer.parameters.flat.copy(), []
    for _ in range(3):
        trainer.update()
        gradients.append(trainer.sharded.grads.flat.copy())
    expected, usual = (
        TWINS[optimizer](before, gradients, LR, TrainConfig(**values)) for values in (changed, {})
    )
    np.testing.assert_allclose(trainer.parameters.flat, expected, rtol=1e-9, atol=1e-12)
    return float(np.abs(expected - usual).max())


@case("train.optimizer")
def _optimizer(lab: Lab) -> None:
    for optimizer in TWINS:
        three_updates(lab, optimizer)


def _hyperparameter(name: str, value: float, optimizers: tuple[str, ...], lab: Lab) -> None:
    for optimizer in optimizers:
        assert three_updates(lab, optimizer, **{name: value}) > 1e-4


CASES |= {
    f"train.{name}": functools.partial(_hyperparameter, name, value, optimizers)
    for name, value, optimizers in (
        ("momentum", 0.6, ("momentum",)),
        ("beta1", 0.7, ("adam", "adamw")),
        ("beta2", 0.6, ("adam", "adamw")),
        ("rms_decay", 0.7, ("rmsprop",)),
        ("epsilon", 0.1, ("adagrad", "rmsprop", "adam", "adamw")),
        ("weight_decay", 0.3, ("adamw",)),
    )
}


def moved(trainer: Trainer) -> tuple[dict[str, Array], dict[str, Array]]:
    """By how much one update of `sgd` changes each parameter, and the gradients."""
    before = trainer.parameters.copy()
    trainer.update()
    changes = {name: array - before[name] for name, array in trainer.parameters.items()}
    return changes, dict(trainer.sharded.grads)


@case("train.lr")
def _lr(lab: Lab) -> None:
    for lr in (0.5, 0.125):
        changes, gradients = moved(lab.trainer({"train.optimizer": "sgd", "train.lr": lr}))
        for name, change in changes.items():
            np.testing.assert_allclose(change, -lr * gradients[name], atol=1e-14)
        assert any(gradient.any() for gradient in gradients.values())


@case("train.output_lr")
def _output_lr(lab: Lab) -> None:
    changes, gradients = moved(lab.trainer({"train.optimizer": "sgd", "train.output_lr": 4.0}))
    for name, change in changes.items():
        lr = 4 * LR if name.startswith("output.") else LR
        np.testing.assert_allclose(change, -lr * gradients[name], atol=1e-14)


def factors(lab: Lab, losses: tuple[float, ...] = (), **train: Any) -> list[float]:
    """The learning rate of every update relative to `lr`; `losses` are validated after each epoch."""
    trainer = lab.trainer({f"train.{name}": value for name, value in train.items()})
    assert trainer.steps_per_epoch == PER_EPOCH
    rates = []
    for update in range(trainer.planned_steps):
        if losses and update and update % PER_EPOCH == 0:
            trainer.record_validation(losses[update // PER_EPOCH - 1])
        rates.append(trainer.update().lr / LR)
    return rates


def by_epoch(*rates: float) -> Any:
    """A rate for each epoch, as one for each update."""
    return pytest.approx(np.repeat(rates, PER_EPOCH).tolist())


@case("train.schedule")
def _schedule(lab: Lab) -> None:
    assert factors(lab, schedule="constant") == by_epoch(1, 1, 1)
    assert factors(lab, schedule="linear") == pytest.approx([1 - n / UPDATES for n in range(UPDATES)])
    cosine = [(1 + math.cos(math.pi * n / UPDATES)) / 2 for n in range(UPDATES)]
    assert factors(lab, schedule="cosine") == pytest.approx(cosine)
    steps = {"lr_decay": 0.5, "lr_decay_after": 1, "lr_decay_every": 2, "lr_patience": 0}
    assert factors(lab, schedule="exponential", **steps) == by_epoch(1, 0.5, 0.25)
    assert factors(lab, schedule="step", **steps) == by_epoch(1, 1, 0.5)
    assert factors(lab, (2.0, 2.0), schedule="plateau", **steps) == by_epoch(1, 1, 0.5)


@case("train.warmup")
def _warmup(lab: Lab) -> None:
    assert factors(lab, warmup=4) == pytest.approx([0.25, 0.5, 0.75, *[1] * 9])
    assert factors(lab, warmup=2, schedule="linear")[:4] == pytest.approx([0.5, 1, 1, 0.9])


@case("train.lr_final")
def _lr_final(lab: Lab) -> None:
    linear = factors(lab, schedule="linear", lr_final=0.4)
    assert linear == pytest.approx([1 - 0.6 * n / UPDATES for n in range(UPDATES)])
    cosine = [0.4 + 0.3 * (1 + math.cos(math.pi * n / UPDATES)) for n in range(UPDATES)]
    assert factors(lab, schedule="cosine", lr_final=0.4) == pytest.approx(cosine)


@case("train.lr_decay")
def _lr_decay(lab: Lab) -> None:
    often = {"lr_decay": 0.3, "lr_decay_after": 1, "lr_decay_every": 1, "lr_patience": 0}
    for schedule in ("exponential", "step", "plateau"):
        assert factors(lab, (math.inf, math.inf), schedule=schedule, **often) == by_epoch(1, 0.3, 0.09)


@case("train.lr_decay_after")
def _lr_decay_after(lab: Lab) -> None:
    assert factors(lab, schedule="exponential", lr_decay_after=2) == by_epoch(1, 1, 0.95)
    assert factors(lab, schedule="exponential", lr_decay_after=0) == by_epoch(0.95, 0.95**2, 0.95**3)


@case("train.lr_decay_every")
def _lr_decay_every(lab: Lab) -> None:
    assert factors(lab, schedule="step", lr_decay_every=1) == by_epoch(1, 0.95, 0.95**2)
    assert factors(lab, schedule="step", lr_decay_every=2) == by_epoch(1, 1, 0.95)


@case("train.lr_patience")
def _lr_patience(lab: Lab) -> None:
    stuck = (2.0, 2.0, 2.0, 2.0)
    for patience, rates in ((0, (1, 1, 0.95, 0.95**2, 0.95**3)), (2, (1, 1, 1, 1, 0.95))):
        assert factors(lab, stuck, schedule="plateau", lr_patience=patience, epochs=5.0) == by_epoch(*rates)


@case("train.clip_norm")
def _clip_norm(lab: Lab) -> None:
    for limit in (0.001, 0.01):
        changes, _ = moved(lab.trainer({"train.optimizer": "sgd", "train.clip_norm": limit}))
        norm = math.sqrt(sum((change**2).sum() for change in changes.values()))
        assert norm == pytest.approx(LR * limit)


@case("train.clip_value")
def _clip_value(lab: Lab) -> None:
    for limit in (0.0001, 0.001):
        changes, _ = moved(lab.trainer({"train.optimizer": "sgd", "train.clip_value": limit}))
        assert max(np.abs(change).max() for change in changes.values()) == pytest.approx(LR * limit)


@case("train.on_nonfinite")
def _on_nonfinite(lab: Lab) -> None:
    for choice in ("stop", "skip"):
        trainer = lab.trainer({"train.on_nonfinite": choice})
        trainer.parameters["output.b"][0] = np.nan
        if choice == "skip":
            assert trainer.update().dropped == "loss"
        else:
            with pytest.raises(DivergenceError):
                trainer.update()


@case("train.patience")
def _patience(lab: Lab) -> None:
    # the first of equal losses is the best one
    still = {"corpus.split": (0.5, 0.5, 0.0), "train.optimizer": "sgd", "train.lr": 1e-30}
    for patience, epochs in ((0, 5.0), (1, 2.0), (3, 4.0)):
        events = lab.run({**still, "train.epochs": 5.0, "train.patience": patience})
        (stopped,) = (event for event in events if isinstance(event, Stopped))
        assert (stopped.out_of_patience, stopped.epoch) == (patience > 0, epochs)


@case("train.average")
def _average(lab: Lab) -> None:
    trainer = lab.trainer({"train.average": 0.05})
    expected = trainer.parameters.flat.copy()
    for _ in range(3):
        trainer.update()
        expected = 0.05 * expected + 0.95 * trainer.parameters.flat
    np.testing.assert_allclose(trainer.mean.flat, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(trainer.snapshot().parameters.flat, trainer.mean.flat)
    plain = lab.trainer({"train.average": 0.0})
    assert plain.mean is plain.parameters


@case("train.reset_state")
def _reset_state(lab: Lab) -> None:
    def share(chance: float) -> float:
        """The share of streams that begin a window from zero; an epoch begins from zero anyway."""
        trainer, begun = lab.trainer({"train.reset_state": chance, "train.epochs": 12.0}), []
        backpropagate = trainer.sharded.backpropagate

        def spy(step: int, *noise: Any) -> float:
            if step % PER_EPOCH:
                begun.append(~trainer.state.any(axis=(0, 1, 3)))
            return backpropagate(step, *noise)

        trainer.sharded.backpropagate = spy  # type: ignore[method-assign]
        for _ in range(trainer.planned_steps):
            trainer.update()
        return float(np.mean(begun))

    assert (share(0.0), share(1.0)) == (0.0, 1.0)
    assert 0.15 < share(0.3) < 0.45


@case("train.shards")
def _shards(lab: Lab) -> None:
    forward = Model.forward
    for shards, widths in ((0, [3]), (1, [3]), (2, [1, 2]), (3, [1, 1, 1])):
        trainer, seen = lab.trainer({"train.shards": shards}), []

        def spy(model: Model, params: Any, x: Any, *rest: Any, seen: list[int] = seen) -> Any:
            seen.append(x.shape[1])
            return forward(model, params, x, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Model, "forward", spy)
            trainer.update()
        assert seen == widths


@case("train.generations")
def _generations(lab: Lab) -> None:
    for generations in (1, 3):
        events = lab.run({"train.generations": generations, "train.epochs": 1.0})
        (stopped,) = (event for event in events if isinstance(event, Stopped))
        assert (stopped.finished, stopped.step) == (True, 4 * generations)
        assert sum(isinstance(event, Taught) for event in events) == generations - 1


@case("train.chain")
def _chain(lab: Lab) -> None:
    for chain in (True, False):
        trainer = lab.trainer({"train.chain": chain, "train.generations": 2, "train.epochs": 1.0})
        while not trainer.earlier:
            trainer.update()
        assert (trainer.table is not None) == chain
        assert len(list(trainer.prepare())) == 0
        assert trainer.table is None or trainer.table.teachers == 1


@case("train.join")
def _join(lab: Lab) -> None:
    for networks in (1, 3):
        values = {"train.generations": networks, "train.epochs": 1.0, "corpus.split": [0.8, 0.2, 0]}
        runs = [lab.run({**values, "train.join": join}) for join in (False, True)]
        joined = [[event for event in run if isinstance(event, Joined)] for run in runs]
        assert [len(events) for events in joined] == [0, 1]
        assert joined[1][0].networks == networks


@case("train.teacher")
def _teacher(lab: Lab) -> None:
    runs = []
    for cell in ("rnn", "gru"):
        lab.run({"run.dir": str(lab.directory / cell), "model.cell": cell, "train.epochs": 0.25})
        runs.append(str(lab.directory / cell))
    for teachers, names in (([], []), (["counts"], []), (runs[0], [1]), ([*runs, "counts"], [1, 2])):
        trained = lab.run(
            {"train.teacher": teachers, "train.epochs": 0.25, "run.dir": str(lab.directory / "t")}
        )
        (started,) = (event for event in trained if isinstance(event, Started))
        assert list(started.config.train.teachers) == ([teachers] if isinstance(teachers, str) else teachers)
        copies = sorted((lab.directory / "t").glob("teacher-*.npz"))
        assert copies == [lab.directory / "t" / f"teacher-{number}.npz" for number in names]
        for copy, run in zip(copies, runs, strict=False):
            assert copy.read_bytes() == Path(run, "best.npz").read_bytes()


@case("train.taught_drop")
def _taught_drop(lab: Lab) -> None:
    for factor in (0.0, 0.5):
        values = {"train.taught_drop": factor, "train.generations": 2, "train.epochs": 0.25}
        trainer = lab.trainer({**values, "model.dropout": 0.8, "model.weight_drop": 0.5, "model.hidden": 100})
        for network in (1.0, factor):
            list(trainer.prepare())
            for name, mask in masks(trainer).items():
                rate = network * (0.5 if name.endswith("Wh") else 0.8)
                assert np.mean(mask == 0) == pytest.approx(rate, abs=0.07)
                np.testing.assert_allclose(np.unique(mask[mask > 0]), 1 / (1 - rate), rtol=1e-6)


@case("train.taught_share")
def _taught_share(lab: Lab) -> None:
    for share, used in ((0.0, 0.4), (0.9, 0.9)):
        values = {"train.generations": 2, "train.epochs": 0.25, "train.teacher_share": 0.4}
        trainer = lab.trainer({**values, "train.teacher": "counts", "train.taught_share": share})
        assert trainer.table is not None
        for expected in (0.4, used):
            list(trainer.prepare())
            assert trainer.table.share == expected
            trainer.update()


@case("train.teacher_share")
def _teacher_share(lab: Lab) -> None:
    moves = []
    for share in (0.0, 0.5, 1.0):
        values = {"train.teacher": "counts", "train.teacher_share": share, "train.optimizer": "sgd"}
        moves.append(np.concatenate([change.ravel() for change in moved(lab.trainer(values))[0].values()]))
    np.testing.assert_allclose(moves[1], (moves[0] + moves[2]) / 2, atol=1e-12)
    assert np.abs(moves[0] - moves[2]).max() > 1e-3


@case("train.seed")
def _seed(lab: Lab) -> None:
    lines = lab.file("lines.txt", "".join(f"{a}{b}\n" for a in "abcdefgh" for b in "ijkl"))

    def drawn(seed: int) -> Iterator[bytes]:
        trainer = lab.trainer(
            {"train.seed": seed, "model.dropout": 0.5, "corpus.path": lines, "corpus.mode": "lines"}
        )
        yield trainer.parameters.flat.tobytes()
        yield trainer.streams.window(0).y.tobytes()
        yield masks(trainer)["dropout.0.mask"].tobytes()

    one, again, two = (list(drawn(seed)) for seed in (1, 1, 2))
    assert one == again
    assert all(mine != other for mine, other in zip(one, two, strict=True))


# The run


@case("run.dir")
def _dir(lab: Lab) -> None:
    for name in ("first", "second"):
        path = lab.directory / name
        assert not path.exists()
        lab.run({"run.dir": str(path), "train.epochs": 0.25})
        directory = RunDirectory(path)
        assert all(
            file.exists() for file in (directory.config, directory.metrics, directory.last, directory.best)
        )


@case("run.eval_every")
def _eval_every(lab: Lab) -> None:
    for every, steps in ((0.5, [2, 4, 6, 8]), (1.5, [6, 8])):
        events = lab.run({"run.eval_every": every, "train.epochs": 2.0})
        assert [event.step for event in events if isinstance(event, Validated)] == steps


@case("run.eval_length")
def _eval_length(lab: Lab) -> None:
    for length, scored in ((0, 30), (7, 7), (100, 30)):
        trainer = lab.trainer({"run.eval_length": length, "corpus.split": (0.5, 0.5, 0.0)})
        score = trainer.validate()
        assert score is not None
        assert score.characters == scored


@case("run.sample_every")
def _sample_every(lab: Lab) -> None:
    for every, number in ((0.0, 0), (0.5, 4), (1.0, 2)):
        events = lab.run({"run.sample_every": every, "run.sample_length": 2, "train.epochs": 2.0})
        assert sum(isinstance(event, Previewed) for event in events) == number


@case("run.sample_length")
def _sample_length(lab: Lab) -> None:
    for length in (1, 7):  # and the character that it begins with
        events = lab.run({"run.sample_every": 1.0, "run.sample_length": length, "train.epochs": 0.25})
        assert [len(event.text) for event in events if isinstance(event, Previewed)] == [length + 1]


@case("run.threads")
def _threads(lab: Lab) -> None:
    for threads in (1, 3):
        trainers: list[Trainer] = []

        class Kept(Trainer):
            def __init__(self, *arguments: Any, trainers: list[Trainer] = trainers, **named: Any) -> None:
                super().__init__(*arguments, **named)
                trainers.append(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session, "Trainer", Kept)
            events = lab.run({"run.threads": threads, "train.batch": 6, "train.epochs": 0.25})
        (trainer,) = trainers
        assert trainer.sharded.pool._count == threads
        assert [event.config.train.shards for event in events if isinstance(event, Started)] == [threads]


@case("run.kernel")
def _kernel(lab: Lab) -> None:
    step = LSTM.step
    for kernel, calls in (("fused", 0), ("textbook", 2 * 5)):
        trainer, seen = lab.trainer({"run.kernel": kernel}), []

        def spy(*arguments: Any, seen: list[int] = seen) -> Any:
            seen.append(1)
            return step(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LSTM, "step", spy)
            trainer.update()
        assert len(seen) == calls, "two layers of five steps, one by one"


@case("run.log_every")
def _log_every(lab: Lab) -> None:
    for every, steps in ((0, []), (3, [3])):
        events = lab.run({"run.log_every": every, "train.epochs": 1.0})
        assert [event.step for event in events if isinstance(event, Logged)] == steps
        log = RunDirectory(lab.directory / "run").metrics.read_text().splitlines()
        assert [json.loads(line)["step"] for line in log] == [*steps, 4]


@case("run.tensorboard")
def _tensorboard(lab: Lab) -> None:
    for wanted in (False, True):
        lab.run({"run.tensorboard": wanted, "train.epochs": 0.25})
        assert len([*(lab.directory / "run").glob(EVENT_FILES)]) == wanted
