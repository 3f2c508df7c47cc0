"""A run from its first check to its last checkpoint."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from charlm.config.keys import Config
from charlm.data.corpus import SPLITS, Corpus, Progress, nothing
from charlm.runs.directory import RunDirectory
from charlm.system.errors import RunError
from charlm.system.machine import peak_bytes
from charlm.system.team import ALONE, Team
from charlm.training import advice, loop, recipe, tensorboard
from charlm.training.events import Event, Listener, Started, Warned
from charlm.training.job import Job, prepare
from charlm.training.request import Request
from charlm.training.trainer import Trainer

_MEASURING = "measuring the speed of this machine"


def train(
    request: Request,
    on_event: Listener = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Progress = nothing,
    team: Team = ALONE,
) -> RunDirectory:
    """Train the run that a person asks for, in its directory, until its end or until asked to stop.

    Parameters
    ----------
    on_event
        Called with every event (`training.events`).
    should_stop
        Asked after every update. A run that was stopped can be resumed.
    progress
        Called while the text is read (see `build_corpus`), and before the machine is measured.
    team
        The processes that train; every rank calls with the same arguments. The first reads the
        text, writes the run and reports events.

    Raises
    ------
    RunError
        If the directory cannot be used so, or the run in it cannot be continued so.
    ExtraError
        If `run.tensorboard` is set and its package is missing.
    CharlmError
        As `prepare`, `recipe.fit` and training do.
    """
    directory = RunDirectory(Path(request.config.run.dir))
    team = team.prepare(request.config.run.threads)
    if request.config.run.tensorboard:
        team.first(tensorboard.check)
    exists = team.first(lambda: os.path.isdir(directory.path))
    with contextlib.ExitStack() as held:

        def check() -> Job:
            if exists:
                held.enter_context(directory.lock())
            _refuse_to_overwrite(directory, request)
            return prepare(request, directory, progress)

        job = team.first(check)
        if request.seconds is not None:
            team.first(lambda: progress(_MEASURING, 0))
            job = recipe.fit(job, request, team)
        trainer = held.enter_context(Trainer(job, team))

        def write() -> None:
            text = trainer.config.to_commented_yaml()
            if job.saved is not None:
                directory.continue_from(text, trainer.tally.log_bytes, trainer.tally.step)
                return
            if not exists:
                held.enter_context(directory.lock())
                _refuse_to_overwrite(directory, request)
            directory.create(text, [file for file, _ in job.teachers])

        team.first(write)  # the first files, now that all is checked
        listeners = [on_event]
        if request.config.run.tensorboard and team.is_first:
            files = contextlib.closing(tensorboard.EventFiles(directory, on_event))
            listeners.append(held.enter_context(files))

        def tell(event: Event) -> None:
            for listener in listeners:
                listener(event)

        tell(_started(trainer, directory))
        for message in (*advice.of_run(trainer, request), *advice.of_team(trainer)):
            tell(Warned(message))
        try:
            for event in loop.run(trainer, directory, should_stop, request.max_steps):
                tell(event)
        finally:
            if team.is_first and directory.abandon():
                tell(Warned(f"{directory.path} keeps the run that it held: the new one has no checkpoint"))
    return directory


def planned(request: Request, progress: Progress = nothing) -> tuple[Config, list[str]]:
    """The configuration that `train` would train with, and warnings for the user.

    Raises what `prepare` and `recipe.fit` do.
    """
    team = ALONE.prepare(request.config.run.threads)
    job = prepare(request, progress=progress)
    progress(_MEASURING, 0)
    job = recipe.fit(job, request, team)
    return job.config, [*job.corpus.warnings, *advice.of_text(job.config, job.corpus, request)]


def _refuse_to_overwrite(directory: RunDirectory, request: Request) -> None:
    if request.resume or request.overwrite or not directory.holds_run():
        return
    problem = "already holds a run: `resume=True` continues it"
    if not os.path.exists(directory.last):
        problem = "holds a run that has no last.npz to continue from"
    raise RunError(f"{directory.path} {problem}, `overwrite=True` starts a new one, `out=DIR` goes elsewhere")


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
        step=trainer.tally.step,
        first_word=_first_word(corpus),
    )


def _first_word(corpus: Corpus) -> str:
    """The text's first word, or the beginning of its only one; empty if it would have to be quoted."""
    words = corpus.vocabulary.text(corpus.ids[:40]).split()
    if not words or not words[0].isalnum():
        return ""
    return words[0] if len(words) > 1 else words[0][:-1][:2]
