"""charlm train."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from charlm.cli.options import set_option
from charlm.cli.reading import corpus_option, open_corpus, shown, with_path
from charlm.cli.show import losses
from charlm.config import loading as configfile
from charlm.config import schema as configuration
from charlm.config.schema import Config
from charlm.errors import RunError
from charlm.system import blas as machine
from charlm.system.files import STANDARD_INPUT

if TYPE_CHECKING:
    from charlm.runs.directory import RunDirectory
    from charlm.training.trainer import Trainer


_SIGNALS: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""Signals that end a run with a checkpoint, and the exit status each leaves."""

if hasattr(signal, "SIGHUP"):
    _SIGNALS[signal.SIGHUP] = _SIGNALS[signal.SIGTERM]


class _WithKeys(click.Command):
    """A command whose help ends with every key of the configuration."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("\nKeys of the configuration, with their defaults:\n\n")
        formatter.write(configuration.reference() + "\n")


@click.command(cls=_WithKeys)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The YAML configuration.",
)
@set_option
@corpus_option
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Keep the run here (run.dir).")
@click.option("--resume", is_flag=True, help="Continue the run in its directory exactly where it stopped.")
@click.option("--overwrite", is_flag=True, help="Begin anew in a directory that already holds a run.")
@click.option(
    "--max-steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop behind update N of the run, as if interrupted; --resume goes on.",
)
def train(
    config_path: Path,
    overrides: tuple[str, ...],
    corpus: str | None,
    out: Path | None,
    resume: bool,
    overwrite: bool,
    max_steps: int | None,
) -> None:
    """Train a model on a text.

    Writes config.yaml, metrics.jsonl, last.npz and best.npz (by validation loss) into the run's
    directory. Progress goes to stderr. Ctrl-C ends the update in progress, saves, and says how to
    go on.
    """
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other.")
    config = configfile.load(config_path, overrides)
    if corpus is not None:
        config = replace(config, corpus=with_path(config.corpus, corpus))
    if out is not None:
        config = config.replace({"run.dir": str(out)})
    if not config.corpus.path:
        raise click.UsageError(
            f"no text to train on: set corpus.path in {config_path}, or give --corpus FILE."
        )
    threads = machine.prepare(config.run.threads)
    trainer, directory = _prepare(config, threads, resume, overwrite)
    _announce(trainer, directory)
    resume_command = f"charlm train --config {directory.config} --resume{_again(config)}"
    _train(trainer, directory, max_steps, resume_command)


def _prepare(config: Config, threads: int, resume: bool, overwrite: bool) -> tuple[Trainer, RunDirectory]:
    """A trainer at its beginning, or where its run stopped; nothing is written before all is checked."""
    from charlm.runs import checkpoint
    from charlm.runs.directory import RunDirectory
    from charlm.training.trainer import Trainer

    directory = RunDirectory(Path(config.run.dir))
    claimed = directory.path.is_dir()
    if claimed:
        directory.claim()  # held until the process ends
    _refuse_to_overwrite(directory, resume or overwrite)
    if resume and not directory.last.exists():
        raise RunError(f"{directory.path} holds no last.npz to resume from; leave out --resume")
    saved = checkpoint.load(directory.last) if resume else None
    text, _ = open_corpus(config.corpus)
    trainer = Trainer(config, text, threads)
    if saved is None:
        if not claimed:
            directory.claim()
            _refuse_to_overwrite(directory, overwrite)
        directory.create(config.to_yaml())
    else:
        trainer.restore(saved, f"run {directory.path}")
        directory.continue_from(config.to_yaml(), trainer.progress.log_bytes)
    return trainer, directory


def _refuse_to_overwrite(directory: RunDirectory, allowed: bool) -> None:
    if directory.holds_run() and not allowed:
        raise RunError(
            f"{directory.path} already holds a run: --resume continues it, --overwrite begins anew, "
            "--out DIR goes elsewhere"
        )


def _announce(trainer: Trainer, directory: RunDirectory) -> None:
    """Say on stderr what is about to be trained, and on what."""
    from charlm.data.lines import target_count

    config, text = trainer.config, trainer.corpus
    parts = ", ".join(f"{len(text.part(name)):,} {name}" for name in ("train", "validation", "test"))
    size = f"{target_count(text.whole):,} {config.corpus.unit}s in {len(text.whole):,} lines"
    if not text.by_line:
        size = f"{len(text.ids):,} {config.corpus.unit}s"
    click.echo(
        f"{shown(config.corpus.paths)}: {size} ({parts}), "
        f"vocabulary of {len(text.vocabulary):,}\n"
        f"{config.model.layers} x {config.model.hidden} {config.model.cell}, "
        f"{trainer.parameters.flat.size:,} parameters; {trainer.planned_steps:,} updates of "
        f"{trainer.streams.batch} x {trainer.streams.seq_len} {config.corpus.unit}s; run in {directory.path}",
        err=True,
    )
    if trainer.warning:
        click.echo(f"Warning: {trainer.warning}", err=True)
    if config.corpus.split[1] and not text.usable("validation"):
        click.echo(
            "Warning: the validation split is too short to score; best.npz goes by training loss",
            err=True,
        )
    if trainer.progress.step:
        click.echo(f"resumed behind update {trainer.progress.step:,}", err=True)


def _train(trainer: Trainer, directory: RunDirectory, max_steps: int | None, resume_command: str) -> None:
    """Run the loop to its end or to a signal, and say what to do next."""
    from charlm.cli.progress import Display
    from charlm.training.loop import Stopped, run

    received: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        # a second signal stops at once; what is on disk stays whole
        for heeded in before:
            signal.signal(heeded, signal.SIG_DFL)
        # unbuffered: the signal may have come in the middle of a line that is being written
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping after this update\n")

    # what the process was told to ignore (nohup, a shell's &) it goes on ignoring
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, on_signal)
    display = Display(trainer)
    finished = False
    try:
        for event in run(trainer, directory, lambda: bool(received), max_steps):
            display.show(event)
            if isinstance(event, Stopped):
                finished = event.finished
    finally:
        display.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    if not finished:
        with contextlib.suppress(OSError):  # nobody may be left to read it
            click.echo(f"stopped behind update {trainer.progress.step}; to go on: {resume_command}")
        sys.exit(_SIGNALS[received[0]] if received else 0)
    _summarise(trainer, directory)


def _summarise(trainer: Trainer, directory: RunDirectory) -> None:
    progress = trainer.progress
    minutes, seconds = divmod(round(progress.total.seconds), 60)
    click.echo(
        f"trained {trainer.epoch:g} epochs in {minutes} min {seconds} s "
        f"({progress.total.chars_per_s:,.0f} chars/s)"
    )
    if progress.skipped:
        click.echo(f"{progress.skipped} updates dropped: their loss or gradient was not a finite number")
    if progress.best is not None:
        what = "validation" if trainer.corpus.usable("validation") else "training"
        click.echo(f"best {what} loss {losses(progress.best)}, at update {progress.best_step}")
    click.echo(
        "next:\n"
        f'  charlm sample --checkpoint {directory.path} --prime "{_prime(trainer)}"\n'
        f"  charlm eval perplexity --checkpoint {directory.path}{_again(trainer.config)}"
    )


def _again(config: Config) -> str:
    """What a command needs behind it to read the text again, if that came from standard input."""
    return " < TEXT" if STANDARD_INPUT in config.corpus.paths else ""


def _prime(trainer: Trainer) -> str:
    """The text's first word, to begin a sample with; only if it is plain enough to be typed."""
    corpus = trainer.corpus
    words = corpus.vocabulary.text(corpus.ids[:40]).split()
    if not words or not words[0].isalnum():
        return ""
    return words[0] if len(words) > 1 and not corpus.by_line else words[0][:2]
