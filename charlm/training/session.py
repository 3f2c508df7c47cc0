"""A run from its first check to its last checkpoint: starting, resuming, training."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from charlm.config.build import Files, build_corpus, find_files
from charlm.config.keys import Config
from charlm.data.corpus import SPLITS, Corpus, Progress, nothing, on_all_ranks
from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError, CorpusError, RunError, VocabularyError
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.directory import RunDirectory
from charlm.system import blas
from charlm.system.files import STANDARD_INPUT, is_descriptor
from charlm.system.memory import peak_bytes
from charlm.system.team import ALONE, Team, machine
from charlm.training import loop, tensorboard
from charlm.training.beginning import Beginning
from charlm.training.events import Event, Listener, Started, Warned
from charlm.training.recipe import Plan, looks_like_lines
from charlm.training.trainer import Trainer, with_shards_of

_MEASURING = "measuring the speed of this machine"

_CARRIAGE_RETURN = ord("\r")

_ODD = {
    _CARRIAGE_RETURN: "carriage returns, as in the line ends of Windows, which are learned too: "
    "corpus.newlines=lf converts them",
    0x00: "NUL characters, which are learned too: is it plain text?",
    0x1B: "escape characters, as in the output of terminals, which are learned too: is it plain text?",
    0xFFFD: "replacement characters (U+FFFD), which are learned too: an earlier conversion lost what stood "
    "in their place",
}
"""Characters that a text rarely holds on purpose, by their code."""

_SMALL_WINDOW = 256
"""Characters of an update below which many updates are worth a warning."""

_MANY_STEPS = 500_000
"""Updates of a run that are many."""


def train(
    config: Config,
    resume: bool = False,
    overwrite: bool = False,
    on_event: Listener = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
    max_steps: int | None = None,
    progress: Progress = nothing,
    plan: Plan | None = None,
    beginning: Beginning | None = None,
    team: Team = ALONE,
) -> RunDirectory:
    """Train the run that `config` describes, in its directory, until its end or until asked to stop.

    Parameters
    ----------
    resume
        Continue the run in its directory exactly where it stopped.
    overwrite
        Start a new run in a directory that holds one.
    on_event
        Called with every event (`training.events`).
    should_stop, max_steps
        Asked after every update; stop after that update of the run. It can then be resumed.
    progress
        Called while the text is read (see `build_corpus`), and before the machine is measured.
    plan
        Completes a new run's configuration once the text has been read.
    beginning
        The weights that a new run begins with; without it they are drawn.
    team
        Who trains; every rank is called with the same arguments. The first reads the text,
        writes the run and reports events.

    Raises
    ------
    ConfigError
        If no text is named, both `resume` and `overwrite` are asked for, a run that is resumed has
        a plan or a beginning, or the configuration does not fit to the beginning.
    RunError
        If the directory cannot be used so, or the run in it cannot be continued so.
    ExtraError
        If `run.tensorboard` is set and its package is missing.
    CharlmError
        What reading the text and training raise.
    """
    if resume and overwrite:
        raise ConfigError("`resume` and `overwrite` exclude each other")
    if resume and beginning:
        raise ConfigError("`init` is for a new run: one that is resumed goes on with its own weights")
    if resume and plan:
        raise ConfigError(
            "`minutes` is for a new run: train.epochs says how long one that is resumed goes on"
        )
    team = team.prepare(config.run.threads)
    if config.run.tensorboard:
        team.first(tensorboard.check)
    with contextlib.ExitStack() as held:
        trainer, directory = held.enter_context(
            _opened(config, resume, overwrite, progress, plan, beginning, team)
        )
        if config.run.tensorboard and team.is_first:
            files = held.enter_context(tensorboard.EventFiles(directory, on_event))
            on_event = _both(on_event, files)
        on_event(_started(trainer, directory))
        for message in [*_warnings(trainer, plan), *_of_ranks(trainer)]:
            on_event(Warned(message))
        try:
            for event in loop.run(trainer, directory, should_stop, max_steps):
                on_event(event)
        finally:
            if team.is_first and directory.abandon():
                on_event(
                    Warned(f"{directory.path} keeps the run that it held: the new one has no checkpoint")
                )
    return directory


@contextlib.contextmanager
def _opened(
    config: Config,
    resume: bool,
    overwrite: bool,
    progress: Progress,
    plan: Plan | None,
    beginning: Beginning | None,
    team: Team,
) -> Iterator[tuple[Trainer, RunDirectory]]:
    """A trainer at its beginning, or where its run stopped, and its directory, locked.

    Nothing is written before all is checked. All files are those of the first rank, which tells the
    others what it has found in them.
    """
    directory = RunDirectory(Path(config.run.dir))
    corpus: Corpus | None = None
    locked = False

    def prepared() -> tuple[Config, Checkpoint | None]:
        nonlocal config, corpus, locked
        locked = os.path.isdir(directory.path)
        if locked:
            held.enter_context(directory.lock())
        _refuse_to_overwrite(directory, resume or overwrite)
        if resume and not os.path.exists(directory.last):
            raise RunError(
                f"{directory.path} holds no last.npz to resume from: name the directory of the run, or leave "
                "out `resume` to start a new run"
            )
        saved = checkpoint.load(directory.last) if resume else None
        if saved is not None and not saved.training:
            raise RunError(
                f"{directory.path} holds weights that were imported, and no training to continue: "
                f"`init={directory.path}` begins a new run with them"
            )
        if not config.corpus.path:
            raise ConfigError("no text to train on: set corpus.path in the configuration, or name one")
        if beginning:
            config = config.give(beginning.settings(config))
        try:
            config, files = _found(config, progress)
            _refuse_to_hide(files, directory)
            config, corpus = _read(config, files, progress, plan)
        except CorpusError as error:
            if saved is None:
                raise
            arguments = ["`corpus`", *(f"`corpus.{name}=FILE`" for name in config.corpus.separate_paths)]
            raise CorpusError(
                f"the run's own text: {error}; {' or '.join(arguments)} names it where it is now"
            ) from error
        if beginning:
            try:
                corpus = _in(beginning.vocabulary(corpus.vocabulary), config, corpus, files, progress)
            except VocabularyError as error:
                raise VocabularyError(f"{error}; `extend_vocabulary=True` adds them") from error
        elif saved is not None and corpus.digest == saved.corpus["digest"]:
            # a run that began with the weights of another has the vocabulary of that
            corpus = _in(saved.vocabulary, config, corpus, files, progress)
        return config, saved

    with contextlib.ExitStack() as held:
        config, saved = team.first(prepared)
        corpus = on_all_ranks(corpus, team)
        if plan:
            team.first(lambda: progress(_MEASURING, 0))
            config, corpus = plan.carry_out(config, corpus, team)
        if saved is not None:
            config = with_shards_of(config, saved)
        trainer = held.enter_context(Trainer(config, corpus, team))
        if saved is None and beginning:
            beginning.put_into(trainer)
        if saved is not None:
            trainer.restore(saved, f"run {directory.path}")
            if trainer.progress.step > trainer.planned_steps:
                raise ConfigError(
                    f"train.epochs: {trainer.config.train.epochs:g} epochs end before update "
                    f"{trainer.progress.step:,}, which run {directory.path} has reached: "
                    f"it must be {math.ceil(100 * trainer.epoch) / 100:g} at least"
                )

        def claim() -> None:
            text = trainer.config.to_commented_yaml()
            if saved is not None:
                directory.continue_from(text, trainer.progress.log_bytes, trainer.progress.step)
                return
            if not locked:
                held.enter_context(directory.lock())
                _refuse_to_overwrite(directory, overwrite)
            directory.create(text)

        team.first(claim)
        yield trainer, directory


def _both(first: Listener, second: Listener) -> Listener:
    def listen(event: Event) -> None:
        first(event)
        second(event)

    return listen


def planned(config: Config, plan: Plan, progress: Progress = nothing) -> tuple[Config, list[str]]:
    """The configuration that `train` would train with, and what the user should know.

    Raises what reading the text raises, and `ConfigError` if not even one update fits into the time.
    """
    team = ALONE.prepare(config.run.threads)
    config, files = _found(config, progress)
    config, corpus = _read(config, files, progress, plan)
    progress(_MEASURING, 0)
    config, corpus = plan.carry_out(config, corpus, team)
    return config, [*corpus.warnings, *plan.warnings(config, corpus), *_of_lines(config, corpus)]


def _found(config: Config, progress: Progress) -> tuple[Config, Files]:
    """The files of the text, and the configuration that finds the text again.

    Raises `ConfigError` if a text comes from a pipe that no later command can name.
    """
    files = find_files(config.corpus, progress)
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


def _read(config: Config, files: Files, progress: Progress, plan: Plan | None) -> tuple[Config, Corpus]:
    """The text; with a plan that chooses everything, without the line ends of Windows."""
    corpus, _ = build_corpus(config.corpus, progress=progress, files=files)
    chooses = plan is not None and plan.everything and "corpus.newlines" not in config.given
    if chooses and config.corpus.unit == "char" and _CARRIAGE_RETURN in corpus.vocabulary.codes:
        config = config.replace({"corpus.newlines": "lf"})
        corpus, _ = build_corpus(config.corpus, expected=corpus.digest, progress=progress, files=files)
        warning = "the text has line ends of Windows, which are converted: corpus.newlines=lf is chosen"
        corpus = replace(corpus, warnings=(*corpus.warnings, warning))
    return config, corpus


def _in(vocabulary: Vocabulary, config: Config, corpus: Corpus, files: Files, progress: Progress) -> Corpus:
    """The text in another vocabulary; raises `VocabularyError` if that lacks a unit and has no `<unk>`."""
    if corpus.vocabulary == vocabulary:
        return corpus
    corpus, _ = build_corpus(config.corpus, vocabulary, corpus.digest, progress, files)
    return corpus


def _refuse_to_overwrite(directory: RunDirectory, allowed: bool) -> None:
    if allowed or not directory.holds_run():
        return
    held = "already holds a run: `resume=True` continues it"
    if not os.path.exists(directory.last):
        held = "holds a run that has no last.npz to continue from"
    raise RunError(f"{directory.path} {held}, `overwrite=True` starts a new one, `out=DIR` goes elsewhere")


def _started(trainer: Trainer, directory: RunDirectory) -> Started:
    corpus = trainer.corpus
    whole = corpus.whole
    return Started(
        path=directory.path,
        config=trainer.config,
        units=whole.units,
        sizes={name: len(corpus.part(name)) for name in SPLITS},
        validated=(trainer.validation.targets, corpus.part("validation").targets),
        lines=whole.lines,
        vocabulary=len(corpus.vocabulary),
        parameters=trainer.parameters.flat.size,
        streams=trainer.streams.batch,
        seq_len=trainer.streams.seq_len,
        needed_bytes=peak_bytes() + trainer.needed.total,
        planned_steps=trainer.planned_steps,
        step=trainer.progress.step,
        first_word=_first_word(corpus),
    )


def _warnings(trainer: Trainer, plan: Plan | None) -> Iterator[str]:
    """What the user should know before training begins."""
    yield from trainer.corpus.warnings
    if plan:
        yield from plan.warnings(trainer.config, trainer.corpus)
    if not trainer.progress.step:
        yield from _of_lines(trainer.config, trainer.corpus)
    blas_warning = blas.warning()
    if blas_warning:
        yield blas_warning
    if trainer.warning:
        yield trainer.warning
    corpus, train = trainer.config.corpus, trainer.config.train
    for code, what in _ODD.items():
        if corpus.unit == "char" and code in trainer.corpus.vocabulary.codes:
            yield f"the text holds {what}"
    if train.warmup > trainer.planned_steps:
        yield (
            f"train.warmup of {train.warmup:,} updates is longer than the run of {trainer.planned_steps:,}: "
            "the learning rate never reaches train.lr"
        )
    streams = trainer.streams
    if streams.batch * streams.seq_len < _SMALL_WINDOW and trainer.planned_steps > _MANY_STEPS:
        yield (
            f"{trainer.planned_steps:,} updates of {streams.batch} x {streams.seq_len} characters take long: "
            "a larger train.batch or train.seq_len makes fewer"
        )
    if corpus.split[1] and trainer.best_of == "training":
        yield "the validation split is too short to score; best.npz goes by training loss"
    if trainer.validates_in_part:
        scored, held = trainer.validation.targets, trainer.corpus.part("validation").targets
        end = "the whole is scored at the end" if trainer.scores_whole else "the whole would take too long"
        yield (
            f"each validation scores the first {scored:,} of {held:,} characters (run.eval_length), and "
            f"best.npz goes by them; {end}"
        )


def _of_lines(config: Config, corpus: Corpus) -> Iterator[str]:
    """What the user should know of the lines of a text before a run begins."""
    if "corpus.mode" not in config.given and looks_like_lines(corpus):
        yield (
            "the text looks like a list of lines that do not belong together: corpus.mode=lines makes each "
            "line a separate example"
        )
    repeated = {name: (count, len(corpus.part(name))) for name, count in corpus.repeated_lines().items()}
    counts = ", ".join(
        f"{count:,} of {lines:,} {name} lines ({100 * count / lines:.3g} %)"
        for name, (count, lines) in repeated.items()
    )
    if counts:
        yield f"also in the training split, and easier to predict: {counts}"


def _of_ranks(trainer: Trainer) -> Iterator[str]:
    """What the user of several ranks should know; all ranks ask for it."""
    team, shards = trainer.team, trainer.config.train.shards
    if shards < team.size:
        idle = team.size - shards
        yield (
            f"{idle} of {team.size} ranks {'has' if idle == 1 else 'have'} nothing to do: the batch of "
            f"{trainer.streams.batch} is divided into train.shards = {shards}"
        )
    machines = team.gather((machine(), blas.arithmetic()))
    for where, other in dict.fromkeys(machines):
        if other != machines[0][1]:
            yield (
                f"{where} has {other}, and {machines[0][0]} {machines[0][1]}: rounding differs, so that only "
                "the same ranks on the same machines train to the same bits"
            )


def _first_word(corpus: Corpus) -> str:
    """The text's first word, or the beginning of its only one; empty if it would have to be quoted."""
    words = corpus.vocabulary.text(corpus.ids[:40]).split()
    if not words or not words[0].isalnum():
        return ""
    return words[0] if len(words) > 1 else words[0][:-1][:2]
