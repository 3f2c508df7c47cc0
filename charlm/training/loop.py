"""The training loop: updates, validations, previews, checkpoints and the log, in their order.

It yields what happens as events.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from charlm.inference.generate import TextSampler
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.directory import RunDirectory
from charlm.runs.log import Line
from charlm.system.errors import CheckpointError, RunError
from charlm.training.events import (
    Event,
    Joined,
    Joining,
    Logged,
    Previewed,
    Read,
    Stopped,
    Taught,
    Updated,
    Validated,
    Warned,
)
from charlm.training.joining import join
from charlm.training.tally import Means
from charlm.training.trainer import Trainer


def run(
    trainer: Trainer,
    directory: RunDirectory,
    should_stop: Callable[[], bool] = lambda: False,
    max_steps: int | None = None,
) -> Iterator[Event]:
    """Train until the end of the plan, or until asked to stop, yielding an event for each thing done.

    `should_stop` is asked after every update; `max_steps` stops after that update of the run.
    In both cases the run can be resumed as if it had never stopped. All ranks of the trainer train;
    only the first touches the directory.
    """
    tally, settings = trainer.tally, trainer.config.run
    begun = tally.step
    saved = tally.step if trainer.team.first(lambda: os.path.exists(directory.last)) else -1
    is_due = trainer.team.is_first and tally.step > tally.begun and _preview_falls_due(trainer)
    if is_due and not directory.has_preview(tally.step):  # the run was stopped while it was written
        yield from _preview(trainer, directory, should_stop)
    while not trainer.finished:
        if trainer.team.agree(should_stop()) or (max_steps is not None and tally.step >= max_steps):
            break
        if trainer.begins_network:
            number = len(trainer.earlier) + trainer.is_last_of_network
            yield Taught(number, trainer.config.train.generations, trainer.teachers_wait)
            with contextlib.closing(trainer.prepare()) as shares:
                for share in shares:
                    if trainer.team.agree(should_stop()):
                        break
                    yield Read(share)
            if trainer.begins_network:
                break
        started = time.perf_counter()
        update = trainer.update()
        seconds = time.perf_counter() - started
        if update.dropped:
            yield Warned(f"update {tally.step} was dropped: the {update.dropped} is not a finite number")
        else:
            for means in (tally.since_log, tally.since_validation, tally.total):
                means.add(update, seconds)
        loss = None if update.dropped else update.loss
        yield Updated(tally.step, loss, tally.since_validation.chars_per_s)

        is_last = trainer.is_last_of_network
        if is_last or _falls_due(trainer, settings.eval_every):
            yield from _validate(trainer, directory, update.lr)
            saved = tally.step
        elif settings.log_every and tally.step % settings.log_every == 0:
            line = Logged(**_numbers(trainer, tally.since_log, update.lr))
            yield from _log(trainer, directory, line)
            yield line
        if _preview_falls_due(trainer):
            yield from _preview(trainer, directory, should_stop)
    if saved != tally.step:
        yield from _save(trainer, directory)
    if trainer.finished and trainer.joins:
        yield from _join(trainer, directory, should_stop)
    whole, finished = None, trainer.finished and not trainer.joins
    if finished and trainer.scores_whole and tally.step > begun and tally.best is not None:
        best = trainer.team.first(lambda: checkpoint.load(directory.best))
        whole = trainer.score(best.model, best.parameters, trainer.corpus.part("validation")).nats_per_char
    yield Stopped(
        finished=finished,
        out_of_patience=trainer.out_of_patience,
        step=tally.step,
        epoch=trainer.epoch,
        seconds=tally.total.seconds,
        chars_per_s=tally.total.chars_per_s,
        skipped=tally.skipped,
        best=tally.best,
        best_step=tally.best_step,
        best_of=trainer.best_of,
        whole=whole,
    )


def _falls_due(trainer: Trainer, every: float) -> bool:
    """Whether a multiple of `every` epochs of the network lies between its last update and the one before."""
    updates = every * trainer.steps_per_epoch
    if updates <= 1:
        return True
    step = trainer.tally.step - trainer.tally.begun
    # rounding keeps 0.1 epochs of 12 updates, 1.2000000000000002, from falling due late
    return math.floor(round(step / updates, 9)) > math.floor(round((step - 1) / updates, 9))


def _preview_falls_due(trainer: Trainer) -> bool:
    """Whether there is a preview after the last update."""
    every = trainer.config.run.sample_every
    return every > 0 and (trainer.is_last_of_network or _falls_due(trainer, every))


def _validate(trainer: Trainer, directory: RunDirectory, lr: float) -> Iterator[Event]:
    """Score the validation split, log it, record it, and save the checkpoints."""
    score = trainer.validate()
    validation_loss = score.nats_per_char if score else None
    tally = trainer.tally
    yield from _log(trainer, directory, Line(**_numbers(trainer, tally.since_log, lr, validation_loss)))
    means, tally.since_validation = tally.since_validation, Means()
    # a run without a validation split goes by its training loss
    loss = validation_loss if validation_loss is not None else means.loss
    is_best = loss is not None and trainer.record_validation(loss)
    if is_best:
        yield from _save(trainer, directory, best=True)
    yield from _save(trainer, directory)
    yield Validated(**_numbers(trainer, means, lr, validation_loss), is_best=is_best)


def _join(trainer: Trainer, directory: RunDirectory, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Join the networks, log their loss, and keep what they become if it is better than the best of them."""
    networks, tally = len(trainer.earlier) + 1, trainer.tally
    yield Joining(networks)
    joined = join(trainer, should_stop)
    if joined is None:
        return
    lr = trainer.config.train.lr * trainer.schedule.factor(tally.step - tally.begun - 1, tally.plateau)
    numbers = _numbers(trainer, Means(), lr, joined.loss)
    numbers["chars_per_s"] = round(tally.total.chars_per_s, 1)
    yield from _log(trainer, directory, Line(**numbers))
    if joined.best:
        yield from _save(trainer, directory, best=True, content=joined.best)
    yield from _save(trainer, directory)
    yield Joined(networks, joined.loss, joined.factor, is_best=joined.best is not None)


def _numbers(
    trainer: Trainer, means: Means, lr: float, validation_loss: float | None = None
) -> dict[str, Any]:
    """The numbers of a `Line` after an update with the learning rate `lr`."""
    return {
        "step": trainer.tally.step,
        "epoch": trainer.epoch,
        "train_loss": means.loss,
        "validation_loss": validation_loss,
        "lr": lr,
        "grad_norm": means.norm,
        "clipped": means.clipped_share,
        "chars_per_s": round(means.chars_per_s, 1),
        "seconds": round(trainer.tally.total.seconds, 3),
    }


def _log(trainer: Trainer, directory: RunDirectory, line: Line) -> Iterator[Event]:
    """Add a line to the log; its means begin again."""
    trainer.tally.since_log = Means()
    if trainer.team.is_first:
        try:
            trainer.tally.log_bytes = directory.log(asdict(line))
        except RunError as error:
            yield Warned(f"{error}; training continues, and the line is written with the next one")


def _preview(trainer: Trainer, directory: RunDirectory, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Generate a preview and keep it, unless `should_stop` says so before its end."""
    if not trainer.team.is_first:
        return
    text = preview(trainer, should_stop)
    if should_stop():
        return
    try:
        directory.log_preview(trainer.tally.step, trainer.epoch, text)
    except RunError as error:
        yield Warned(f"{error}; training continues without this preview")
    yield Previewed(text)


def _save(
    trainer: Trainer, directory: RunDirectory, best: bool = False, content: Checkpoint | None = None
) -> Iterator[Event]:
    """Save a checkpoint, by default of the state of training.

    If that fails, warn and try once more before the run is given up.
    """
    trainer.sharded.complete_state()
    if not trainer.team.is_first:
        return
    try:
        trainer.tally.log_bytes = directory.log(lasting=True)
    except RunError as error:
        yield Warned(str(error))
    try:
        _store(trainer, directory, best, content)
    except (CheckpointError, RunError) as error:
        yield Warned(f"{error}; trying once more")
        _store(trainer, directory, best, content)


def _store(trainer: Trainer, directory: RunDirectory, best: bool, content: Checkpoint | None) -> None:
    checkpoint.save(directory.best if best else directory.last, content or trainer.snapshot())
    if not best:
        directory.publish()


def preview(trainer: Trainer, should_stop: Callable[[], bool] = lambda: False) -> str:
    """A text generated by the model as it is now; the same for the same update, and nothing else moves.

    It ends as soon as `should_stop` says so.
    """
    rng = np.random.default_rng([trainer.config.train.seed, trainer.tally.step])
    corpus, config = trainer.corpus, trainer.config
    sampler = TextSampler.of(config.corpus, trainer.model, trainer.mean, corpus.vocabulary)
    return sampler.preview(corpus.ids, config.run.sample_length, rng, should_stop)
