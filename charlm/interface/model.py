"""Trained models, and untrained ones to compare with."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from charlm.arrays import Array, Ids
from charlm.config import reading
from charlm.config.build import build_corpus, build_ids, build_model, build_text, fresh_parameters
from charlm.config.limits import LENGTH, LONGEST, MOST_STEPS, PAGES, STEPS
from charlm.data.corpus import Progress, nothing
from charlm.data.texts import Text
from charlm.export import write as write_model
from charlm.inference import evaluate, novelty
from charlm.inference.evaluate import Evaluation
from charlm.inference.generate import Sampling, TextSampler, streams_of
from charlm.inference.gradient_flow import GradientFlow, gradient_flow
from charlm.inference.novelty import Novelty
from charlm.inference.reading import ReadText, held_out, read_text
from charlm.inference.score import SHOWN, Score, score, scores, unit_losses
from charlm.inference.trace import Trace, trace
from charlm.interface.arguments import AnyPath, Configuration, complete, typed, warn, with_suffix, within
from charlm.interface.surprises import Surprises, surprises
from charlm.nn.loss import softmax
from charlm.report import page
from charlm.runs import checkpoint
from charlm.runs.checkpoint import NOT_TRAINED, Checkpoint
from charlm.runs.directory import find_checkpoint
from charlm.runs.ensemble import together
from charlm.system import blas
from charlm.system.errors import ConfigError
from charlm.system.team import Team
from charlm.training.memory import check_memory, needed
from charlm.web import assembly
from charlm.web.text import legend, shaded


class LanguageModel:
    """A trained model: it writes text, and says how well it predicts one.

    Attributes
    ----------
    paths
        The checkpoint files: one, or those of several models that predict together.
    config
        The configuration that it was trained with; of several models the first one's.
    vocabulary
        Its units in the order of their ids: characters, jamo, or names of bytes; `<unk>`, if there is
        one, is the last.
    parameters
        Its arrays by name, read-only.
    sampler
        What writes its text, unit by unit (`charlm.inference.generate`).
    """

    __module__ = "charlm"  # a copy in another process is made from there: BLAS is set up before NumPy

    def __init__(self, loaded: Checkpoint, team: Team, paths: Sequence[Path] = ()) -> None:
        """`team` scores long texts."""
        loaded = replace(loaded, training={})  # what only a run that is resumed needs
        self.config = loaded.config
        self.vocabulary: list[str] = loaded.vocabulary.names()
        self.parameters: Mapping[str, Array] = MappingProxyType(
            {name: _read_only(array) for name, array in loaded.parameters.items()}
        )
        self._loaded, self.paths, self._team = loaded, tuple(paths), team
        self._read: ReadText | None = None  # its own text, if `untrained` has read that
        self.sampler = TextSampler.of(
            loaded.config.corpus, loaded.network, loaded.parameters, loaded.vocabulary
        )

    def __repr__(self) -> str:
        """The network, its sizes, and where it comes from, in a line."""
        shapes = [member.config.model for member in self._loaded.members]
        networks = " and ".join(f"{shape.layers} x {shape.hidden} {shape.cell}" for shape in shapes)
        unit = self.config.corpus.unit
        source = f"from {' and '.join(map(str, self.paths))}" if self.paths else "untrained"
        return (
            f"<LanguageModel: {networks}, "
            f"{self._loaded.parameters.flat.size:,} parameters, "
            f"vocabulary of {len(self.vocabulary):,} {unit}s, {source}>"
        )

    def __reduce__(self) -> tuple[type[LanguageModel], tuple[Checkpoint, Team, Sequence[Path]]]:
        """A copy, also in another process, has the same parameters."""
        return LanguageModel, (self._loaded, self._team, self.paths)

    @property
    def path(self) -> Path:
        """The checkpoint file; raises `ConfigError` if there is none, or several."""
        if len(self.paths) != 1:
            raise ConfigError(f"the model comes from {'several files' if self.paths else 'no file'}")
        return self.paths[0]

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
        codes = self.sampler.codes(prime)
        choice = Sampling(temperature, top_k, top_p, greedy)
        drawn = next(draw(self, codes, length, choice, stop, seed, stop_after_lines))
        return (character for text in blas.each(self.sampler.written(drawn, codes)) for character in text)

    @typed
    def score(self, text: str, window: int | None = None) -> Score:
        """How well the model predicts `text`: every unit but the first, the state carried through.

        With `window`, in windows of that many units, each from a zero state. A model of lines
        predicts every line, each from a zero state. A notebook shows the text, if it is not too
        long, with each character shaded by its loss.

        Raises `CorpusError` if there is nothing to predict, `ConfigError` for windows of lines,
        `VocabularyError` if the text holds what the model does not know.
        """
        within(1, window=window)
        if window is not None and self.sampler.writes_lines:
            raise ConfigError("`window` is for texts: a model of lines begins each line from a zero state")
        read, params, vocabulary = self._text(text), self._loaded.parameters, self._loaded.vocabulary
        team = self._team.of(parts=self.config.train.shards)
        result = score(self._loaded.network, params, read, window, team)
        if read.targets > SHOWN:
            return result

        @blas.borrowed()
        def html() -> str:
            bits = unit_losses(self._loaded.network, params, read, window, team) / math.log(2)
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
        return unit_losses(self._loaded.network, self._loaded.parameters, self._text(text), team=team)

    @typed
    def scores(self, texts: Sequence[str]) -> list[Score]:
        """The `score` of each of several texts, from a zero state each; many are scored at a time.

        Raises what `score` does.
        """
        read, team = [self._text(text) for text in texts], self._team.of(parts=self.config.train.shards)
        return scores(self._loaded.network, self._loaded.parameters, read, team)

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
        if self.sampler.writes_lines:
            begins = ids == self._loaded.vocabulary.line_break
        return trace(self._loaded.model, self._loaded.parameters, ids, begins, self.vocabulary)

    @typed
    def predict(self, prime: str = "", top: int = 5) -> list[tuple[str, float]]:
        """The `top` likeliest units after `prime` with their probabilities, likeliest first.

        Units are named as in `vocabulary`. `<unk>` is among them, though it is never generated: the
        probabilities of all units sum to 1. Raises what `sample` does.
        """
        within(1, top=top)
        codes = self.sampler.codes(prime)
        _warn_of_unknown(self, codes)
        context = self.sampler.context(codes)
        V = len(self.vocabulary)
        probabilities: Array = np.full(V, 1 / V)
        if len(context):
            network, params = self._loaded.network, self._loaded.parameters
            step = network.decoder(params, network.zero_state(1, params.flat.dtype))
            for unit in context:
                logits = step(int(unit))
            (probabilities,) = softmax(logits[None].astype(np.float64))
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
        within(1, window=window)
        other = reading.another(self.config.corpus, corpus, encoding)
        result = evaluate.evaluate(self._loaded, other, split, window, progress, dynamic, self._team)
        warn(*result.warnings)
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
        within(1, MOST_STEPS, steps=steps)
        read = self._held_out("corpus", corpus, encoding, progress)
        flow = gradient_flow(self._loaded.model, self._loaded.parameters, read.text, steps, team=self._team)
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
        if self.sampler.writes_lines:
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
        length: int = LENGTH,
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
        run = self.paths[0].parent if self.paths else None
        if path is None:
            if run is None:
                raise ConfigError("path: name the page: the model comes from no file")
            path = run / "report.html"
        out = with_suffix(path, PAGES)
        within(2, LONGEST, length=length)
        read = self._held_out("text", text, encoding, progress)
        learned = ", which it has learned" if read.split == "train" and self.paths else ""
        split = f"{'training' if read.split == 'train' else read.split} split{learned}"
        source = f"the {split}" if read.split else "the text" if text in (None, "-") else str(text)
        lesson = run is not None and out.resolve().parent == run.resolve() and (run / "lesson.html").exists()
        html, remarks = page.report(
            self._loaded, run, read.text, source, length, self._team, progress, lesson
        )
        assembly.write(out, html)
        warn(*remarks)
        return out

    def info(self) -> dict[str, Any]:
        """Contents of the checkpoint, by the keys of `charlm info --json`."""
        loaded, progress, units = self._loaded, self._loaded.progress, self._loaded.vocabulary.units
        shapes = loaded.model.shapes()
        return {
            "checkpoint": str(self.path) if self.paths else None,
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
            "shapes": {name: list(shape) for name, shape in shapes.items()},
            "corpus": loaded.corpus,
            "network": progress.get("generation", 0) + 1,
            "joined": progress.get("networks", 0),
            "factor": progress.get("factor"),
            "step": progress["step"],
            "epoch": progress["epoch"],
            **dict.fromkeys(
                ("validation_loss", "best_validation_loss", "training_loss", "best_training_loss")
            ),
            f"{progress['best_of']}_loss": progress["validation"],
            f"best_{progress['best_of']}_loss": progress["best"],
            "best_step": progress["best_step"],
        }

    def _held_out(
        self, argument: str, path: AnyPath | None, encoding: str | None, progress: Progress
    ) -> ReadText:
        """The text to look at: the file that the `argument` names, or a split of the model's own text."""
        other = reading.another(self.config.corpus, path, encoding)
        if other is None and self._read is not None:
            return self._read
        read = read_text(self._loaded, other, progress=progress, argument=argument)
        warn(*read.corpus.warnings)
        return read

    def _text(self, text: str) -> Text:
        return build_text(self.config.corpus, self._loaded.vocabulary, text)


def draw(
    model: LanguageModel,
    prime: Ids,
    length: int,
    choice: Sampling,
    stop: str = "",
    seed: int | None = None,
    stop_after_lines: int = 0,
    count: int = 1,
) -> Iterator[Iterator[int]]:
    """`count` samples after a prime with these codes `[N]`: the codes of each, as they are drawn.

    `LanguageModel.sample` explains the other arguments and errors.
    """
    within(0, length=length, stop_after_lines=stop_after_lines)
    if stop_after_lines and model.sampler.writes_lines:
        raise ConfigError("stop_after_lines: a model of lines writes one line")
    _warn_of_unknown(model, prime)
    return (
        model.sampler.draw(prime, length, choice, rng, stop, stop_after_lines)
        for rng in streams_of(seed, count)
    )


def _warn_of_unknown(model: LanguageModel, prime: Ids) -> None:
    """Warn if a prime with these codes `[N]` holds what is unknown to the model."""
    if unknown := model.sampler.unknown_in(prime):
        warn(f"the prime holds what is unknown to the model, read as <unk>: {unknown}")


@typed
def load(path: AnyPath | Sequence[AnyPath] | None = None, *, team: Team | None = None) -> LanguageModel:
    """The model at `path`: in a checkpoint file, or the best one of a run directory.

    In a directory of runs it is the newest run's; None is `./runs`. Several paths are several models as
    one, which predicts with the mean of their probabilities. They may differ in cell and size; it writes
    and scores texts, and has no trace, gradient flow, report or export.
    `team` scores long texts: by default as many workers as `run.threads` of 0 means.

    Raises `CheckpointError` if there is none, or it is damaged, and `ConfigError` if several
    models do not read texts in the same way.
    """
    if warning := blas.warning():
        warn(warning)
    team = team or Team(blas.workers())
    named = [path] if path is None or isinstance(path, (str, os.PathLike)) else path
    if not named:
        raise ConfigError("path: name a checkpoint or a run")

    def found() -> tuple[Checkpoint, list[Path]]:
        files = [find_checkpoint(None if one is None else Path(one)) for one in named]
        if len(set(files)) < len(files):
            raise ConfigError("the same checkpoint is named twice")
        return together([str(file) for file in files], [checkpoint.load(file) for file in files]), files

    loaded, files = team.first(found)
    return LanguageModel(loaded, team, files)


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
    whole = complete(config, settings)
    settled = reading.another(whole.corpus, corpus, encoding) or whole.corpus
    if not settled.path:
        raise ConfigError("no text to read: set corpus.path in the configuration, or name one with `corpus`")
    whole = replace(whole, corpus=settled)
    text, _ = build_corpus(settled, progress=progress)
    warn(*text.warnings)
    model = build_model(whole.model, len(text.vocabulary), whole.run.kernel)
    check_memory(needed(model, whole.train, B=1, T=1), whole)
    parameters = fresh_parameters(model, whole.model, whole.train.seed)
    about = {"digest": text.digest, "characters": len(text.ids), "train": 0}
    beginning = Checkpoint(whole, text.vocabulary, parameters, about, NOT_TRAINED)
    untrained_model = LanguageModel(beginning, Team(blas.workers()))
    untrained_model._read = held_out(text, settled)
    return untrained_model


def _read_only(array: Array) -> Array:
    view: Array = array.view()
    view.flags.writeable = False
    return view
