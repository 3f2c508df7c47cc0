"""The Python interface: what the commands do, as functions that return values.

Import it as `charlm`: `charlm.load`, `charlm.train`, `charlm.Run`. Nothing is printed. Errors are
`charlm.CharlmError`s; what the user should know besides is a `UserWarning`, or in training an
event.

OpenBLAS has one thread during a call, and afterwards as many as before; the same holds for the
interpreter's switch interval.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from charlm.arrays import Array, Ids
from charlm.config import loading
from charlm.config.build import build_ids, build_text
from charlm.config.schema import Config, checked
from charlm.data.lines import Text
from charlm.errors import ConfigError, RunError
from charlm.inference.generate import Sampling
from charlm.inference.sampling import TextSampler, streams_of
from charlm.inference.score import SHOWN, Score, score, unit_losses
from charlm.inference.shown import shaded
from charlm.inference.trace import Trace, trace
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.directory import RunDirectory, find_checkpoint, read_objects
from charlm.system import blas
from charlm.system.files import expanded
from charlm.training import session
from charlm.training.beginning import Beginning
from charlm.training.events import Event, Listener, Warned


class LanguageModel:
    """A trained model: it writes text, and says how well it predicts one.

    Attributes
    ----------
    config
        The configuration that it was trained with.
    vocabulary
        Its units by their ids: characters (or jamo), bytes as `vocabulary.names` shows them, and
        `<unk>` last where there is one.
    parameters
        Its arrays by name; they cannot be changed.
    """

    def __init__(self, loaded: Checkpoint, threads: int) -> None:
        """`threads` share the scoring of long texts."""
        self.config = loaded.config
        self.vocabulary: list[str] = loaded.vocabulary.names()
        self.parameters: Mapping[str, Array] = MappingProxyType(
            {name: _read_only(array) for name, array in loaded.parameters.items()}
        )
        self._loaded, self._model, self._threads = loaded, loaded.model, threads
        self._sampler = TextSampler.of(
            loaded.config.corpus, self._model, loaded.parameters, loaded.vocabulary
        )

    @blas.borrowed()
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
    ) -> str:
        """Generate text after `prime`, which is not included.

        Parameters
        ----------
        prime
            Text to continue. Of a model of lines the beginning of a line.
        length
            Units to generate at most; a line ends at its line break, which is not included.
        temperature, top_k, top_p, greedy
            See `Sampling`.
        stop
            Ends the text once it has been generated.
        seed
            The same seed gives the text of `charlm sample --seed`; None a different one each time.

        Raises
        ------
        ConfigError
            If a setting is out of its range, or `prime` or `stop` cannot be used.
        VocabularyError
            If `prime` holds what the model does not know, and it has no `<unk>`.
        """
        return "".join(self.stream(prime, length, temperature, top_k, top_p, greedy, stop, seed))

    @blas.borrowed()
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
    ) -> Iterator[str]:
        """The characters of `sample`, each as soon as it is certain; arguments and errors are the same."""
        if length < 0:
            raise ConfigError(f"length: {length} is below 0")
        sampling = Sampling(temperature, top_k, top_p, greedy)
        codes = self._prime(prime)
        rng = next(streams_of(seed, 1))
        drawn = self._sampler.draw(codes, length, sampling, rng, stop)
        return (character for text in blas.each(self._sampler.written(drawn, codes)) for character in text)

    @blas.borrowed()
    def score(self, text: str, window: int | None = None) -> Score:
        """How well the model predicts `text`: every unit but the first, the state carried through.

        With `window`, in windows of that many units, each from a zero state. A model of lines
        predicts every line, each from a zero state. A notebook shows the text, if it is not too
        long, with each character shaded by its loss.

        Raises `CorpusError` if there is nothing to predict, `ConfigError` for windows of lines,
        `VocabularyError` if the text holds what the model does not know.
        """
        if window is not None and (self._sampler.writes_lines or window < 1):
            raise ConfigError("window: a number above 0, and of a model of texts, not of lines")
        read, params, vocabulary = self._text(text), self._loaded.parameters, self._loaded.vocabulary
        result = score(self._model, params, read, window, self._threads, self.config.train.shards)
        if read.targets > SHOWN:
            return result

        @blas.borrowed()
        def html() -> str:
            bits = unit_losses(self._model, params, read, window) / math.log(2)
            if read.lines is None:  # the first unit is not predicted; that of lines is not theirs
                return shaded(vocabulary, read.ids, np.concatenate([[np.nan], bits]))
            return shaded(vocabulary, read.ids[1:], bits)

        return replace(result, shaded=html)

    @blas.borrowed()
    def losses(self, text: str) -> Array:
        """The loss in nats of every predicted unit, `[N-1]` of a text of N units.

        Of a model of lines one for each unit of each line, its line break included. Raises what
        `score` does.
        """
        return unit_losses(self._model, self._loaded.parameters, self._text(text))

    @blas.borrowed()
    def trace(self, text: str) -> Trace:
        """Everything that the network computes while it reads `text`: gates, states, logits.

        Row n of every array is what there is after unit n has been read, and predicts unit n+1; see
        `Trace`. Of a model of lines the units are a line break, then every line that is not empty
        with its line break: a line break is the first unit that the line after it reads, from a
        zero state. `trace(text).losses` are `losses(text)`.

        Raises `ConfigError` if there is nothing to read, or the trace does not fit this machine, and
        `VocabularyError` if the text holds what the model does not know.
        """
        ids = build_ids(self.config.corpus, self._loaded.vocabulary, text)
        begins = np.arange(len(ids)) == 0
        if self._sampler.writes_lines:
            begins = ids == self._loaded.vocabulary.line_break
        return trace(self._model, self._loaded.parameters, ids, begins, self.vocabulary)

    @blas.borrowed()
    def predict(self, prime: str = "", top: int = 5) -> list[tuple[str, float]]:
        """The likeliest units after `prime` with their probabilities, likeliest first.

        Units are named as in `vocabulary`. `<unk>` is among them, though it is never generated: the
        probabilities of all units sum to 1. Raises what `sample` does.
        """
        if top < 1:
            raise ConfigError(f"top: {top} is below 1")
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

    def _prime(self, prime: str) -> Ids:
        """The codes of a prime, with a warning if it holds what is unknown to the model."""
        codes = self._sampler.codes(prime)
        unknown = self._sampler.unknown_in(codes)
        if unknown:
            message = f"the prime holds what is unknown to the model, read as <unk>: {unknown}"
            warnings.warn(message, stacklevel=3)
        return codes

    def _text(self, text: str) -> Text:
        return build_text(self.config.corpus, self._loaded.vocabulary, text)


@dataclass(frozen=True)
class Run:
    """A run directory."""

    path: Path

    def __init__(self, path: str | Path) -> None:
        """Open a run that exists; raises `RunError` if there is none."""
        object.__setattr__(self, "path", expanded(Path(path)))
        if not RunDirectory(self.path).holds_run():
            raise RunError(f"{self.path} holds no run")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The log as it is now: one object for each line, with losses in nats per character."""
        return [line for line, _ in read_objects(RunDirectory(self.path).metrics)]

    def load(self) -> LanguageModel:
        """The best model of the run so far."""
        return load(self.path)


def load(path: str | Path) -> LanguageModel:
    """The model in a checkpoint file, or the best one of a run directory.

    Raises `CheckpointError` if there is none, or it is damaged.
    """
    warning = blas.warning()
    if warning:
        warnings.warn(warning, stacklevel=2)
    return LanguageModel(checkpoint.load(find_checkpoint(Path(path))), blas.workers())


@blas.borrowed()
def train(
    config: str | Path | Config | Mapping[str, Mapping[str, Any]],
    corpus: str | Path | None = None,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_event: Listener | None = None,
    init: str | Path | None = None,
    extend_vocabulary: bool = False,
) -> Run:
    """Train a model, as `charlm train` does.

    Parameters
    ----------
    config
        A configuration file, a run directory, a `Config`, or sections of keys as in the file.
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

    Raises
    ------
    CharlmError
        What the command reports as an error.
    """
    given = {key: checked(key, value, "settings") for key, value in (settings or {}).items()}
    if corpus is not None:
        if not str(corpus):
            raise ConfigError("corpus: the path is empty")
        given["corpus.path"] = str(corpus)
    if out is not None:
        given["run.dir"] = str(out)
    if isinstance(config, Config):
        made = loading.from_mapping(config.nested(), given)
    elif isinstance(config, Mapping):
        made = loading.from_mapping(config, given)
    else:
        made = loading.load(Path(config), given, "settings")
    beginning = None if init is None else Beginning.of(Path(init), extend_vocabulary)
    return Run(session.train(made, resume, overwrite, on_event or _warn, beginning=beginning).path)


def _warn(event: Event) -> None:
    if isinstance(event, Warned):
        warnings.warn(event.message, stacklevel=4)


def _read_only(array: Array) -> Array:
    view: Array = array.view()
    view.flags.writeable = False
    return view
