"""A job: the configuration, the text and the beginning of a run, checked before anything is written."""

import os
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from charlm.config.build import Files, build_corpus, find_files, fresh_parameters
from charlm.config.keys import COUNTS, Config, plain
from charlm.data.corpus import Corpus, Progress, nothing
from charlm.data.vocabulary import Vocabulary
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.directory import RunDirectory, find_checkpoint
from charlm.runs.ensemble import Reader, check_alike, reader
from charlm.system.errors import (
    ChangedError,
    CheckpointError,
    ConfigError,
    CorpusError,
    RunError,
    VocabularyError,
)
from charlm.system.files import STANDARD_INPUT, is_descriptor
from charlm.training.request import Request

_OF_THE_MODEL = (
    "model.cell",
    "model.hidden",
    "model.layers",
    "model.gru_reset",
    "corpus.mode",
    "corpus.unit",
    "corpus.newlines",
    "corpus.lowercase",
    "corpus.normalize",
    "corpus.min_count",
)
"""Keys that belong to weights: the network, and what its units are."""

_CARRIAGE_RETURN = ord("\r")


@dataclass(frozen=True)
class Job:
    """A run that is trained, or a part of one that is measured.

    Attributes
    ----------
    config, corpus
        The configuration, which finds the text again, and the text.
    init
        The model whose weights a new run begins with; without it they are drawn.
    saved
        The last checkpoint of a run that is continued.
    teachers
        The networks of `train.teacher`, and their files.
    """

    config: Config
    corpus: Corpus
    init: Checkpoint | None = None
    saved: Checkpoint | None = None
    teachers: tuple[tuple[Path, Checkpoint], ...] = ()

    def alone(self) -> Self:
        """The run without teachers and with one network; an update takes as long."""
        config = self.config.replace({"train.teacher": "", "train.generations": 1})
        return replace(self, config=config, teachers=())

    def parameters(self, model: Model, dtype: npt.DTypeLike, generation: int = 0) -> Parameters:
        """The parameters that a network of the run begins with: fresh, or copied from `init`."""
        params = fresh_parameters(model, self.config.model, self.config.train.seed, dtype, generation)
        if self.init is not None:
            vocabulary = self.corpus.vocabulary
            places = vocabulary.places(self.init.vocabulary.codes)
            if vocabulary.unknown is not None:
                places = np.append(places, vocabulary.unknown)
            copy_rows(self.init.parameters, params, places)
        return params


def copy_rows(source: Parameters, target: Parameters, places: np.ndarray[Any, Any]) -> None:
    """Copy every parameter; the unit with the id k of `source` has the id `places[k]` in `target`.

    The axis of the vocabulary is the one along which the two have different shapes; the units that
    `source` lacks keep their values.
    """
    for name, array in source.items():
        differs = [old != new for old, new in zip(array.shape, target[name].shape, strict=True)]
        target[name][tuple(places if differ else slice(None) for differ in differs)] = array


def prepare(request: Request, directory: RunDirectory | None = None, progress: Progress = nothing) -> Job:
    """Read and check everything that a request needs, for a run in `directory` or for none.

    `progress` is called while the text is read (see `build_corpus`).

    Raises `ConfigError` if the configuration contradicts the weights that the run begins with,
    `VocabularyError` if these lack a unit, and `RunError` if the directory or the run in it cannot
    be used so; also `CheckpointError` and `CorpusError`.
    """
    config, init, saved = request.config, None, None
    if request.resume and directory is not None:
        saved = _last(directory)
    if request.init is not None:
        init = checkpoint.load(find_checkpoint(request.init))
        config = config.give(_settings_of(init, config, request.init))
    # the vocabulary of weights; a run that began with another's weights has more than its text's
    vocabulary = expected = None
    if saved is not None:
        vocabulary, expected = saved.vocabulary, saved.corpus.get("digest")
    elif init is not None and not request.extend_vocabulary:
        vocabulary = init.vocabulary
    try:
        files = find_files(config.corpus, progress)
        config, files = _nameable(config, files)
        if directory is not None:
            _refuse_to_hide(files, directory)
        read = partial(build_corpus, progress=progress, files=files)
        corpus, _ = read(config.corpus, vocabulary, expected)
        if request.everything and _has_windows_line_ends(config, corpus):
            config = config.replace({"corpus.newlines": "lf"})
            corpus, _ = read(config.corpus, None, corpus.digest)
            remark = "the text has line ends of Windows, which are converted: corpus.newlines=lf is chosen"
            corpus = replace(corpus, warnings=(*corpus.warnings, remark))
        if init is not None and request.extend_vocabulary:
            known = init.vocabulary
            codes = np.union1d(known.codes, corpus.vocabulary.codes)
            extended = Vocabulary(codes, known.units, known.has_unknown)
            corpus, _ = read(config.corpus, extended, corpus.digest)
    except VocabularyError as error:
        if init is None:
            raise
        raise VocabularyError(f"{error}; `extend_vocabulary=True` adds them") from error
    except CorpusError as error:
        if saved is None:
            raise
        if isinstance(error, ChangedError):
            raise RunError(
                f"run {config.run.dir}: the corpus is not the one that this run was trained on: "
                "`corpus` names that one, and `init` instead of `resume` begins a new run with these weights "
                "on another"
            ) from error
        arguments = ["`corpus`", *(f"`corpus.{name}=FILE`" for name in config.corpus.separate_paths)]
        raise CorpusError(
            f"the run's own text: {error}; {' or '.join(arguments)} names it where it is now"
        ) from error
    if saved is not None and not config.train.shards:
        config = config.replace({"train.shards": saved.config.train.shards})
    # a run that is continued has copies of the teachers that it began with
    teachers = _teachers(
        config if saved is None else saved.config, corpus, None if saved is None else directory
    )
    return Job(config, corpus, init, saved, teachers)


def _teachers(
    config: Config, corpus: Corpus, run: RunDirectory | None
) -> tuple[tuple[Path, Checkpoint], ...]:
    """The networks of `train.teacher` with their files, or their copies in a run that is continued.

    Raises `ConfigError` if one is named twice, or predicts other units than the run.
    """
    names = config.train.teachers
    if len(set(names)) < len(names):
        raise ConfigError(f"train.teacher: {max(names, key=names.count)} is named twice")
    paths = [Path(name) for name in names if name != COUNTS]
    try:
        files = [find_checkpoint(path) for path in paths] if run is None else run.teachers(len(paths))
        teachers = tuple((file, checkpoint.load(file)) for file in files)
    except CheckpointError as error:
        raise CheckpointError(f"train.teacher: {error}") from error
    own = Reader("the text", config.corpus.mode, corpus.vocabulary)
    for path, (_, teacher) in zip(paths, teachers, strict=True):
        check_alike(f"train.teacher: {path} cannot teach this run", own, reader(str(path), teacher))
    return teachers


def _last(directory: RunDirectory) -> Checkpoint:
    """The checkpoint from which the run in a directory is continued; raises `RunError` without one."""
    if not os.path.exists(directory.last):
        raise RunError(
            f"{directory.path} holds no last.npz to resume from: name the directory of the run, or give "
            "`overwrite` instead of `resume` to start a new one"
        )
    saved = checkpoint.load(directory.last)
    if not saved.training:
        raise RunError(
            f"{directory.path} holds weights that were imported, and no training to continue: "
            f"`init={directory.path}` begins a new run with them"
        )
    return saved


def _settings_of(init: Checkpoint, config: Config, where: Path) -> dict[str, Any]:
    """The keys that belong to the weights of a model, with its values.

    Raises `ConfigError` if a person gave one of them another value in `config`.
    """
    own, asked = init.config.flat(), config.flat()
    for dotted in _OF_THE_MODEL:
        if dotted in config.given and asked[dotted] != own[dotted]:
            raise ConfigError(
                f"{dotted}: {plain(asked[dotted])} differs from {where}, whose weights the run "
                f"begins with: leave it out, or set it to {plain(own[dotted])}"
            )
    return {dotted: own[dotted] for dotted in _OF_THE_MODEL}


def _nameable(config: Config, files: Files) -> tuple[Config, Files]:
    """The configuration that finds the text again, and the files with a remark where it is a pipe.

    Raises `ConfigError` if a text comes from a pipe that no later command can name.
    """
    paths = config.corpus.paths
    for name, separate in config.corpus.separate_paths.items():
        if any(map(is_descriptor, separate)):
            raise ConfigError(
                f"corpus.{name}: no later command can read {', '.join(separate)} again: name a file"
            )
    piped = [path for path in paths if is_descriptor(path)]
    if not piped:
        return config, files
    if len(piped) + paths.count(STANDARD_INPUT) > 1:
        raise ConfigError(f"corpus.path: no later command can read {', '.join(paths)} again: name files")
    remark = f"no later command can read {piped[0]} again: each needs the text as its standard input, < TEXT"
    renamed = tuple(STANDARD_INPUT if path in piped else path for path in paths)
    config = config.replace({"corpus.path": renamed[0] if len(renamed) == 1 else renamed})
    return config, replace(files, remarks=[*files.remarks, remark])


def _refuse_to_hide(files: Files, directory: RunDirectory) -> None:
    """Raise `RunError` if the next walk would leave out a file because it is within the run's directory."""
    run = Path(os.path.realpath(directory.path))
    if not os.path.isdir(run):
        return
    for source in chain(files.path, *files.separate.values()):
        above = source.root and Path(os.path.realpath(source.root)) in run.parents
        if above and run in Path(os.path.realpath(source.name)).parents:
            raise RunError(
                f"{source} is within the directory of the run, {directory.path}, which is left out of "
                f"{source.root} once it holds a run: use `out=DIR`"
            )


def _has_windows_line_ends(config: Config, corpus: Corpus) -> bool:
    """Whether a text has line ends of Windows that no person asked to keep."""
    is_free = config.corpus.unit == "char" and "corpus.newlines" not in config.given
    return is_free and _CARRIAGE_RETURN in corpus.vocabulary.codes
