"""Dynamic evaluation: what it computes, that it never looks ahead, and the command that shows it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest
from conftest import FORMS, TEXT, Run, make_model

from charlm.arrays import Array, Ids
from charlm.data.texts import Lines, Text
from charlm.inference import dynamic, score
from charlm.inference.dynamic import Constants, choose, dynamic_losses, rms_gradients
from charlm.inference.evaluate import Dynamic, evaluate
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.runs import checkpoint
from charlm.runs.directory import find_checkpoint
from charlm.system.team import Team

V = 7


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments, blocks and pieces so small that small texts have many."""
    monkeypatch.setattr(dynamic, "SEGMENT", 8)
    monkeypatch.setattr(dynamic, "_BLOCK", 100)
    monkeypatch.setattr(dynamic, "PIECES", 3)
    monkeypatch.setattr(dynamic, "MEASURED", 60)


def _model(form: str, layers: int = 1, dtype: type = np.float64) -> tuple[Model, Parameters]:
    model = make_model(form, layers, V, dropout=0.5)  # which evaluation does not apply
    rng = np.random.default_rng(3)
    params = model.initialise(rng, "uniform")
    params.flat += 0.3 * rng.standard_normal(params.flat.size).astype(np.float32)
    return model, Parameters(params.shapes, flat=params.flat.astype(dtype))


def _ids(size: int, seed: int = 1) -> Ids:
    return np.random.default_rng(seed).integers(0, V, size).astype(np.uint8)


def _lines(lengths: list[int]) -> Lines:
    ids = np.random.default_rng(2).integers(1, V, 1 + sum(lengths)).astype(np.uint8)
    ids[np.cumsum([0, *lengths])] = 0
    return Lines.of(ids)


STREAM = Text(_ids(52))
"""Six segments of 8, and one of 3."""

LINES = _lines([4, 2, 8, 9, 20, 3])
"""Lines of one segment, of one and a character, and of three."""

CONSTANTS = [Constants(1e-3, 0.05), Constants(1e-2, 0.6)]
"""With the second, some weights are pulled back the whole way: λ MS / mean(MS) is above 1."""

Named = dict[str, Array]


class _Twin:
    """The slow twin: one segment, one weight and one number at a time, on the naive networks."""

    def __init__(self, form: str, layers: int, trained: Parameters) -> None:
        self.form, self.layers = form, layers
        self.trained: Named = {name: array.copy() for name, array in trained.items()}

    def examples(self, text: Text) -> list[list[int]]:
        """The characters of each example: the first is only read."""
        if isinstance(text, Lines):
            spans = zip(text.starts.tolist(), text.lengths.tolist(), strict=True)
            return [text.ids[start - 1 : start + length].tolist() for start, length in spans]
        return [text.ids.tolist()]

    def segments(self, named: Named, text: Text) -> Any:
        """Losses and gradients of one segment after the other; `named` may change between two."""
        cell = 2 if self.form == "lstm" else 1
        for characters in self.examples(text):
            state = [[np.zeros((1, 5)) for _ in range(cell)] for _ in range(self.layers)]
            targets = len(characters) - 1
            for first in range(0, targets, 8):
                x = np.array(characters[first : min(first + 8, targets)])[:, None]
                y = np.array(characters[first + 1 : min(first + 8, targets) + 1])[:, None]
                network = naive.Network(self.form, named, x, y, state)
                losses = []
                for logits, target in zip(network.logits[:, 0], y[:, 0], strict=True):
                    losses.append(-np.log(np.exp(logits[target]) / np.exp(logits).sum()))
                state = network.final
                yield losses, network.gradients

    def root_mean_squares(self, texts: list[Text]) -> Named:
        gradients = [found for text in texts for _, found in self.segments(self.trained, text)]
        return {
            name: np.sqrt(sum(found[name] ** 2 for found in gradients) / len(gradients))
            for name in self.trained
        }

    def losses(self, text: Text, MS: Named, constants: Constants) -> list[float]:
        mean = np.concatenate([array.reshape(-1) for array in MS.values()]).mean()
        theta = {name: array.copy() for name, array in self.trained.items()}
        found: list[float] = []
        for losses, gradients in self.segments(theta, text):
            found += losses
            for name, array in theta.items():
                for place in np.ndindex(array.shape):
                    g, ms, here = gradients[name][place], MS[name][place], array[place]
                    pull = min(1.0, constants.pull_back * ms / mean)
                    array[place] = (
                        here
                        - constants.rate * g / (ms + dynamic.EPSILON)
                        + pull * (self.trained[name][place] - here)
                    )
        return found


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_equals_the_slow_twin(form: str, layers: int) -> None:
    """Root mean squares and losses are those of plain loops over segments and weights, to 1e-10."""
    model, params = _model(form, layers)
    twin = _Twin(form, layers, params)
    train = _ids(101, seed=5)
    # three pieces of 33 and 34 characters, of which the first 21 are read: 20 are predicted
    pieces: list[Text] = [Text(train[start : start + 21]) for start in (0, 33, 67)]
    MS = twin.root_mean_squares(pieces)
    rms = rms_gradients(model, params, Text(train))
    np.testing.assert_allclose(rms, np.concatenate([MS[name].reshape(-1) for name in params]), atol=1e-10)
    for text in (STREAM, LINES):
        for constants in CONSTANTS:
            told: list[int] = []
            losses = dynamic_losses(model, params, rms, text, constants, told.append)
            np.testing.assert_allclose(losses, twin.losses(text, MS, constants), rtol=0, atol=1e-10)
            assert sum(told) == len(losses)
    assert CONSTANTS[1].pull_back * rms.max() > rms.mean()


def test_lines_are_measured_line_by_line() -> None:
    """Of a text of lines the gradients are measured in whole lines, each from a zero state."""
    model, params = _model("gru after")
    lines = _lines([4] * 20 + [9] * 21)
    # pieces of 13, 14 and 14 lines, of which the first are read that hold some 20 characters
    pieces: list[Text] = [lines.between(start, start + count) for start, count in ((0, 5), (13, 4), (27, 3))]
    MS = _Twin("gru after", 1, params).root_mean_squares(pieces)
    rms = rms_gradients(model, params, lines)
    np.testing.assert_allclose(rms, np.concatenate([MS[name].reshape(-1) for name in params]), atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", [9, 20, 24, 25, 50])
def test_no_loss_depends_on_what_comes_after(form: str, place: int) -> None:
    """However the text goes on from a place, the losses before it stay: the same bits up to its segment."""
    model, params = _model(form)
    rms = rms_gradients(model, params, Text(_ids(200, seed=5)))
    changed = STREAM.ids.copy()
    changed[place:] = (changed[place:] + 1) % V
    one, two = (dynamic_losses(model, params, rms, Text(ids), CONSTANTS[0]) for ids in (STREAM.ids, changed))
    segment = (place - 1) // dynamic.SEGMENT * dynamic.SEGMENT
    np.testing.assert_array_equal(one[:segment], two[:segment])
    # within a segment rounding depends on all of it
    np.testing.assert_allclose(one[segment : place - 1], two[segment : place - 1], rtol=1e-13)
    assert abs(one[place - 1] - two[place - 1]) > 1e-3


@pytest.mark.parametrize("text", [STREAM, LINES], ids=["stream", "lines"])
@pytest.mark.parametrize("form", FORMS)
def test_rate_0_is_the_static_score(form: str, text: Text, monkeypatch: pytest.MonkeyPatch) -> None:
    """With η = 0 nothing is learned: the losses are bit for bit those of the static score."""
    monkeypatch.setattr(score, "STEPS", dynamic.SEGMENT)
    monkeypatch.setattr(score, "LINE_STEPS", dynamic.SEGMENT)
    monkeypatch.setattr(score, "LINES", (1,))
    model, params = _model(form, 2, np.float32)
    rms = rms_gradients(model, params, Text(_ids(200, seed=5)))
    losses = dynamic_losses(model, params, rms, text, Constants(0.0, 0.01))
    np.testing.assert_array_equal(losses, score.unit_losses(model, params, text))


def test_a_text_of_a_few_characters_is_measured() -> None:
    """No piece of it is too short to predict a character: two or three are one piece."""
    model, params = _model("rnn")
    for count in (2, 3):
        text = Text(_ids(count, seed=5))
        MS = _Twin("rnn", 1, params).root_mean_squares([text])
        rms = rms_gradients(model, params, text)
        np.testing.assert_allclose(rms, np.concatenate([MS[name].reshape(-1) for name in params]), atol=1e-10)


def test_nothing_to_learn_is_no_error() -> None:
    """Where every gradient of the training text is zero, as of a text of one character, losses are finite."""
    model, params = _model("lstm", dtype=np.float32)
    losses = dynamic_losses(model, params, np.zeros_like(params.flat), STREAM, CONSTANTS[0])
    assert np.isfinite(losses).all()
    one = make_model("lstm", vocab=1)
    parameters, text = (
        one.initialise(np.random.default_rng(1), "orthogonal"),
        Text(np.zeros(40, np.uint8)),
    )
    rms = rms_gradients(one, parameters, text)
    np.testing.assert_allclose(dynamic_losses(one, parameters, rms, text, CONSTANTS[0]), 0, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_lowest_loss_is_chosen(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chosen constants have the lowest finite loss; those that diverge are dropped, or all are."""
    model, params = _model("lstm")
    rms = rms_gradients(model, params, Text(_ids(200, seed=5)))
    grid = (Constants(1e308, 0.0), *dynamic.GRID, Constants(1e-2, 1e-2), Constants(1.0, 0.0))
    losses = [dynamic_losses(model, params, rms, STREAM, constants).sum() for constants in grid]
    assert not np.isfinite(losses[0])
    monkeypatch.setattr(dynamic, "GRID", grid)
    assert choose(model, params, rms, STREAM, Team(threads)) == grid[int(np.nanargmin(losses))]
    monkeypatch.setattr(dynamic, "GRID", grid[:1])
    assert choose(model, params, rms, STREAM, Team(threads)) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_workers_measures_the_same_bits(dtype: type) -> None:
    """The gradients of the training text do not depend on who measured which piece."""
    model, params = _model("gru before", dtype=dtype)
    text = Text(_ids(500))
    one, two, three = (rms_gradients(model, params, text, Team(threads)) for threads in (1, 2, 3))
    assert one.dtype == dtype
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)


SETTINGS = ("model.hidden=16", "model.layers=1", "train.batch=4", "train.seq_len=8", "train.epochs=6")


@pytest.fixture
def trained(charlm: Run, tmp_path: Path) -> Any:
    """Train a small model on `text.txt`; settings may be added."""

    def train(*settings: str, text: str = TEXT) -> Path:
        (tmp_path / "text.txt").write_text(text)
        (tmp_path / "small.yaml").write_text("corpus: {path: text.txt, split: [0.7, 0.15, 0.15]}\n")
        sets = [part for setting in (*SETTINGS, *settings) for part in ("--set", setting)]
        charlm("train", "--config", "small.yaml", "--overwrite", *sets)
        return tmp_path

    return train


def _eval(charlm: Run, *options: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(charlm("eval", "perplexity", "--json", *options).stdout)
    return values


def test_workers_and_the_checkpoint(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One and two workers give the same figures, and the checkpoint's parameters keep every bit."""
    loaded = checkpoint.load(find_checkpoint(trained() / "runs"))
    monkeypatch.chdir(tmp_path)
    before = loaded.parameters.flat.tobytes()
    found: list[Dynamic] = []
    for threads in (1, 2):
        evaluation = evaluate(loaded, team=Team(threads), dynamically=True)
        assert evaluation.dynamic is not None
        found.append(replace(evaluation.dynamic, seconds=0.0))
    assert found[0] == found[1]
    assert loaded.parameters.flat.tobytes() == before


KEYS = {"dynamic", "static_nats_per_char", "dynamic_rate", "dynamic_pull_back", "seconds"}


def test_the_command(charlm: Run, trained: Any) -> None:
    """The text has one more line; the JSON holds the figures of dynamic evaluation under the same keys."""
    trained()
    static, values = _eval(charlm), _eval(charlm, "--dynamic")
    assert static["dynamic"] is False
    assert set(values) == set(static) | KEYS
    assert values["dynamic"] is True
    assert values["static_nats_per_char"] == static["nats_per_char"] != values["nats_per_char"]
    assert values["characters"] == static["characters"]
    assert Constants(values["dynamic_rate"], values["dynamic_pull_back"]) in dynamic.GRID
    assert values["seconds"] > 0
    assert values["bits_per_char"] == pytest.approx(values["nats_per_char"] / np.log(2))
    assert values["perplexity"] == pytest.approx(np.exp(values["nats_per_char"]))
    assert values["bits_per_byte"] == pytest.approx(
        values["bits_per_char"] * values["characters"] / values["bytes"]
    )
    done = charlm("eval", "perplexity", "--dynamic")
    *shown, line = done.stdout.splitlines()
    assert shown == charlm("eval", "perplexity").stdout.splitlines()
    assert line.startswith(
        f"dynamic evaluation: {values['nats_per_char']:.4f} nats/char   "
        f"{values['bits_per_char']:.4f} bits/char   perplexity {values['perplexity']:.4f} "
        f"(static {static['nats_per_char']:.4f}); "
        f"rate {values['dynamic_rate']:g}, pull-back {values['dynamic_pull_back']:g}, chosen on validation; "
    )
    refused = charlm("eval", "perplexity", "--dynamic", "--window", "8", status=2)
    assert refused.stderr.count("\n") == 1
    assert "--dynamic carries the state through" in refused.stderr


def test_the_constants_are_never_chosen_on_the_scored_text(
    charlm: Run, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are chosen on the validation split, else on the end of the training text, else not at all."""
    directory = trained()
    ids: list[list[int]] = []

    def watched(model: Model, params: Parameters, rms: Array, text: Text, team: Team) -> Constants | None:
        ids.append(text.ids.tolist())
        return choose(model, params, rms, text, team)

    monkeypatch.setattr(dynamic, "choose", watched)
    monkeypatch.setattr(dynamic, "TRIED", 30)

    def chosen_on(*options: str) -> tuple[str, str]:
        ids.clear()
        done = charlm("eval", "perplexity", "--dynamic", *options)
        line = done.stdout.splitlines()[-1].split(", ")[-1].split(";")[0]
        if not ids:
            assert "are the defaults: no text is left to choose on" in done.stderr
            assert f"rate {dynamic.DEFAULT.rate:g}, pull-back {dynamic.DEFAULT.pull_back:g}" in done.stdout
            return line, ""
        (codes,) = ids
        return line, "".join(sorted(set(TEXT))[code] for code in codes)

    train = int(0.7 * len(TEXT))
    on_validation = ("chosen on validation", TEXT[train : train + 31])
    assert chosen_on() == on_validation
    assert chosen_on("--split", "train") == on_validation
    end = ("chosen on the end of the training text", TEXT[train - 31 : train])
    assert chosen_on("--split", "validation") == end
    (directory / "other.txt").write_text(TEXT[::-1])
    assert chosen_on("--corpus", "other.txt") == on_validation
    # the same text by its name: all of it is scored, or the named part
    assert chosen_on("--corpus", "text.txt") == ("the defaults", "")
    assert chosen_on("--corpus", "text.txt", "--split", "validation") == end
    trained("corpus.split=[0.9,0,0.1]")
    assert chosen_on() == ("the defaults", "")


def test_another_text_needs_the_trained_one(charlm: Run, trained: Any) -> None:
    """Without the text that the model was trained on, another one cannot be scored: one line says so."""
    directory = trained()
    (directory / "other.txt").write_text(TEXT[:200])
    other = ("eval", "perplexity", "--dynamic", "--corpus", "other.txt")
    for change in (lambda file: file.write_text(TEXT[::-1]), lambda file: file.unlink()):
        change(directory / "text.txt")
        refused = charlm(*other, status=1).stderr
        assert "--dynamic needs the text that the model was trained on: text" in refused
        assert len([line for line in refused.splitlines() if not line.startswith("using")]) == 1


def test_lines_learn_after_each_line(charlm: Run, trained: Any) -> None:
    """A model of lines is scored too, and its static figure is that of the score without --dynamic."""
    names = "\n".join(f"{a}{b}" for a in ("an", "ber", "cor", "dan", "el") for b in ("a", "na", "is", "ric"))
    trained("corpus.mode=lines", text=names)
    values = _eval(charlm, "--dynamic", "--split", "train")
    assert values["static_nats_per_char"] == _eval(charlm, "--split", "train")["nats_per_char"]
    assert values["nats_per_char"] != values["static_nats_per_char"]


def test_it_learns_from_a_text_that_changes(charlm: Run, trained: Any) -> None:
    """On a text whose statistics are not those of the training text, dynamic beats static clearly."""
    directory = trained("train.epochs=10", text="abcdefgh" * 150)
    (directory / "other.txt").write_text("hgfdecab" * 100)
    values = _eval(charlm, "--dynamic", "--corpus", "other.txt")
    assert values["nats_per_char"] < 0.8 * values["static_nats_per_char"]
