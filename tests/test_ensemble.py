"""Several models as one: the mean of their probabilities."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, make_model
from naive import Network
from test_cli_score import bits, table

import charlm as package
from charlm.arrays import Array
from charlm.data.texts import Text
from charlm.inference.generate import Sampling
from charlm.inference.score import score
from charlm.nn import gradcheck
from charlm.nn.ensemble import Ensemble
from charlm.nn.loss import softmax_cross_entropy
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.system.team import Team

SHAPES = {"lstm": (2, 5), "gru before": (1, 8), "rnn": (3, 4)}
"""Layers and hidden units of three networks with cells of every number of states."""

TEXT = "The ferry came over at noon, and the lamp was lit. Nobody waited.\nOnce more.\n" * 40


def _ensemble() -> tuple[Ensemble, Parameters]:
    networks = tuple(make_model(form, layers, 6, hidden) for form, (layers, hidden) in SHAPES.items())
    ensemble = Ensemble(networks)
    size = sum(math.prod(shape) for shape in ensemble.shapes().values())
    return ensemble, Parameters(ensemble.shapes(), flat=np.random.default_rng(3).normal(0, 0.7, size))


def _twin(params: Mapping[str, Array], ids: Array) -> Array:
    """The mean probabilities `[N, V]` after each id, each network by its naive twin from a zero state."""
    each = []
    for m, (form, (layers, hidden)) in enumerate(SHAPES.items()):
        own = {name[2:]: array for name, array in params.items() if name.startswith(f"{m}.")}
        zero = [[np.zeros((1, hidden)) for _ in range(1 + (form == "lstm"))] for _ in range(layers)]
        exponentials = np.exp(Network(form, own, ids[:, None], ids[:, None], zero).logits[:, 0])
        each.append(exponentials / exponentials.sum(axis=1, keepdims=True))
    return np.mean(each, axis=0)


@pytest.mark.parametrize("workers", [1, 2])
def test_is_the_mean_of_naive_networks(workers: int) -> None:
    """Windows, single steps and scores in streams have the mean probabilities of the twins, to 1e-10."""
    ensemble, params = _ensemble()
    ids = np.random.default_rng(1).integers(0, 6, 2_011)
    short = ids[:40]
    expected = _twin(params, short)
    workspace, state = Workspace(), ensemble.zero_state(2, np.float64)
    step = ensemble.decoder(params, ensemble.zero_state(1, np.float64))
    pair = np.stack([short, ids[40:80]], axis=1)
    for first in (0, 7, 27):
        stop = {0: 7, 7: 27, 27: 40}[first]
        window = ensemble.forward(params, pair[first:stop], state, workspace)
        state = window.state
        np.testing.assert_allclose(np.exp(window.output[:, 0]), expected[first:stop], rtol=1e-10)
    for k, unit in enumerate(short.tolist()):
        np.testing.assert_allclose(np.exp(step(unit)), expected[k], rtol=1e-10)
    p = _twin(params, ids)[np.arange(len(ids) - 1), ids[1:]]
    team = Team(workers).of(parts=2)
    assert score(ensemble, params, Text(ids), team=team).nll == pytest.approx(-np.log(p).sum(), abs=0.05)
    windows = score(ensemble, params, Text(ids[:40]), window=39, team=team).nll
    assert windows == pytest.approx(-np.log(p[:39]).sum(), rel=1e-10)


def test_probabilities_as_small_as_logits_can_make_them_have_a_logarithm() -> None:
    """What all networks hold for impossible has a finite loss, as with one network."""
    ensemble, params = _ensemble()
    for m in range(3):
        params[f"{m}.output.b"][...] = np.array([900.0, -2000, 0, 0, 0, 0])
    output = ensemble.forward(params, np.zeros((3, 1), int), ensemble.zero_state(1, np.float64), Workspace())
    assert np.isfinite(output.output).all()
    assert (output.output[:, 0, 1] < -1900).all()


def test_gradients_are_right() -> None:
    """Every gradient agrees with central differences to 1e-6, those of the carried state too."""
    ensemble, params = _ensemble()
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 6, (2, 4, 3))
    state, pull = 0.5 * rng.standard_normal((2, *ensemble.zero_state(3).shape))

    def loss() -> float:
        window = ensemble.forward(params, x, state, Workspace())
        found, _ = softmax_cross_entropy(window.output.reshape(-1, 6).copy(), y.reshape(-1))
        return found + float((window.state * pull).sum())

    window, grads = ensemble.forward(params, x, state, Workspace()), params.zeros_like()
    _, dlog_p = softmax_cross_entropy(window.output.reshape(-1, 6).copy(), y.reshape(-1))
    _, dstate = window.backward(grads, dlog_p.reshape(window.output.shape), pull)
    arrays, gradients = {**params, "state": state}, {**grads, "state": dstate}
    checks = gradcheck.check(loss, arrays, gradients, rng, 8)
    assert {one.name for one in checks if not one.right} == set()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two runs on one text, of different cells and sizes."""
    directory = tmp_path_factory.mktemp("several")
    (directory / "text.txt").write_text(TEXT)
    for name, cell, hidden in (("a", "lstm", 12), ("b", "gru", 20)):
        settings = {"model.cell": cell, "model.hidden": hidden, "train.batch": 4, "train.seq_len": 20}
        package.train(
            {}, corpus=directory / "text.txt", out=directory / name, settings=settings, max_steps=30
        )
    return [str(directory / name) for name in "ab"]


def test_commands_and_functions_use_the_mean(paths: list[str], charlm: Run, tmp_path: Path) -> None:
    """`--mean` and `load` of several score and write by the mean of what the models' traces hold."""
    both, models = package.load(paths), [package.load(path) for path in paths]
    mean = [option for path in paths for option in ("--checkpoint", path)] + ["--mean"]
    text = TEXT[:300]
    (tmp_path / "text").write_text(text)

    def probabilities(some: str) -> Array:
        """`[N, V]`, after each unit."""
        return np.mean([model.trace(some).probabilities for model in models], axis=0)

    ids = [both.vocabulary.index(one) for one in text]
    nats = -np.log(probabilities(text)[np.arange(299), ids[1:]])
    np.testing.assert_allclose(both.losses(text), nats, rtol=1e-4, atol=1e-5)
    single = [model.score(text).nll for model in models]
    assert both.score(text).nll < np.mean(single)
    command = [*mean, "--corpus", "text", "--json"]
    found = json.loads(charlm("eval", "perplexity", *command).stdout)
    assert found["nats_per_char"] == pytest.approx(nats.mean(), rel=1e-5)
    rows = table(charlm("score", "text", *mean, "--by", "unit").stdout)
    assert list(rows[0]) == ["text", "line", "column", "unit", "bits", "rank"]
    assert bits(rows) == pytest.approx(found["bits_per_char"] * 299, rel=1e-9)
    assert both.surprisal(text, by="unit")[7].bits == pytest.approx(float(rows[7]["bits"]), rel=1e-9)

    written = "The f"
    for _ in range(30):
        written += both.vocabulary[int(probabilities(written)[-1].argmax())]
    assert charlm("sample", *mean, "--prime", "The f", "--length", "30", "--greedy").stdout == f"{written}\n"
    p = probabilities("The f")[-1]
    top = dict(both.predict("The f", top=3))
    assert top == {both.vocabulary[k]: pytest.approx(p[k], rel=1e-4) for k in np.argsort(-p)[:3]}
    # temperature and top-k act on the mean
    weights = Sampling(0.5, top_k=3).weights(np.log(p))
    expected = np.where(np.isin(np.arange(len(p)), np.argsort(-p)[:3]), (p / p.max()) ** 2, 0.0)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    sampled = charlm("sample", *mean, "--seed", "3", "--length", "40", "--temperature", "0.5").stdout
    assert sampled == f"{both.sample(length=40, temperature=0.5, seed=3)}\n"


def test_an_ensemble_goes_on_learning(paths: list[str], charlm: Run, tmp_path: Path) -> None:
    """Dynamic evaluation of several models is better than the static one, and the table adds up to it."""
    (tmp_path / "text").write_text(TEXT[::-1][:1_000])
    result = package.load(paths).perplexity(tmp_path / "text", dynamic=True)
    assert result.asked.nll < 0.995 * result.score.nll
    command = [*itertools.chain(*(("--checkpoint", path) for path in paths)), "--mean", "--dynamic"]
    rows = table(charlm("score", "text", *command).stdout)
    assert bits(rows) == pytest.approx(result.asked.nll / math.log(2), rel=1e-9)


def test_what_is_of_one_network_is_refused(paths: list[str], tmp_path: Path) -> None:
    """Several models have no trace, gradient flow, report, export or page, and say so; nothing is written."""
    both = package.load(paths)
    assert repr(both).startswith("<LanguageModel: 2 x 12 lstm and 2 x 20 gru, ")
    for call in (
        lambda: both.trace("The"),
        lambda: both.gradient_flow(2),
        lambda: both.report(tmp_path / "page.html"),
        lambda: both.export(tmp_path / "page.html"),
        lambda: both.export(tmp_path / "page.onnx"),
        lambda: both.export(tmp_path / "page.safetensors"),
        lambda: package.lesson([both], tmp_path / "page.html"),
        both.info,
    ):
        with pytest.raises(package.ConfigError, match="not one network"):
            call()
    assert not list(tmp_path.iterdir())
    with pytest.raises(package.ConfigError, match="several files"):
        assert both.path


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        (TEXT + "Ω", {}, "lacks 'Ω' (U+03A9)"),
        (TEXT.replace("w", "v"), {}, "lacks 'w' (U+0077)"),
        (TEXT, {"corpus.mode": "lines"}, "corpus.mode is stream and lines"),
        (TEXT, {"corpus.unit": "byte"}, "corpus.unit is char and byte"),
        (TEXT, {"corpus.lowercase": True}, "corpus.lowercase is False and True"),
        (TEXT + "Ω", {"corpus.min_count": 2}, "b has <unk>"),
    ],
)
def test_models_that_read_differently_are_refused(
    text: str, settings: dict[str, object], words: str, paths: list[str], tmp_path: Path, charlm: Run
) -> None:
    """The message names both models and what differs."""
    (tmp_path / "text.txt").write_text(text)
    package.train({}, corpus=tmp_path / "text.txt", out=tmp_path / "b", settings=settings, max_steps=1)
    several = ["--checkpoint", paths[0], "--checkpoint", str(tmp_path / "b")]
    for command in (["sample"], ["eval", "perplexity"], ["score"]):
        error = charlm(*command, *several, "--mean", status=2).stderr
        assert "cannot predict together" in error
        assert words.replace("b has", f"{tmp_path / 'b' / 'last.npz'} has") in error


def test_several_models_must_be_meant(paths: list[str], tmp_path: Path, charlm: Run) -> None:
    """Several checkpoints without --mean, one of them twice, or another's text to learn from are errors."""
    several = ["--checkpoint", paths[0], "--checkpoint", paths[1]]
    for command in (["sample"], ["eval", "perplexity"]):
        assert "add --mean" in charlm(*command, *several, status=2).stderr
    twice = ["--checkpoint", paths[0], "--checkpoint", paths[0], "--mean"]
    assert "named twice" in charlm("sample", *twice, status=2).stderr
    with pytest.raises(package.ConfigError, match="name a checkpoint"):
        package.load([])
    (tmp_path / "text.txt").write_text(TEXT + "at noon")
    package.train({}, corpus=tmp_path / "text.txt", out=tmp_path / "b", max_steps=1)
    with pytest.raises(package.CorpusError, match="these have several"):
        package.load([paths[0], tmp_path / "b"]).perplexity(tmp_path / "text.txt", dynamic=True)
