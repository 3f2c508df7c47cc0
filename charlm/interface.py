"""The Python interface: what the commands do, as functions that return values.

Import it as `charlm`. Each command has its function:

==========================  ================================================================
`charlm train`              `train(config, corpus, out, settings, minutes=…, init=…)`, a `Run`
`charlm init`               `recipe(corpus, minutes)`, a `Config`; `.to_commented_yaml()`
`charlm sample`             `model.sample(prime, length)`, `model.stream(prime, length)`
`charlm sample --novelty`   `model.novelty(texts)`
`charlm eval perplexity`    `model.perplexity(corpus, split, window, dynamic)`
`charlm score`              `model.surprisal(text, by)`, `model.scores(texts)`
`charlm eval gradients`     `check_gradients(config, settings)`
`charlm eval gradient-flow` `model.gradient_flow(steps, corpus)`, `untrained(config)`
`charlm export`             `model.export(path)`
`charlm import`             `import_weights(path, out, vocabulary)`, a `Run`
`charlm plot`               `plot(runs, path, x)`
`charlm report`             `model.report(path, text, length)`
`charlm lesson`             `lesson(runs, path, text, language)`
`charlm bench`              `bench(config, settings, vocab, threads, seconds)`
`charlm info`               `model.info()`, `Run(path).metrics`
==========================  ================================================================

`model` is `load(path)` or `Run(path).load()`. A model also has `score`, `losses`, `predict` and
`trace` for texts in memory.

Nothing is printed. Errors are `charlm.CharlmError`s: a wrong type or value of an argument is a
`ConfigError`. Remarks are `UserWarning`s, or events of training. A path is a text, a `pathlib.Path`,
or a `Run`. Models and results can be pickled and copied, and several threads can use one model.

OpenBLAS has one thread during a call, and afterwards as many as before; the same holds for the
interpreter's switch interval.
"""

from __future__ import annotations

import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from charlm.arguments import AnyPath, at_least, typed
from charlm.arrays import Array, Ids
from charlm.config import reading
from charlm.config.build import build_corpus, build_ids, build_model, build_text, fresh_parameters
from charlm.config.keys import Config
from charlm.config.reading import checked
from charlm.data.corpus import Progress, nothing
from charlm.data.texts import Text
from charlm.export import write as write_model
from charlm.inference import evaluate, novelty
from charlm.inference.evaluate import Evaluation
from charlm.inference.generate import Sampling, TextSampler, streams_of
from charlm.inference.gradient_flow import MOST_STEPS, STEPS, GradientFlow, gradient_flow
from charlm.inference.novelty import Novelty
from charlm.inference.reading import ReadText, held_out, read_text
from charlm.inference.score import SHOWN, Score, score, scores, unit_losses
from charlm.inference.surprisal import Surprises, surprises
from charlm.inference.trace import Trace, trace
from charlm.lessons import hello
from charlm.lessons import page as lessons
from charlm.nn.gradcheck import Check
from charlm.report import curves, history, page
from charlm.runs import checkpoint, importing
from charlm.runs.checkpoint import NOT_TRAINED, Checkpoint
from charlm.runs.directory import RunDirectory, find_checkpoint, find_run
from charlm.runs.log import read_objects
from charlm.system import blas
from charlm.system.errors import ConfigError, RunError
from charlm.system.files import expanded
from charlm.system.team import Team
from charlm.training import benchmark, checking, session
from charlm.training.benchmark import Speed
from charlm.training.events import Event, Listener, Warned
from charlm.training.memory import check_memory, needed
from charlm.training.request import MINUTES, ask
from charlm.web import assembly
from charlm.web.text import legend, shaded

Configuration = AnyPath | Config | Mapping[str, Mapping[str, Any]]
"""A configuration file, a run directory, a `Config`, or sections of keys as in the file."""


class LanguageModel:
    """A trained model: it writes text, and says how well it predicts one.

    Attributes
    ----------
    config
        The configuration that it was trained with.
    vocabulary
        Its units in the order of their ids: characters, jamo, or names of bytes; `<unk>`, if there is
        one, is the last.
    parameters
        Its arrays by name, read-only.
    """

    __module__ = "charlm"  # a copy in another process is made from there: BLAS is set up before NumPy

    def __init__(self, loaded: Checkpoint, team: Team, path: Path | None = None) -> None:
        """`team` scores long texts; `path` is the checkpoint file."""
        loaded = replace(loaded, training={})  # what only a run that is resumed needs
        self.config = loaded.config
        self.vocabulary: list[str] = loaded.vocabulary.names()
        self.parameters: Mapping[str, Array] = MappingProxyType(
            {name: _read_only(array) for name, array in loaded.parameters.items()}
        )
        self._loaded, self._model, self._team, self._path = loaded, loaded.model, team, path
        self._read: ReadText | None = None  # its own text, if `untrained` has read that
        self._sampler = TextSampler.of(
            loaded.config.corpus, self._model, loaded.parameters, loaded.vocabulary
        )

    def __repr__(self) -> str:
        """The network, its sizes, and where it comes from, in a line."""
        model, unit = self.config.model, self.config.corpus.unit
        source = "untrained" if self._path is None else f"from {self._path}"
        return (
            f"<LanguageModel: {model.layers} x {model.hidden} {model.cell}, "
            f"{self._loaded.parameters.flat.size:,} parameters, "
            f"vocabulary of {len(self.vocabulary):,} {unit}s, {source}>"
        )

    def __reduce__(self) -> tuple[type[LanguageModel], tuple[Checkpoint, Team, Path | None]]:
        """A copy, also in another process, has the same parameters."""
        return LanguageModel, (self._loaded, self._team, self._path)

    @typed
    def sample(
        self,
        prime: str = "",
        length: int = 500,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        greedy: bool = False,
        stop: str = "",
        seed: int | None = None,
        *,
        stop_after_lines: int = 0,
    ) -> str:
        """Generate text after `prime`, which is not included.

        Parameters
        ----------
        prime
            Text to continue; for a model of lines, the beginning of a line.
        length
            Units to generate at most; a line ends at its line break, which is not included.
        temperature
            The logits are divided by it: below 1 is safer, above 1 wilder.
        top_k
            Draw from the k likeliest units only; 0 draws from all.
        top_p
            Draw from the fewest units whose probabilities sum to p, after `temperature` and `top_k`
            have been applied; 1 draws from all (Holtzman et al. 2020).
        greedy
            Take the likeliest unit every time. `temperature`, `top_k` and `top_p` have no effect then.
        stop
            The text ends once it has generated this; an empty text never stops it.
        seed
            The same seed gives the text of `charlm sample --seed`; None a different one each time.
        stop_after_lines
            The text ends once it has generated this many line breaks; 0 never stops it.

        Raises
        ------
        ConfigError
            If an argument has a wrong type or is out of its range, or `prime` or `stop` cannot be
            used.
        VocabularyError
            If `prime` holds what the model does not know, and it has no `<unk>`.
        """
        pieces = self.stream(
            prime, length, temperature, top_k, top_p, greedy, stop, seed, stop_after_lines=stop_after_lines
        )
        return "".join(pieces)

    @typed
    def stream(
        self,
        prime: str = "",
        length: int = 500,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        greedy: bool = False,
        stop: str = "",
        seed: int | None = None,
        *,
        stop_after_lines: int = 0,
    ) -> Iterator[str]:
        """The text of `sample`, one character at a time, each as soon as it is certain.

        `sample` explains the arguments and errors; the call itself raises errors.
        """
        at_least(0, length=length, stop_after_lines=stop_after_lines)
        if stop_after_lines and self._sampler.writes_lines:
            raise ConfigError("stop_after_lines: a model of lines writes one line")
        sampling = Sampling(temperature, top_k, top_p, greedy)
        codes = self._prime(prime)
        rng = next(streams_of(seed, 1))
        drawn = self._sampler.draw(codes, length, sampling, rng, stop, stop_after_lines)
        return (character for text in blas.each(self._sampler.written(drawn, codes)) for character in text)

    @typed
    def score(self, text: str, window: int | None = None) -> Score:
        """How well the model predicts `text`: every unit but the first, the state carried through.

        With `window`, in windows of that many units, each from a zero state. A model of lines
        predicts every line, each from a zero state. A notebook shows the text, if it is not too
        long, with each character shaded by its loss.

        Raises `CorpusError` if there is nothing to predict, `ConfigError` for windows of lines,
        `VocabularyError` if the text holds what the model does not know.
        """
        at_least(1, window=window)
        if window is not None and self._sampler.writes_lines:
            raise ConfigError("`window` is for texts: a model of lines begins each line from a zero state")
        read, params, vocabulary = self._text(text), self._loaded.parameters, self._loaded.vocabulary
        team = self._team.of(parts=self.config.train.shards)
        result = score(self._model, params, read, window, team)
        if read.targets > SHOWN:
            return result

        @blas.borrowed()
        def html() -> str:
            bits = unit_losses(self._model, params, read, window, team) / math.log(2)
            if read.lines is None:  # the first unit is not predicted; of lines it is an added line break
                return shaded(vocabulary, read.ids, np.concatenate([[np.nan], bits])) + legend()
            return shaded(vocabulary, read.ids[1:], bits) + legend()

        return replace(result, shaded=html)

    @typed
    def losses(self, text: str) -> Array:
        """The loss in nats of every predicted unit, `[N-1]` of a text of N units.

        Of a model of lines one for each unit of each line, its line break included. Raises what
        `score` does.
        """
        team = self._team.of(parts=self.config.train.shards)
        return unit_losses(self._model, self._loaded.parameters, self._text(text), team=team)

    @typed
    def scores(self, texts: Sequence[str]) -> list[Score]:
        """The `score` of each of several texts, from a zero state each; many are scored at a time.

        Raises what `score` does.
        """
        read, team = [self._text(text) for text in texts], self._team.of(parts=self.config.train.shards)
        return scores(self._model, self._loaded.parameters, read, team)

    @typed
    def surprisal(
        self,
        text: str,
        by: Literal["unit", "word", "line"] = "word",
        reset: Literal["none", "line"] | None = None,
        unknown: Literal["error", "count"] = "error",
    ) -> Surprises:
        """How surprising each character, word or line of `text` is: the rows of `charlm score`.

        Parameters
        ----------
        by
            What a row is for. A unit is a character as a reader sees it, such as an emoji or a letter
            with its accent. A word is a run without white space.
        reset
            Where the state begins from zero: once, or with each line, which is then read from a line
            break. None is as the model was trained.
        unknown
            Whether a character that the model lacks is an error, or is left out.

        Each row has `start`, `stop` and `text`, `bits` (None for the first character, which is not
        predicted), `bits_after` of the white space behind a word, `rank` (1 for the likeliest unit),
        `line` and `column`. A notebook shows a table.

        Raises `ConfigError` if an argument has a wrong type or value, and `VocabularyError` if the text
        holds what the model does not know.
        """
        return surprises(self._loaded, text, by, reset, unknown == "count", self._team)

    @typed
    def trace(self, text: str) -> Trace:
        """Everything that the network computes while it reads `text`: gates, states, logits.

        Row n of every array holds the values after unit n has been read, which predict unit n+1; see
        `Trace`. For a model of lines, the units are a line break, then every line that is not empty
        with its line break. Each line begins from a zero state with the line break before it.
        `trace(text).losses` are `losses(text)`.

        Raises `ConfigError` if there is nothing to read, or the trace does not fit this machine, and
        `VocabularyError` if the text holds what the model does not know.
        """
        ids = build_ids(self.config.corpus, self._loaded.vocabulary, text)
        begins = np.arange(len(ids)) == 0
        if self._sampler.writes_lines:
            begins = ids == self._loaded.vocabulary.line_break
        return trace(self._model, self._loaded.parameters, ids, begins, self.vocabulary)

    @typed
    def predict(self, prime: str = "", top: int = 5) -> list[tuple[str, float]]:
        """The `top` likeliest units after `prime` with their probabilities, likeliest first.

        Units are named as in `vocabulary`. `<unk>` is among them, though it is never generated: the
        probabilities of all units sum to 1. Raises what `sample` does.
        """
        at_least(1, top=top)
        context = self._sampler.context(self._prime(prime))
        V = len(self.vocabulary)
        probabilities: Array = np.full(V, 1 / V)
        if len(context):
            params = self._loaded.parameters
            step = self._model.decoder(params, self._model.zero_state(1, params.flat.dtype))
            for unit in context:
                logits = step(int(unit))
            exponentials = np.exp(logits.astype(np.float64) - logits.max())
            probabilities = exponentials / exponentials.sum()
        order = np.argsort(-probabilities, kind="stable")[:top]
        return [(self.vocabulary[unit], float(probabilities[unit])) for unit in order.tolist()]

    @typed
    def perplexity(
        self,
        corpus: AnyPath | None = None,
        split: Literal["train", "validation", "test"] | None = None,
        window: int | None = None,
        dynamic: bool = False,
        *,
        encoding: str | None = None,
        progress: Progress = nothing,
    ) -> Evaluation:
        """Score the run's own corpus, a part of it, or another text, as `charlm eval perplexity` does.

        Parameters
        ----------
        corpus
            Another text: a file, a directory or a pattern. None is the text that the model was
            trained on, which must not have changed.
        split
            The part to score. None is the whole of another text; of the model's own it is the test
            split if there is one, else the validation split, else the training split.
        window
            Score windows of this many characters, each from a zero state. None carries the state
            through.
        dynamic
            Also score a copy of the model that learns from what it has read (Krause et al. 2018).
        encoding
            The encoding of `corpus`, if it is not that of the training text.
        progress
            Called with the current activity and the bytes, or units, just processed; before, with
            `total` and their number.

        Raises
        ------
        CorpusError
            If a text cannot be read, has changed, or holds nothing to predict.
        ConfigError
            If an argument has a wrong type or value, or `window` is given with a model of lines or
            with `dynamic`.
        VocabularyError
            If the text holds what the model does not know, and it has no `<unk>`.
        """
        at_least(1, window=window)
        other = reading.another(self.config.corpus, corpus, encoding)
        result = evaluate.evaluate(self._loaded, other, split, window, progress, dynamic, self._team)
        _warn(*result.warnings)
        return result

    @typed
    def gradient_flow(
        self,
        steps: int = STEPS,
        corpus: AnyPath | None = None,
        *,
        encoding: str | None = None,
        progress: Progress = nothing,
    ) -> GradientFlow:
        """How much of the gradient of a loss reaches `steps` steps back, as `charlm eval gradient-flow` says.

        It is averaged over places of the validation split, or of the text of `corpus`; see
        `GradientFlow`. `encoding` and `progress` are used as in `perplexity`.

        Raises `CorpusError` if the text cannot be read, has changed, or its loss has no gradient,
        `ConfigError` if an argument has a wrong type or value, and `DivergenceError` if a gradient
        is not finite.
        """
        if not 1 <= steps <= MOST_STEPS:
            raise ConfigError(f"steps: {steps} is not from 1 to {MOST_STEPS:,}")
        read = self._held_out("corpus", corpus, encoding, progress)
        flow = gradient_flow(self._model, self._loaded.parameters, read.text, steps, team=self._team)
        return replace(flow, split=read.split, paths=read.paths)

    @typed
    def novelty(self, texts: str | Sequence[str], progress: Progress = nothing) -> Novelty:
        """How much of what was generated occurs in the training text, as `charlm sample --novelty` says.

        `texts` are one or several samples without their primes, of which every stretch of 20
        characters is looked for. Of a model of lines they are whole lines.
        `progress` is called as in `perplexity`.

        Raises `CorpusError` if the training text cannot be read again or has changed, or if the
        samples are too short.
        """
        samples = [texts] if isinstance(texts, str) else texts
        if self._sampler.writes_lines:
            samples = [f"{line}\n" for line in samples]
        return novelty.compare(self._loaded, samples, progress)

    @typed
    def export(self, path: AnyPath, float32: bool = False) -> list[str]:
        """Write the model to the file `path`, in the format of its suffix, as `charlm export` does.

        `.safetensors` are the weights in PyTorch's layout, `.onnx` is the network, `.html` is a
        page that generates in a browser, with every bit of the weights if `float32`. Returns what
        to do with the file, as lines of text or of Python.

        Raises `ConfigError` for another suffix, or a network that the format cannot hold,
        `ExtraError` if a package is missing, and `CharlmError` if the file cannot be written.
        """
        return write_model(Path(path), self._loaded, float32)

    @typed
    def report(
        self,
        path: AnyPath | None = None,
        text: AnyPath | None = None,
        length: int = page.LENGTH,
        encoding: str | None = None,
        progress: Progress = nothing,
    ) -> Path:
        """Write a web page of pictures of the model, as `charlm report` does, and return its path.

        Parameters
        ----------
        path
            The page, an `.html` file; None is `report.html` beside the checkpoint.
        text
            The text to look at, a file; None is the validation split of the model's own text.
        length
            Characters of it that are shown.
        encoding
            The encoding of `text`; None is the training text's.
        progress
            As in `perplexity`.

        Raises `CorpusError` if the text cannot be read or holds nothing to predict, and
        `CharlmError` if the page cannot be written.
        """
        run = None if self._path is None else self._path.parent
        if path is None:
            if run is None:
                raise ConfigError("path: name the page: the model comes from no file")
            path = run / "report.html"
        out = Path(path)
        if out.suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"{out}: the suffix must be .html")
        if not 2 <= length <= page.LONGEST:
            raise ConfigError(f"length: {length} is not from 2 to {page.LONGEST:,}")
        read = self._held_out("text", text, encoding, progress)
        learned = ", which it has learned" if read.split == "train" and self._path else ""
        split = f"{'training' if read.split == 'train' else read.split} split{learned}"
        source = f"the {split}" if read.split else "the text" if text in (None, "-") else str(text)
        html, remarks = page.report(self._loaded, run, read.text, source, length, self._team, progress)
        assembly.write(out, html)
        _warn(*remarks)
        return out

    def info(self) -> dict[str, Any]:
        """Contents of the checkpoint, by the keys of `charlm info --json`."""
        loaded, progress, units = self._loaded, self._loaded.progress, self._loaded.vocabulary.units
        return {
            "checkpoint": None if self._path is None else str(self._path),
            "format": loaded.format,
            "config": loaded.config.nested(),
            "vocabulary": {
                "unit": units.unit,
                "normalize": units.normalize,
                "has_unknown": loaded.vocabulary.has_unknown,
                "size": len(loaded.vocabulary),
                "codes": [int(code) for code in loaded.vocabulary.codes],
            },
            "parameters": loaded.parameters.flat.size,
            "shapes": {name: list(view.shape) for name, view in loaded.parameters.items()},
            "corpus": loaded.corpus,
            "step": progress["step"],
            "epoch": progress["epoch"],
            **dict.fromkeys(
                ("validation_loss", "best_validation_loss", "training_loss", "best_training_loss")
            ),
            f"{progress['best_of']}_loss": progress["validation"],
            f"best_{progress['best_of']}_loss": progress["best"],
            "best_step": progress["best_step"],
        }

    def _prime(self, prime: str) -> Ids:
        """The codes of a prime, with a warning if it holds what is unknown to the model."""
        codes = self._sampler.codes(prime)
        unknown = self._sampler.unknown_in(codes)
        if unknown:
            _warn(f"the prime holds what is unknown to the model, read as <unk>: {unknown}")
        return codes

    def _held_out(
        self, argument: str, path: AnyPath | None, encoding: str | None, progress: Progress
    ) -> ReadText:
        """The text to look at: the file that the `argument` names, or a split of the model's own text."""
        other = reading.another(self.config.corpus, path, encoding)
        if other is None and self._read is not None:
            return self._read
        read = read_text(self._loaded, other, progress=progress, argument=argument)
        _warn(*read.corpus.warnings)
        return read

    def _text(self, text: str) -> Text:
        return build_text(self.config.corpus, self._loaded.vocabulary, text)


@dataclass(frozen=True, repr=False)
class Run:
    """A run directory. It is also a path, for every function that takes one."""

    path: Path

    @typed
    def __init__(self, path: AnyPath) -> None:
        """Open a run that exists; raises `RunError` if there is none."""
        object.__setattr__(self, "path", expanded(Path(path)))
        if not RunDirectory(self.path).holds_run():
            raise RunError(f"{self.path} holds no run")

    def __repr__(self) -> str:
        """As the run is opened."""
        return f"Run({str(self.path)!r})"

    def __fspath__(self) -> str:
        """The directory."""
        return str(self.path)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The log as it is now: one object for each line, with losses in nats per character."""
        return [line for line, _ in read_objects(RunDirectory(self.path).metrics)]

    def load(self) -> LanguageModel:
        """The best model of the run so far."""
        return load(self.path)


@typed
def load(path: AnyPath) -> LanguageModel:
    """The model at `path`: in a checkpoint file, or the best one of a run directory.

    Raises `CheckpointError` if there is none, or it is damaged.
    """
    warning = blas.warning()
    if warning:
        _warn(warning)
    file = find_checkpoint(Path(path))
    return LanguageModel(checkpoint.load(file), Team(blas.workers()), file)


@typed
def train(
    config: Configuration | None = None,
    corpus: AnyPath | None = None,
    out: AnyPath | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_event: Listener | None = None,
    *,
    init: AnyPath | None = None,
    extend_vocabulary: bool = False,
    minutes: float | None = None,
    max_steps: int | None = None,
) -> Run:
    """Train a model, as `charlm train` does.

    Parameters
    ----------
    config
        A configuration file, a run directory, a `Config`, or sections of keys as in the file.
        None chooses everything for the text, the minutes and this machine.
    corpus, out
        Instead of `corpus.path` and `run.dir`.
    settings
        Values of dotted keys, such as `{"model.hidden": 256}`.
    resume, overwrite
        Continue the run in its directory, or start a new one in a directory that holds one.
    on_event
        Is called with everything that happens (`charlm.training.events`). Without it, what the
        user should know is a `UserWarning`.
    init, extend_vocabulary
        A run directory or checkpoint whose weights the run begins with, and whether characters
        that its vocabulary lacks get fresh weights instead of being an error.
    minutes
        How long the call may take. With a configuration, `train.epochs` is fitted to it; without
        one the default is 5.
    max_steps
        Stop after this update of the run, which can then be resumed.

    Raises
    ------
    CharlmError
        What the command reports as an error.
    """
    begun = time.perf_counter()
    given = _given(settings, corpus)
    if out is not None:
        given["run.dir"] = str(out)
    request = ask(
        _source(config),
        given,
        "settings",
        begun,
        minutes,
        resume,
        overwrite=overwrite,
        init=None if init is None else Path(init),
        extend_vocabulary=extend_vocabulary,
        max_steps=max_steps,
    )
    return Run(session.train(request, on_event or _warn_of).path)


@typed
def untrained(
    config: Configuration,
    corpus: AnyPath | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    encoding: str | None = None,
    progress: Progress = nothing,
) -> LanguageModel:
    """The model of a configuration as its training begins, to compare with the trained one.

    `untrained("configs/tales.yaml").gradient_flow()` is `charlm eval gradient-flow --config`.
    `corpus` is read instead of `corpus.path`, and `settings` are values of dotted keys. `encoding` and
    `progress` are used as in `LanguageModel.perplexity`.

    Raises `ConfigError` if the configuration is invalid or names no text, and `CorpusError` if
    the text cannot be read.
    """
    complete = _configuration(config, _given(settings))
    settled = reading.another(complete.corpus, corpus, encoding) or complete.corpus
    if not settled.path:
        raise ConfigError("no text to read: set corpus.path in the configuration, or name one with `corpus`")
    complete = replace(complete, corpus=settled)
    text, _ = build_corpus(settled, progress=progress)
    _warn(*text.warnings)
    model = build_model(complete.model, len(text.vocabulary), complete.run.kernel)
    check_memory(needed(model, complete.train, B=1, T=1), complete)
    parameters = fresh_parameters(model, complete.model, complete.train.seed)
    about = {"digest": text.digest, "characters": len(text.ids), "train": 0}
    beginning = Checkpoint(complete, text.vocabulary, parameters, about, NOT_TRAINED)
    untrained_model = LanguageModel(beginning, Team(blas.workers()))
    untrained_model._read = held_out(text, settled)
    return untrained_model


@typed
def recipe(
    corpus: AnyPath,
    minutes: float = MINUTES,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = nothing,
) -> Config:
    """The configuration that `train` would choose for the text `corpus`, `minutes` and this machine.

    `print(recipe("my.txt").to_commented_yaml())` prints what `charlm init` does. `settings` are
    values of dotted keys that are not to be chosen. The speed of the machine is measured for some
    seconds. `progress` is called as in `LanguageModel.perplexity`.

    Raises `CorpusError` if the text cannot be read, and `ConfigError` if an argument has a wrong
    type or value, or if not even one update fits into the time.
    """
    given = _given(settings, corpus)
    config, messages = session.planned(ask(None, given, "settings", time.perf_counter(), minutes), progress)
    _warn(*messages)
    return config


@typed
def import_weights(path: AnyPath, out: AnyPath, vocabulary: AnyPath | None = None) -> Run:
    """Make a run in the directory `out` of the weights at `path`, as `charlm import` does.

    The file is a `.safetensors` file from `LanguageModel.export`, or the `state_dict` of a PyTorch
    model. For the second, `vocabulary` is a JSON file with a list of the characters in the order of
    their ids.

    Raises `CheckpointError` if the file is missing, damaged or cannot be converted, `ConfigError`
    if the vocabulary is missing, superfluous or wrong, and `RunError` if the directory cannot be
    used.
    """
    loaded = importing.load(Path(path), None if vocabulary is None else Path(vocabulary))
    importing.save(loaded, RunDirectory(Path(out)))
    return Run(out)


@typed
def plot(
    runs: AnyPath | Sequence[AnyPath],
    path: AnyPath,
    x: Literal["updates", "epochs", "minutes"] = "updates",
) -> Path:
    """Draw the curves of one or several runs as PNG, SVG or PDF, by the suffix, as `charlm plot` does.

    `x` is the horizontal axis; minutes of training alone. Returns the path of the picture.

    Raises `ConfigError` for another suffix, `ExtraError` if matplotlib is missing, and `RunError`
    if a log cannot be read or the file cannot be written.
    """
    out = Path(path)
    if out.suffix.lower() not in curves.SUFFIXES:
        raise ConfigError(f"{out}: the suffix must be one of {', '.join(curves.SUFFIXES)}")
    paths = [runs] if isinstance(runs, (str, os.PathLike)) else runs
    if not paths:
        raise ConfigError("runs: name a run")
    _warn(*curves.write(out, [history.read(find_run(Path(run))) for run in paths], x))
    return out


@typed
def lesson(
    runs: AnyPath | LanguageModel | Sequence[AnyPath | LanguageModel] = (),
    path: AnyPath = "lesson.html",
    text: str | None = None,
    language: lessons.Language = "en",
    progress: Progress = nothing,
) -> Path:
    """Write a web page that steps through networks, forward and backward, as `charlm lesson` does.

    Parameters
    ----------
    runs
        Runs, checkpoints or models; none trains small networks of every cell on `hello`.
    path
        The page, an `.html` file.
    text
        The text that they read; None is the beginning of the held-out text of the first.
    language
        The language of the page, which can be switched in it.
    progress
        As in `LanguageModel.perplexity`.

    Returns the path of the page. Raises `ConfigError` if a network is too large for a page or its
    cell is not one of charlm's, `VocabularyError` if the text holds what a network does not know, and
    `CharlmError` if the page cannot be written.
    """
    out = Path(path)
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{out}: the suffix must be .html")
    named = [runs] if isinstance(runs, (str, os.PathLike, LanguageModel)) else runs
    models = [one if isinstance(one, LanguageModel) else load(one) for one in named]
    if not models and text is None:
        text = hello.TEXT
    networks = [model._loaded for model in models] or hello.networks()
    assembly.write(out, lessons.lesson(networks, text, language, progress))
    return out


@typed
def check_gradients(
    config: Configuration | None = None, settings: Mapping[str, Any] | None = None
) -> list[tuple[str, list[Check]]]:
    """Compare the hand-written gradients with central differences, as `charlm eval gradients` does.

    With a `config` its network is checked at its own sizes, through the code that training runs;
    without one, small networks of every cell, depth and kind of dropout. `settings` are values of
    dotted keys. Returns the name of each network and its checks: one for each parameter, with its
    `worst` relative error and whether it is `right`.

    Raises `ConfigError` if the configuration is invalid, and `CorpusError` if its text cannot be
    read.
    """
    given = _given(settings)
    complete = None if config is None else _configuration(config, given)
    return list(checking.check(complete, given, Team(blas.workers())))


@typed
def bench(
    config: Configuration | None = None,
    settings: Mapping[str, Any] | None = None,
    vocab: int | None = None,
    threads: int | None = None,
    seconds: float = 3.0,
) -> Speed:
    """The speed of a configuration on this machine, on made-up text, as `charlm bench` measures it.

    Parameters
    ----------
    config, settings
        The configuration and values of dotted keys; without them the default of every key.
    vocab
        Units of the made-up vocabulary; None takes as many as the configured text has, or 65.
    threads
        None takes `run.threads`.
    seconds
        How long each part is timed.

    Raises
    ------
    ConfigError
        If an argument has a wrong type or value, or the network does not fit into memory.
    CorpusError
        If the configured text cannot be read.
    """
    for name, number, most in (
        ("vocab", vocab, 1_114_112),
        ("threads", threads, 1024),
        ("seconds", seconds, 3600),
    ):
        if number is not None and not 0 < number <= most:
            raise ConfigError(f"{name}: {number} is not above 0 and at most {most:,}")
    complete = _configuration(config, _given(settings))
    team = Team(blas.workers(threads or complete.run.threads))
    _, units = checking.text_size(complete) or (0, checking.USUAL_VOCAB)
    return benchmark.measure(complete, vocab or units, seconds, team)


def _given(settings: Mapping[str, Any] | None, corpus: AnyPath | None = None) -> dict[str, Any]:
    """The checked values of dotted keys, with `corpus` as `corpus.path`."""
    values = _plain(settings or {})
    given = {str(key): checked(str(key), value, "settings") for key, value in values.items()}
    if corpus is not None:
        given["corpus.path"] = str(corpus)
    return given


def _configuration(config: Configuration | None, given: Mapping[str, Any]) -> Config:
    """The whole configuration, with the values of `given` in its place."""
    return reading.configuration(_source(config), given, "settings")


def _source(config: Configuration | None) -> reading.Source:
    if config is None or isinstance(config, Config):
        return config
    return _plain(config) if isinstance(config, Mapping) else Path(config)


def _plain(value: Any) -> Any:
    """A value of a key as YAML has it: NumPy's numbers and paths become Python's numbers and texts."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if isinstance(value, np.generic) else value


def _warn_of(event: Event) -> None:
    if isinstance(event, Warned):
        _warn(event.message)


def _warn(*messages: str) -> None:
    """Warn of something at the line that called the package."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and Path(frame.f_code.co_filename).is_relative_to(_PACKAGE):
        frame, level = frame.f_back, level + 1
    for message in messages:
        warnings.warn(message, stacklevel=level)


_PACKAGE = Path(__file__).parent


def _read_only(array: Array) -> Array:
    view: Array = array.view()
    view.flags.writeable = False
    return view
