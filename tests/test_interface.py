"""The Python interface: every promise of `charlm.load`, `charlm.train` and `charlm.Run`."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import math
import multiprocessing
import os
import pickle
import pickletools
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import MEASURED, ROOT, TEXT, arithmetic_state
from exported import make

import charlm
from charlm.cli import charlm as command_line
from charlm.config import reading
from charlm.config.reading import resolve
from charlm.nn.model import Model
from charlm.report import curves, page
from charlm.runs import checkpoint
from charlm.runs.directory import RunDirectory
from charlm.system.team import Team
from charlm.training import checking, session
from charlm.training import recipe as training_recipe
from charlm.training.events import Logged, Previewed, Started, Stopped, Updated, Validated, Warned
from charlm.training.trainer import Trainer

NAMES = [f"{first}{last}" for first in ("an", "ber", "cor", "dan", "el") for last in ("a", "na", "is", "ric")]

KOREAN = "나룻배가 강을 건너왔다. 각각 값을 물었다.\n" * 12

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "text": (TEXT.replace(". ", ".\n") * 2, {}),
    "lines": ("\n".join(NAMES) + "\n", {"mode": "lines"}),
    "bytes": (KOREAN, {"unit": "byte"}),
    "jamo": (KOREAN, {"normalize": "nfd", "newlines": "lf"}),
    "unknown": (TEXT + "§" + TEXT, {"min_count": 2}),
}
"""A text for each kind of model, and the keys of `corpus` that make it."""

Configuration = dict[str, dict[str, Any]]


def _config(text: Path, **corpus: Any) -> Configuration:
    """A small configuration in sections, its run beside the text."""
    return {
        "corpus": {"path": str(text), "split": [0.8, 0.1, 0.1], **corpus},
        "model": {"hidden": 16, "layers": 1},
        "train": {"batch": 4, "seq_len": 8, "epochs": 3, "lr": 0.01},
        "run": {"dir": str(text.parent / "run"), "sample_length": 20, "log_every": 4, "threads": 1},
    }


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A file with a small text."""
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    return file


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, charlm.Run]:
    """A trained run of every kind."""
    trained = {}
    for kind, (text, corpus) in KINDS.items():
        file = tmp_path_factory.mktemp(kind) / "text.txt"
        file.write_text(text)
        trained[kind] = charlm.train(_config(file, **corpus))
    return trained


@pytest.fixture(scope="module")
def models(runs: dict[str, charlm.Run]) -> dict[str, charlm.LanguageModel]:
    """The model of every run."""
    return {kind: run.load() for kind, run in runs.items()}


every_kind = pytest.mark.parametrize("kind", list(KINDS))


def _command(*arguments: str) -> str:
    """What a command prints on stdout."""
    done = CliRunner().invoke(command_line, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_importing_loads_neither_numpy_nor_click() -> None:
    """`import charlm` is light, names what there is, and loads NumPy with the first use."""
    code = (
        "import sys, charlm\n"
        "heavy = {'numpy', 'click', 'tqdm', 'yaml'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert set(charlm.__all__) <= set(dir(charlm)) and not heavy & set(sys.modules)\n"
        "assert not hasattr(charlm, 'nonsense') and not heavy & set(sys.modules)\n"
        "for name in charlm.__all__: getattr(charlm, name)\n"
        "assert 'numpy' in sys.modules and not {'click', 'tqdm'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@every_kind
@pytest.mark.parametrize(
    ("prime", "arguments", "options"),
    [
        (True, {"length": 60}, ["--length", "60"]),
        (False, {"length": 40, "temperature": 0.7}, ["--length", "40", "--temperature", "0.7"]),
        (True, {"length": 30, "greedy": True}, ["--length", "30", "--greedy"]),
        (
            True,
            {"length": 30, "top_k": 3, "top_p": 0.8},
            ["--length", "30", "--top-k", "3", "--top-p", "0.8"],
        ),
        (True, {"length": 200, "stop": "a"}, ["--length", "200", "--stop", "a"]),
    ],
)
def test_sample_is_the_text_of_the_command(
    runs: dict[str, charlm.Run],
    models: dict[str, charlm.LanguageModel],
    kind: str,
    prime: bool,
    arguments: dict[str, Any],
    options: list[str],
) -> None:
    """With the same seed a sample is what `charlm sample` prints after the prime."""
    if "stop" in arguments and kind in ("bytes", "jamo"):
        options, arguments = [*options[:-1], "다"], {**arguments, "stop": "다"}
    # the final consonant of a syllable may follow the prime: these end where none can
    begin = {"text": "the ", "lines": "be", "bytes": "강을 ", "jamo": "강을 ", "unknown": "the "}[kind]
    begin = begin if prime else ""
    shown = _command(
        "sample", "--checkpoint", str(runs[kind].path), "--prime", begin, "--seed", "3", *options
    )
    first = shown.split("\n")[0] if kind == "lines" else shown.removesuffix("\n")
    assert begin + models[kind].sample(begin, seed=3, **arguments) == first


@every_kind
def test_a_stream_is_the_sample_in_whole_characters(
    models: dict[str, charlm.LanguageModel], kind: str
) -> None:
    """The stream gives the sample, one character at a time, none of them a half."""
    sample = models[kind].sample("", length=80, seed=5)
    streamed = list(models[kind].stream("", length=80, seed=5))
    assert "".join(streamed) == sample
    assert {len(character) for character in streamed} == {1}


def test_a_sample_ends_after_some_lines(models: dict[str, charlm.LanguageModel]) -> None:
    """With the line break of the last of them, sample and stream alike."""
    sample = models["text"].sample(length=3000, temperature=2.0, seed=5, stop_after_lines=2)
    assert (sample.count("\n"), sample[-1]) == (2, "\n")
    assert "".join(models["text"].stream("", 3000, 2.0, seed=5, stop_after_lines=2)) == sample


def test_a_stream_is_drawn_as_it_is_read(models: dict[str, charlm.LanguageModel]) -> None:
    """An endless stream can be begun, and another one of the same model read beside it."""
    first, second = (models["text"].stream("the ", length=10**9, seed=seed) for seed in (1, 2))
    both = [(next(first), next(second)) for _ in range(30)]
    for number, seed in enumerate((1, 2)):
        assert "".join(pair[number] for pair in both) == models["text"].sample("the ", length=30, seed=seed)


def test_a_call_gives_the_threads_back(
    runs: dict[str, charlm.Run], text: Path, host: tuple[int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call computes with one BLAS thread, and leaves as many as there were."""
    seen = []
    forward = Model.forward

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(arithmetic_state())
        return forward(*arguments, **options)

    monkeypatch.setattr(Model, "forward", watched)
    model = runs["text"].load()
    assert arithmetic_state() == host
    for call in (model.sample, model.score, model.losses, model.trace, model.predict):
        call("the quick brown")
        assert arithmetic_state() == host
    for _ in model.stream("the quick", 3):
        assert arithmetic_state() == host
    charlm.train(
        _config(text),
        out=text.parent / "run",
        on_event=lambda event: seen.append(arithmetic_state()),
        settings={"train.epochs": 1},
    )
    assert arithmetic_state() == host
    assert len(seen) > 6
    assert set(seen) == {(1, 1e-4)}


def test_samples_differ_without_a_seed(models: dict[str, charlm.LanguageModel]) -> None:
    """Without a seed, each sample is another one; with one, each is the same."""
    model = models["text"]
    assert len({model.sample("the ", length=60) for _ in range(4)}) > 1
    assert len({model.sample("the ", length=60, seed=0) for _ in range(4)}) == 1


def test_a_syllable_that_goes_on_is_given_whole(models: dict[str, charlm.LanguageModel]) -> None:
    """Jamo that join the last syllable of the prime give that syllable anew, composed."""
    texts = {models["jamo"].sample("가", length=1, temperature=5.0, seed=seed) for seed in range(60)}
    joined = {text for text in texts if len(text) == 1 and 0xAC01 <= ord(text) <= 0xAC1B}
    assert joined  # such as 각: the final consonant is part of the first syllable
    assert not any("\u1100" <= character <= "\u11ff" for text in joined for character in text)


@every_kind
def test_score_is_what_the_command_says(
    runs: dict[str, charlm.Run], models: dict[str, charlm.LanguageModel], kind: str, tmp_path: Path
) -> None:
    """A text is scored as `charlm eval perplexity --corpus` scores a file with it."""
    text = KINDS[kind][0][:120] if kind != "lines" else "anna\n\nberis\r\ncora"
    (tmp_path / "other.txt").write_bytes(text.encode())
    windows = [None] if kind == "lines" else [None, 7]
    for window in windows:
        arguments = ["--checkpoint", str(runs[kind].path), "--corpus", str(tmp_path / "other.txt"), "--json"]
        arguments += [] if window is None else ["--window", str(window)]
        expected = json.loads(_command("eval", "perplexity", *arguments))
        found = models[kind].score(text, window=window)
        for name in ("nats_per_char", "bits_per_char", "perplexity", "characters"):
            assert getattr(found, name) == expected[name], name
        assert found.bits_per_char == pytest.approx(found.nats_per_char / math.log(2))


@every_kind
def test_losses_sum_to_the_score(models: dict[str, charlm.LanguageModel], kind: str) -> None:
    """There is one loss for each predicted unit, in order, and together they are the score."""
    text = KINDS[kind][0] if kind != "lines" else "anna\nberis\n"
    losses, score = models[kind].losses(text), models[kind].score(text)
    assert losses.shape == (score.characters,)
    assert losses.mean() == pytest.approx(score.nats_per_char, abs=1e-5)
    units = {"lines": 5 + 6, "bytes": len(text.encode()) - 1}.get(kind)
    assert units is None or len(losses) == units
    # what is read later changes nothing before it
    if kind == "text":
        np.testing.assert_allclose(models[kind].losses(text[:150]), losses[:149], atol=1e-5)


@every_kind
def test_predictions_are_the_probabilities_of_what_follows(
    models: dict[str, charlm.LanguageModel], kind: str
) -> None:
    """All probabilities sum to 1, the likeliest come first, and they are those that losses are made of."""
    model = models[kind]
    prime = "ber" if kind == "lines" else KINDS[kind][0][:30]
    every = model.predict(prime, top=10**6)
    assert sorted(name for name, _ in every) == sorted(model.vocabulary)
    assert math.fsum(p for _, p in every) == pytest.approx(1)
    assert [p for _, p in every] == sorted((p for _, p in every), reverse=True)
    assert model.predict(prime) == every[:5]
    if kind in ("text", "unknown", "lines"):
        following = "i" if kind == "lines" else KINDS[kind][0][30]
        losses = model.losses(prime + following)
        nll = losses[len(prime)] if kind == "lines" else losses[-1]
        assert -math.log(dict(every)[following]) == pytest.approx(nll, abs=1e-5)
        greedy = model.sample(prime, length=1, greedy=True)
        # a line ends with its line break, which is not shown
        assert (greedy or "\n") == next(name for name, _ in every if name != "<unk>")


def test_no_logit_is_too_large_to_predict(models: dict[str, charlm.LanguageModel]) -> None:
    """Where one unit is certain by thousands of nats, it has probability 1, and the others 0."""
    certain = copy.deepcopy(models["text"])
    certain._loaded.parameters["output.b"][3] = 5000
    assert certain.predict("the ", top=2)[0] == (certain.vocabulary[3], 1.0)
    assert certain.predict("the ", top=2)[1][1] == 0.0


def test_the_vocabulary_names_every_unit(models: dict[str, charlm.LanguageModel]) -> None:
    """Characters are themselves, <unk> is the last, and there is one name for each row of the network."""
    assert models["text"].vocabulary == sorted(set(KINDS["text"][0]))
    assert models["unknown"].vocabulary == [*sorted(set(TEXT)), "<unk>"]
    assert min(models["jamo"].vocabulary[2:]) >= "\u1100" or "." in models["jamo"].vocabulary
    assert len(set(models["bytes"].vocabulary)) == len(set(KOREAN.encode()))
    assert all(isinstance(name, str) for name in models["bytes"].vocabulary)
    for model in models.values():
        assert len(model.vocabulary) == len(model.parameters["output.b"])


def test_parameters_cannot_be_changed(
    runs: dict[str, charlm.Run], models: dict[str, charlm.LanguageModel]
) -> None:
    """Parameters are those of the file, by its names, and neither mapping nor arrays can be written."""
    parameters = models["text"].parameters
    with np.load(RunDirectory(runs["text"].path).best) as file:
        stored = {name.removeprefix("parameters/") for name in file.files if name.startswith("parameters/")}
        assert set(parameters) == stored
        for name in stored:
            np.testing.assert_array_equal(parameters[name], file[f"parameters/{name}"])
    with pytest.raises(TypeError):
        parameters["output.b"] = np.zeros(1)  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        parameters["output.b"][0] = 1.0


def test_what_the_model_does_not_know(models: dict[str, charlm.LanguageModel]) -> None:
    """Unknown characters are <unk>, with a warning for a prime, or an error that names them."""
    with pytest.warns(UserWarning, match="'§' .* once"):
        models["unknown"].sample("the §", length=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models["unknown"].sample("the ", length=3)
        assert models["unknown"].score("the § fox").characters == 8
    with pytest.raises(charlm.VocabularyError, match="'§'"):
        models["text"].sample("the §")
    with pytest.raises(charlm.VocabularyError, match="'§'"):
        models["text"].score("the §")
    with pytest.raises(charlm.VocabularyError, match="'§'"):
        models["text"].predict("the §")


@pytest.mark.parametrize(
    "arguments",
    [
        {"length": -1},
        {"temperature": 0.0},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"seed": -1},
        {"stop": "§"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["unknown", "lines"])
def test_what_cannot_be_sampled_is_an_error_at_once(
    models: dict[str, charlm.LanguageModel], kind: str, arguments: dict[str, Any]
) -> None:
    """A value out of range is a `CharlmError` of the call, not of the first character."""
    with pytest.raises(charlm.CharlmError, match=next(iter(arguments))):
        models[kind].stream("an" if kind == "lines" else "the", **arguments)


def _run(models: dict[str, charlm.LanguageModel]) -> str:
    """The directory of a run that exists."""
    return models["text"].config.run.dir


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda models: models["text"].score("t"), "nothing to predict"),
        (lambda models: models["text"].losses(""), "nothing to predict"),
        (lambda models: models["lines"].score("\n\n"), "nothing to predict"),
        (lambda models: models["text"].score("the fox", window=0), "window"),
        (lambda models: models["lines"].score("anna", window=5), "^`window` is for texts"),
        (lambda models: models["lines"].perplexity(window=5), "^`window` is for texts"),
        (lambda models: models["text"].predict("the ", top=0), "top"),
        (lambda models: models["lines"].sample("a\nb"), "line break"),
        (lambda models: charlm.load("nowhere.npz"), "nowhere.npz"),
        (lambda models: charlm.Run("nowhere"), "nowhere"),
        (lambda models: charlm.train("nowhere.yaml"), "nowhere.yaml"),
        (lambda models: charlm.train({"model": {"hiden": 3}}), "model.hiden: unknown key.*model.hidden"),
        (lambda models: charlm.train({"modell": {"hidden": 3}}), "modell"),
        (lambda models: charlm.train({"model": 3}), "model"),  # type: ignore[dict-item]
        (lambda models: charlm.train({}), "no text"),
        (lambda models: charlm.train({}, settings={5: 1}), "settings: 5: unknown key"),  # type: ignore[dict-item]
        (lambda models: charlm.train({}, minutes=0), "minutes: 0.0 is not"),
        (lambda models: charlm.train({}, max_steps=0), "max_steps: 0 is below 1"),
        (lambda models: charlm.train({}, extend_vocabulary=True), "`extend_vocabulary`.*`init=RUN`"),
        (lambda models: charlm.load(""), "path: the path is empty"),
        (lambda models: charlm.bench(vocab=0), "vocab: 0 is below 1"),
        (lambda models: charlm.bench(threads=1025), "threads: 1025 is above 1,024"),
        (lambda models: charlm.plot([], "a.svg"), "runs: name a run"),
        (lambda models: charlm.plot("runs", "a.gif"), "a.gif: the suffix must be one of .png"),
        (lambda models: models["text"].export("a.pt"), "a.pt: the suffix must be one of .safetensors"),
        (lambda models: models["text"].export("a.onnx", float32=True), "`float32` is for pages"),
        (lambda models: models["text"].report("a.pdf"), "a.pdf: the suffix must be one of .html, .htm"),
        (lambda models: models["text"].report(length=1), "length: 1 is below 2"),
        (lambda models: models["text"].gradient_flow(1001), "steps: 1001 is above 1,000"),
        (lambda models: models["text"].perplexity(window=0), "window: 0 is below 1"),
        (lambda models: models["text"].perplexity(encoding="cp949"), "`encoding` has no effect"),
        (lambda models: models["text"].sample(stop_after_lines=-1), "stop_after_lines: -1 is below 0"),
        (lambda models: models["lines"].sample(stop_after_lines=1), "stop_after_lines: a model of lines"),
        (lambda models: charlm.train({}, corpus=""), "path is empty"),
        (lambda models: charlm.train({}, settings={"train.lr": -1}), "train.lr"),
        (lambda models: charlm.train({}, settings={"train.lrr": 1}), "train.lrr.*train.lr"),
        (
            lambda models: charlm.train(_run(models)),
            "`resume=True` continues it, `overwrite=True`.*`out=DIR`",
        ),
        (lambda models: charlm.train(_run(models), resume=True, minutes=1), "^`minutes` is for a new run"),
        (
            lambda models: charlm.train(_run(models), resume=True, init=_run(models)),
            "^`init` is for a new run",
        ),
        (lambda models: models["unknown"].sample(stop="§"), "^`stop` holds what"),
        (lambda models: models["text"].sample(stop="§"), "in `stop`|`stop`"),
    ],
)
def test_mistakes_are_errors_of_charlm(
    models: dict[str, charlm.LanguageModel],
    call: Callable[[dict[str, charlm.LanguageModel]], object],
    message: str,
) -> None:
    """What the command reports in one line is a `CharlmError` whose line names arguments, not options."""
    with pytest.raises(charlm.CharlmError, match=message) as caught:
        call(models)
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)


WRONG = [
    ("sample", {"prime": None}, "prime: expected a text, got None"),
    ("sample", {"prime": 5}, "prime: expected a text, got 5"),
    ("score", {"text": b"the fox"}, "text: expected a text, got b'the fox'"),
    ("losses", {"text": ["the"]}, "text: expected a text, got ['the']"),
    ("sample", {"length": "5"}, "length: expected a whole number, got '5'"),
    ("sample", {"length": True}, "length: expected a whole number, got True"),
    ("sample", {"seed": 1.5}, "seed: expected a whole number or None, got 1.5"),
    ("sample", {"seed": -1}, "seed: -1 is below 0"),
    ("sample", {"temperature": "x"}, "temperature: expected a number, got 'x'"),
    ("sample", {"temperature": 10**400}, "temperature: the number is too large"),
    ("sample", {"greedy": 1}, "greedy: expected True or False, got 1"),
    ("sample", {"stop": None}, "stop: expected a text, got None"),
    ("sample", {"prime": "a\ud800"}, r"prime: '\ud800' is half of a character"),
    ("predict", {"top": "5"}, "top: expected a whole number, got '5'"),
    ("perplexity", {"corpus": b"x"}, "corpus: expected a path or None, got b'x'"),
    ("perplexity", {"corpus": "a\0b"}, r"corpus: expected a path, got 'a\x00b'"),
    ("perplexity", {"corpus": "a\ud800"}, r"corpus: expected a path, got 'a\ud800'"),
    ("report", {"encoding": "cp949"}, "`encoding` has no effect on the model's own text"),
    ("perplexity", {"split": "tests"}, "split: expected one of train, validation, test, got 'tests'"),
    ("novelty", {"texts": ["the", 5]}, "texts: expected a text, got 5"),
]


@pytest.mark.parametrize(("method", "arguments", "message"), WRONG, ids=str)
def test_a_wrong_type_is_said_in_one_line(
    models: dict[str, charlm.LanguageModel], method: str, arguments: dict[str, Any], message: str
) -> None:
    """An argument of a wrong type is a `ConfigError` that names it, what was expected, and what came."""
    with pytest.raises(charlm.ConfigError) as caught:
        getattr(models["text"], method)(**arguments)
    assert str(caught.value) == message


def _public() -> list[tuple[str, Callable[..., Any]]]:
    """Every function of the interface, and every method of a model, by name."""
    functions = [(name, getattr(charlm, name)) for name in charlm.__all__]
    found = [(name, function) for name, function in functions if inspect.isfunction(function)]
    found += [
        (f"LanguageModel.{name}", method)
        for name, method in vars(charlm.LanguageModel).items()
        if inspect.isfunction(method) and not name.startswith("_")
    ]
    return [*found, ("Run.__init__", charlm.Run.__init__)]


@pytest.mark.parametrize(("name", "function"), _public())
def test_every_argument_is_checked_and_explained(name: str, function: Callable[..., Any]) -> None:
    """No function of the interface takes an argument of any type, or leaves one out of its help."""
    parameters = [one for one in inspect.signature(function).parameters.values() if one.name != "self"]
    method = list(inspect.signature(function).parameters)[:1] == ["self"]
    for wrong in parameters:
        others = {one.name: "x" for one in parameters if one.default is one.empty and one is not wrong}
        with pytest.raises(charlm.ConfigError, match=f"^{wrong.name}: expected .* got <object"):
            function(*([None] if method else []), **{**others, wrong.name: object()})
        if name not in ("LanguageModel.stream", "Run.__init__"):
            assert re.search(rf"\b{wrong.name}\b", function.__doc__ or ""), wrong.name
    assert "See `" not in (function.__doc__ or "")


def test_numbers_and_paths_of_any_kind_are_accepted(
    runs: dict[str, charlm.Run], models: dict[str, charlm.LanguageModel], text: Path
) -> None:
    """NumPy's numbers are numbers, also as settings; a `Path` and a `Run` are paths."""
    model = models["text"]
    numbers = {"length": np.int64(20), "temperature": np.float32(0.5), "seed": np.uint8(1)}
    assert model.sample("the ", **numbers) == model.sample("the ", 20, 0.5, seed=1)  # type: ignore[arg-type]
    assert charlm.load(runs["text"]).predict("the ") == model.predict("the ")
    settings = {
        "model.hidden": np.int64(5),
        "train.lr": np.float32(0.5),
        "train.epochs": 1,
        "run.dir": text.parent,
    }
    with pytest.raises(charlm.RunError, match="a fresh one is needed"):
        charlm.train({}, settings={**settings, "corpus.path": [text, text]}, on_event=_refuse_to_start)
    assert reading.load(text.parent).model.hidden == 5


def _refuse_to_start(event: object) -> None:
    raise charlm.RunError("a fresh one is needed")


@every_kind
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],  # noqa: S301
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_model_can_be_copied(
    models: dict[str, charlm.LanguageModel],
    kind: str,
    copied: Callable[[charlm.LanguageModel], charlm.LanguageModel],
) -> None:
    """A copy, pickled or not, is the same model: its samples, scores, predictions and parameters."""
    model, other = models[kind], copied(models[kind])
    prime = KINDS[kind][0][:2]
    assert other.sample(prime, 30, seed=1) == model.sample(prime, 30, seed=1)
    assert other.score(KINDS[kind][0][:60]) == model.score(KINDS[kind][0][:60])
    assert other.predict(prime) == model.predict(prime)
    assert (repr(other), other.vocabulary, other.config) == (repr(model), model.vocabulary, model.config)
    assert copied(charlm.LanguageModel(model._loaded, Team(3)))._team.workers == 3
    with pytest.raises(ValueError, match="read-only"):
        other.parameters["output.b"][0] = 1.0


def test_a_pickled_model_sets_up_blas_before_numpy(models: dict[str, charlm.LanguageModel]) -> None:
    """It is opened through the package, whose first use prepares BLAS, and holds no state of training."""
    data = pickle.dumps(models["text"])
    names = [argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)]
    assert names[:2] == ["charlm", "LanguageModel"]
    assert len(data) < 1.5 * sum(array.nbytes for array in models["text"].parameters.values()) + 5_000


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # pytest-xdist has threads
@pytest.mark.parametrize("method", sorted({"fork", "spawn"} & set(multiprocessing.get_all_start_methods())))
def test_a_model_works_in_other_processes(models: dict[str, charlm.LanguageModel], method: str) -> None:
    """Processes of `multiprocessing.Pool` sample and score as this one does."""
    model = models["text"]
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(model.sample, ("the ", 30), {"seed": 1}) == model.sample("the ", 30, seed=1)
        assert pool.apply(model.score, (TEXT,)) == model.score(TEXT)


def test_threads_share_a_model(models: dict[str, charlm.LanguageModel]) -> None:
    """Samples that are drawn at the same time are those that are drawn one after the other."""
    model = models["text"]
    draw = functools.partial(model.sample, "the ", 80)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: draw(seed=seed), range(8)))
        scores = list(pool.map(lambda _: model.score(TEXT), range(4)))
    assert together == [draw(seed=seed) for seed in range(8)]
    assert set(scores) == {model.score(TEXT)}


def test_everything_shows_itself_in_a_line(
    runs: dict[str, charlm.Run], models: dict[str, charlm.LanguageModel]
) -> None:
    """The `repr` of a model, of a run and of results says what it is."""
    run, model = runs["text"], models["text"]
    count, size = sum(array.size for array in model.parameters.values()), len(model.vocabulary)
    assert repr(model) == (
        f"<LanguageModel: 1 x 16 lstm, {count:,} parameters, vocabulary of {size} chars, "
        f"from {run.path / 'best.npz'}>"
    )
    assert repr(run) == f"Run({str(run.path)!r})"
    score = model.score("the fox")
    figures = f"{score.nats_per_char:.4f} nats/char, {score.bits_per_char:.4f} bits/char, "
    assert repr(score) == f"<Score: {figures}perplexity {score.perplexity:.4f}, 6 scored>"
    assert repr(model.perplexity()).startswith("<Evaluation of the test split: ")
    assert repr(model.gradient_flow(2)).startswith("<GradientFlow of 1 layer, 0 to 2 steps back, ")
    untrained = charlm.untrained(model.config)
    assert repr(untrained).endswith(", untrained>")
    assert untrained.info()["checkpoint"] is None


def test_warnings_point_at_the_caller(models: dict[str, charlm.LanguageModel], text: Path) -> None:
    """A warning is one of the line that called, however deep in the package it arises."""
    text.write_text("abcabcabcabc" * 4)
    marked = text.with_name("marked.txt")
    marked.write_text("\ufeff" + TEXT, encoding="utf-8")
    calls: list[Callable[[], object]] = [
        lambda: models["unknown"].sample("the §", 3),
        lambda: list(models["unknown"].stream("the §", 3)),
        lambda: models["unknown"].predict("the §"),
        lambda: charlm.train(_config(text), settings={"train.batch": 64, "train.epochs": 1}),
        lambda: models["text"].perplexity(marked),
        lambda: models["text"].gradient_flow(2, marked),
        lambda: charlm.untrained(models["text"].config, marked),
    ]
    for call in calls:
        with pytest.warns(UserWarning, match="§|train.batch|byte-order mark") as caught:
            call()
        assert {warning.filename for warning in caught} == {__file__}


COMMANDS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("text", {}, []),
    ("text", {"split": "validation"}, ["--split", "validation"]),
    ("text", {"window": 7, "split": "train"}, ["--window", "7", "--split", "train"]),
    ("text", {"dynamic": True}, ["--dynamic"]),
    ("text", {"corpus": Path("other.txt")}, ["--corpus", "other.txt"]),
    ("lines", {}, []),
    ("bytes", {}, []),
    ("jamo", {}, []),
]


@pytest.mark.parametrize(("kind", "arguments", "options"), COMMANDS, ids=str)
def test_perplexity_is_what_the_command_says(
    runs: dict[str, charlm.Run],
    models: dict[str, charlm.LanguageModel],
    kind: str,
    arguments: dict[str, Any],
    options: list[str],
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`model.perplexity` gives the figures of `charlm eval perplexity --json`."""
    monkeypatch.chdir(text.parent)
    Path("other.txt").write_text(TEXT[::-1])
    command = ["eval", "perplexity", "--checkpoint", str(runs[kind].path), "--json", *options]
    expected, found = json.loads(_command(*command)), models[kind].perplexity(**arguments)
    figures = found.figures()
    for measured in (expected, figures):
        measured.pop("seconds", None)
    assert figures == expected
    assert found.asked.nats_per_char == expected["nats_per_char"]


def test_gradient_flow_is_what_the_command_says(
    runs: dict[str, charlm.Run], models: dict[str, charlm.LanguageModel]
) -> None:
    """Of a trained model, and of the network of its configuration before training."""
    path = str(runs["text"].path)
    untrained = charlm.untrained(path)
    for model, option in ((models["text"], "--checkpoint"), (untrained, "--config")):
        told = json.loads(_command("eval", "gradient-flow", option, path, "--steps", "9", "--json"))
        flow = model.gradient_flow(steps=9).as_object()
        assert {name: told[name] for name in flow} == flow


def test_an_untrained_model_follows_text_and_settings(
    models: dict[str, charlm.LanguageModel], tmp_path: Path
) -> None:
    """Another text than that of the configuration has another vocabulary, another seed other parameters."""
    config = models["text"].config
    seeds = [charlm.untrained(config, settings={"train.seed": seed}) for seed in (1, 2, 2)]
    first, second, again = (model.parameters["output.W"] for model in seeds)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(second, again)
    (tmp_path / "other.txt").write_text("abc " * 300)
    untrained = charlm.untrained(models["text"].config, tmp_path / "other.txt")
    assert untrained.vocabulary == [" ", "a", "b", "c"]
    assert untrained.info()["corpus"]["characters"] == 1200
    assert untrained.perplexity().paths == (str(tmp_path / "other.txt"),), "it is the model's own text"


def test_an_untrained_model_makes_pages(models: dict[str, charlm.LanguageModel], tmp_path: Path) -> None:
    """Its pages and report say nothing of a text that it was trained on."""
    untrained = charlm.untrained(models["text"].config)
    untrained.export(tmp_path / "page.html")
    untrained.report(tmp_path / "report.html", length=20)
    for name in ("page.html", "report.html"):
        assert "trained on" not in (tmp_path / name).read_text()


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ((0.9, 0.1, 0.0), "validation split"),
        ((0.9, 0.0, 0.1), "test split"),
        ((1.0, 0.0, 0.0), "training split, which it has learned"),
    ],
)
def test_a_report_names_its_text(tmp_path: Path, split: tuple[float, float, float], words: str) -> None:
    """A text that a model has learned is said to be one; a network without training has learned nothing."""
    made = make(tmp_path, corpus__split=split)
    checkpoint.save(tmp_path / "made.npz", made)
    untrained = charlm.untrained(made.config)
    for model, named in ((charlm.load(tmp_path / "made.npz"), words), (untrained, words.partition(",")[0])):
        model.report(tmp_path / "report.html", length=20)
        assert f"The first 20 characters of the {named}, shaded" in (tmp_path / "report.html").read_text()


def test_novelty_is_what_the_command_says(
    runs: dict[str, charlm.Run], models: dict[str, charlm.LanguageModel]
) -> None:
    """`model.novelty` counts what `charlm sample` counts."""
    path, model = str(runs["text"].path), models["text"]
    command = ["sample", "--checkpoint", path, "--seed", "3", "--novelty", "--length", "200"]
    found = model.novelty(model.sample(length=200, seed=3))
    shown = CliRunner().invoke(command_line, command).stderr
    assert f"{100 * found.known / found.count:.1f} % of {found.count:,} stretches" in shown
    command = ["sample", "--checkpoint", str(runs["lines"].path), "--seed", "3", "--num", "1"]
    found = models["lines"].novelty(models["lines"].sample(seed=3))
    shown = CliRunner().invoke(command_line, command).stderr
    assert f"1 line: {found.count - found.known} new, {found.known} in the training text" in shown
    assert models["lines"].novelty(["nobody", *NAMES]).known > 10


def test_exporting_and_importing_are_those_of_the_commands(
    runs: dict[str, charlm.Run], models: dict[str, charlm.LanguageModel], tmp_path: Path
) -> None:
    """The same files, the same advice, and runs of the same weights."""
    for suffix in (".html", ".safetensors"):
        by_command, by_function = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        told = _command("export", str(by_command), "--checkpoint", str(runs["text"].path))
        advice = "".join(f"{line}\n" for line in models["text"].export(by_function))
        assert advice.replace(str(by_function), str(by_command)) == told
        assert by_function.read_bytes() == by_command.read_bytes()
    for file, float32 in ((tmp_path / "a.html", False), (tmp_path / "c.html", True)):
        models["text"].export(file, float32=float32)
        assert f'"type":"float{32 if float32 else 16}"' in file.read_text()
    _command("import", str(by_command), "--out", str(tmp_path / "a"))
    infos = [charlm.import_weights(by_function, out=tmp_path / "b").load().info()]
    infos += [charlm.load(tmp_path / "a").info()]
    for info in infos:
        del info["checkpoint"], info["config"]["run"]["dir"]
    assert infos[0] == infos[1]
    assert charlm.load(tmp_path / "b").sample("the ", 40, seed=1) == models["text"].sample("the ", 40, seed=1)


def test_pictures_are_those_of_the_commands(
    runs: dict[str, charlm.Run],
    models: dict[str, charlm.LanguageModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same report, byte for byte, and the same curves of the same runs."""
    # what matplotlib draws takes long, and is tested elsewhere
    monkeypatch.setattr(page, "_curves", lambda run: (str(run), ()))
    run, model = runs["text"], models["text"]
    other = tmp_path / "<other>.txt"
    other.write_text(TEXT[:100])
    for arguments, options in (
        ({}, []),
        ({"length": 50, "text": other}, ["--length", "50", "--text", str(other)]),
    ):
        _command("report", str(run.path), "--out", str(tmp_path / "a.html"), *options)
        assert model.report(tmp_path / "b.html", **arguments) == tmp_path / "b.html"
        assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    page_of_run = run.path / "report.html"
    assert model.report() == page_of_run
    for name, sentence in (
        ("other", "<code>charlm lesson RUN"),
        ("lesson", '<a href="lesson.html">The lesson'),
    ):
        (run.path / f"{name}.html").touch()
        assert f"{sentence}</" in model.report().read_text()
    drawn: list[Any] = []
    monkeypatch.setattr(
        curves,
        "write",
        lambda file, histories, axis: drawn.append((file, axis, *[h.path for h in histories])) or [],
    )
    out = tmp_path / "a.svg"
    out.touch()
    _command("plot", str(run.path), str(runs["lines"].path), "--out", str(out), "--x", "epochs")
    assert charlm.plot([run, runs["lines"].path], out, x="epochs") == out
    assert drawn[0] == drawn[1] == (out, "epochs", run.path, runs["lines"].path)


def test_information_and_checks_are_those_of_the_commands(
    runs: dict[str, charlm.Run], models: dict[str, charlm.LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`info` and `check_gradients` give what their commands print as JSON."""
    monkeypatch.setattr(checking, "_SECONDS", math.inf)  # as many entries each time
    path, model = str(runs["text"].path), models["text"]
    assert model.info() == json.loads(_command("info", "--checkpoint", path, "--json"))
    assert runs["text"].metrics == json.loads(_command("info", "--checkpoint", path, "--metrics", "--json"))
    settings = {
        "model.cell": "rnn",
        "model.dropout": 0,
        "model.dropout_mask": "step",
        "model.weight_drop": 0,
        "model.layers": 1,
        "model.hidden": 2,
        "train.batch": 1,
        "train.seq_len": 2,
    }
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    for config in (None, path):
        source = [] if config is None else ["--config", config]
        rows = json.loads(_command("eval", "gradients", "--json", *options, *source))["checks"]
        networks = charlm.check_gradients(config, settings)
        told = [(row["model"], row["parameter"], row["worst_relative_error"]) for row in rows]
        assert told == [(name, one.name, one.worst) for name, checks in networks for one in checks]
        assert all(one.right for _, checks in networks for one in checks)


def test_a_recipe_is_that_of_the_command(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`charlm.recipe` chooses what `charlm init` prints, at the same pace, and gives its warnings."""
    text.write_text("\ufeff" + TEXT * 8, encoding="utf-8")
    monkeypatch.setattr(training_recipe, "pace", lambda *_: training_recipe.Pace(50_000.0, 0.01))
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    told = _command("init", "--corpus", str(text), "--minutes", "0.2", "--set", "train.seed=7")
    with pytest.warns(UserWarning, match="begins with a byte-order mark"):
        config = charlm.recipe(text, minutes=0.2, settings={"train.seed": 7})
    assert config.to_commented_yaml() == told
    assert isinstance(config, charlm.Config)


def test_minutes_are_those_of_the_command(
    runs: dict[str, charlm.Run], text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With minutes `charlm.train` begins the run of `charlm train`, with and without a configuration."""
    begun: list[Any] = []

    def begin(request: Any, *_: Any) -> None:
        begun.append((request, request.config.given))
        raise charlm.RunError("not here")

    monkeypatch.setattr(session, "train", begin)
    corpus = ["--corpus", str(text)]
    for options, arguments in (
        (["--minutes", "3", "--set", "model.hidden=8"], {"minutes": 3, "settings": {"model.hidden": 8}}),
        ([], {}),
        (
            ["--config", str(runs["text"].path), "--minutes", "2", "--out", "x"],
            {"config": runs["text"], "minutes": 2, "out": "x"},
        ),
    ):
        with pytest.raises(charlm.RunError, match="not here"):
            _command("train", *corpus, *options)
        with pytest.raises(charlm.RunError, match="not here"):
            charlm.train(corpus=text, **arguments)
        assert begun[-2] == begun[-1]


def _contents(directory: Path) -> dict[str, Any]:
    """Everything that a run's checkpoints and its log hold, but for times and the run's directory."""
    contents: dict[str, Any] = {}
    for name in ("best.npz", "last.npz"):
        with np.load(directory / name, allow_pickle=False) as file:
            arrays = {array: file[array].tobytes() for array in file.files}
        metadata = json.loads(arrays.pop("metadata"))
        del metadata["sha256"], metadata["config"]["run"]["dir"], metadata["progress"]["log_bytes"]
        for means in ("since_log", "since_validation", "total"):
            del metadata["progress"][means]["seconds"]
        contents[name] = arrays, metadata
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    contents["log"] = [{key: value for key, value in line.items() if key not in MEASURED} for line in lines]
    return contents


FIRST = """\
import numpy, warnings, charlm
warnings.simplefilter("always")
numpy.ones((300, 300)) @ numpy.ones((300, 300))
charlm.train("small.yaml", out="function", settings={"model.hidden": 128}, overwrite=True)
"""


def test_training_equals_the_command_though_numpy_came_first(tmp_path: Path) -> None:
    """`charlm.train` where NumPy was imported before ends in the bytes of `charlm train`.

    On a machine where that takes a variable of the environment, the function's warning names it.
    """
    (tmp_path / "text.txt").write_text(TEXT * 2)
    (tmp_path / "small.yaml").write_text(
        "corpus: {path: text.txt, split: [0.8, 0.1, 0.1]}\n"
        "model: {layers: 2, dropout: 0.2}\n"
        "train: {batch: 16, seq_len: 16, epochs: 3}\n"
        "run: {threads: 2, log_every: 1}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "" or "-m" in arguments
        return done.stderr

    told = run("-c", FIRST)
    advice = re.search(r"set (\w+)=(\w+) before NumPy is imported", told)
    assert advice or not told
    run("-m", "charlm", "train", "--config", "small.yaml", "--out", "command", "--set", "model.hidden=128")
    if advice:
        environment[advice[1]] = advice[2]
        assert run("-c", FIRST) == ""
    assert _contents(tmp_path / "function") == _contents(tmp_path / "command")


def test_every_form_of_a_configuration(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, its mapping, a `Config` and a run directory train the same model."""
    config = _config(text)
    file = text.parent / "small.yaml"
    file.write_text(json.dumps({**config, "corpus": {**config["corpus"], "path": "text.txt"}}))
    # as in a YAML file, a list is one, and a path is relative to the file
    flat = {f"{section}.{key}": value for section, keys in config.items() for key, value in keys.items()}
    flat["corpus.split"] = tuple(flat["corpus.split"])
    monkeypatch.chdir(text.parent)
    forms = [str(file), file, config, resolve(flat, name="small"), text.parent / "0"]
    for number, form in enumerate(forms):
        run = charlm.train(form, out=str(number))  # type: ignore[arg-type]
        assert run.path == Path(str(number))
        assert _contents(run.path) == _contents(text.parent / "0")


def test_arguments_override_the_configuration(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`corpus`, `out` and `settings` win; paths are relative to the current directory; the run says so."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "upper.txt").write_text(TEXT.upper())
    monkeypatch.chdir(other)
    run = charlm.train(
        _config(text), corpus="upper.txt", out=Path("here"), settings={"model.cell": "gru", "train.epochs": 1}
    )
    config = run.load().config
    assert (config.model.cell, config.train.epochs) == ("gru", 1.0)
    assert config.corpus.paths == (str(other / "upper.txt"),)
    assert run.load().vocabulary == sorted(set(TEXT.upper()))
    assert (other / "here" / "last.npz").exists()
    assert not (tmp_path / "run").exists()


def test_a_tilde_is_the_home(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every path that a function takes may begin with `~`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    run = charlm.train(_config(text), corpus="~/text.txt", out="~/run", settings={"train.epochs": 1})
    assert (run.path, run.load().config.corpus.path) == (tmp_path / "run", str(text))
    assert charlm.train("~/run", resume=True, settings={"train.epochs": 2}).path == run.path
    assert charlm.train(_config(text), settings={"run.dir": "~/new"}, init="~/run").path == tmp_path / "new"
    assert charlm.Run("~/run").path == run.path
    assert charlm.load("~/run").vocabulary == run.load().vocabulary


def test_a_run_is_named_after_its_text(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name, a mapping's run is `runs/NAME`, with the name of the text."""
    monkeypatch.chdir(text.parent)
    config = _config(text)
    del config["run"]["dir"]
    assert charlm.train(config).path == Path("runs/text")
    (text.parent / "other.txt").write_text(TEXT)
    assert charlm.train(config, corpus="other.txt").path == Path("runs/other")


def test_a_run_directory_belongs_to_its_configuration(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is resumed by its directory goes on there, from wherever that is done."""
    config = _config(text)
    config["run"]["dir"] = "run"
    monkeypatch.chdir(text.parent)
    charlm.train(config, settings={"train.epochs": 1})
    elsewhere = text.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run = charlm.train("../run", resume=True, settings={"train.epochs": 2})
    assert run.metrics[-1]["epoch"] == 2
    assert list(elsewhere.iterdir()) == []


def test_training_prints_nothing_and_tells_everything(text: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """All that the command shows comes as events, in their order, and nothing is printed."""
    told: list[Any] = []
    run = charlm.train(_config(text), on_event=told.append)
    assert capfd.readouterr() == ("", "")
    started, *between, stopped = told
    assert isinstance(started, Started)
    assert (started.path, started.units, started.lines) == (run.path, len(TEXT), None)
    assert started.planned_steps == stopped.step == sum(isinstance(event, Updated) for event in between)
    assert started.vocabulary == len(set(TEXT))
    assert started.parameters == sum(array.size for array in run.load().parameters.values())
    assert isinstance(stopped, Stopped)
    assert stopped.finished
    validated = [event for event in between if isinstance(event, Validated)]
    logged = [event for event in between if isinstance(event, Logged)]
    assert sorted(event.step for event in validated + logged) == [line["step"] for line in run.metrics]
    assert stopped.best == min(event.validation_loss for event in validated)
    assert sum(isinstance(event, Previewed) for event in between) == 3


@pytest.mark.filterwarnings("ignore:the validation split")
def test_warnings_of_training(text: Path) -> None:
    """What the user should know is an event, or without a listener a warning of Python."""
    text.write_text("abcabcabcabc")
    told: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        charlm.train(_config(text), on_event=told.append)
    messages = [event.message for event in told if isinstance(event, Warned)]
    assert any("train.batch from 4 to 1" in message for message in messages)
    with pytest.warns(UserWarning, match="train.batch from 4 to 1"):
        charlm.train(_config(text), overwrite=True)


def test_resuming_and_overwriting(text: Path) -> None:
    """A run is continued or begun anew only when that is asked for, and continued exactly."""
    config = _config(text)
    charlm.train(config, out=text.parent / "whole")
    # a listener that raises is a run that is interrupted: the last checkpoint is that of an epoch
    with pytest.raises(ZeroDivisionError):
        charlm.train(config, on_event=lambda event: 1 / (20 - getattr(event, "step", 0)))
    with pytest.raises(charlm.RunError, match="already holds a run"):
        charlm.train(config)
    with pytest.raises(charlm.ConfigError, match="exclude each other"):
        charlm.train(config, resume=True, overwrite=True)
    with pytest.raises(charlm.RunError, match="to resume from"):
        charlm.train(corpus=text, resume=True, out=text.parent / "none")
    run = charlm.train(config, resume=True)
    assert _contents(run.path) == _contents(text.parent / "whole")
    assert charlm.train(corpus=text, out=run.path, resume=True) == run
    assert _contents(run.path) == _contents(text.parent / "whole")
    again = charlm.train(config, overwrite=True, settings={"train.epochs": 1})
    assert again.metrics[-1]["epoch"] == 1
    assert charlm.train(config, overwrite=True, max_steps=2).load().info()["step"] == 2
    with pytest.raises(charlm.RunError, match=r"last\.npz"):
        charlm.train(config, resume=True, out=text.parent / "nothing")
    assert not (text.parent / "nothing").exists()


def test_a_run_is_locked_while_it_trains(text: Path) -> None:
    """Nobody else trains in the directory meanwhile; afterwards it is free, also after an error."""
    config = _config(text)
    refused: list[charlm.RunError] = []

    def intrude(event: object) -> None:
        if isinstance(event, Updated) and not refused:
            with pytest.raises(charlm.RunError, match="another charlm train") as caught:
                charlm.train(config, overwrite=True)
            refused.append(caught.value)
        if isinstance(event, Validated):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        charlm.train(config, on_event=intrude)
    assert refused
    charlm.train(config, overwrite=True)


def test_a_run_that_ends_in_an_error_leaves_no_workers(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the training, the trainer has been closed."""
    closed: list[Trainer] = []
    monkeypatch.setattr(
        Trainer, "__exit__", lambda self, *why, end=Trainer.__exit__: closed.append(self) or end(self, *why)
    )
    with pytest.raises(charlm.DivergenceError, match="not a finite number"):
        charlm.train(
            _config(text),
            settings={"train.lr": 1e38, "train.optimizer": "sgd", "train.clip_norm": 0, "train.epochs": 50},
        )
    assert closed


def test_a_run_can_be_opened(runs: dict[str, charlm.Run]) -> None:
    """`charlm.Run` opens a run that exists: its log line by line, and its best model."""
    run = charlm.Run(str(runs["text"].path))
    assert run.path == runs["text"].path
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert run.metrics == [json.loads(line) for line in lines]
    assert set(run.metrics[0]) >= {"step", "epoch", "train_loss", "validation_loss", "lr", "chars_per_s"}
    with np.load(run.path / "best.npz") as best:
        np.testing.assert_array_equal(run.load().parameters["output.b"], best["parameters/output.b"])
    with np.load(run.path / "last.npz") as last:
        loaded = charlm.load(run.path / "last.npz")
        np.testing.assert_array_equal(loaded.parameters["output.b"], last["parameters/output.b"])


def test_the_log_of_a_run_that_goes_on_can_be_read(runs: dict[str, charlm.Run]) -> None:
    """A line that is being written is left out."""
    log = runs["lines"].path / "metrics.jsonl"
    whole = log.read_text()
    before = runs["lines"].metrics
    log.write_text(whole + '{"step": 12, "ep')
    assert runs["lines"].metrics == before
    log.write_text(whole)
