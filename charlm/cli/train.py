"""charlm train."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from charlm.cli.options import set_option
from charlm.cli.reading import ReadingBar, corpus_option
from charlm.cli.show import duration, losses
from charlm.config import loading, schema
from charlm.config.schema import Config
from charlm.system import blas
from charlm.system.files import STANDARD_INPUT

if TYPE_CHECKING:
    from charlm.training.events import Event, Started, Stopped


_SIGNALS: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""Signals that end a run with a checkpoint, and the exit status each leaves."""

if hasattr(signal, "SIGHUP"):
    _SIGNALS[signal.SIGHUP] = _SIGNALS[signal.SIGTERM]


class _WithKeys(click.Command):
    """A command whose help ends with every key of the configuration."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("\nKeys of the configuration, with their defaults:\n\n")
        formatter.write(schema.reference(formatter.width) + "\n")


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
@click.option("--overwrite", is_flag=True, help="Start a new run in a directory that already holds one.")
@click.option(
    "--max-steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop after update N of the run, as if interrupted; --resume continues.",
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
    directory. Progress goes to stderr. Ctrl-C ends the update in progress, saves, and prints the
    command that continues.
    """
    config = loading.load(config_path, loading.parse_overrides(overrides))
    if corpus is not None:
        config = replace(config, corpus=loading.with_path(config.corpus, corpus))
    if out is not None:
        config = config.replace({"run.dir": str(out)})
    if not config.corpus.path:
        raise click.UsageError(
            f"no text to train on: set corpus.path in {config_path}, or give --corpus FILE."
        )
    blas.prepare(config.run.threads)
    from charlm.cli.progress import Display
    from charlm.training import session
    from charlm.training.events import Started, Stopped

    display, started, stopped = Display(), [], []

    with contextlib.closing(display), _signals() as received, contextlib.closing(ReadingBar()) as bar:

        def on_event(event: Event) -> None:
            if isinstance(event, Started):
                bar.close()  # the text has been read
                started.append(event)
            elif isinstance(event, Stopped):
                stopped.append(event)
            display.show(event)

        session.train(config, resume, overwrite, on_event, lambda: bool(received()), max_steps, bar.advance)
    _finish(started[0], stopped[0], received())


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], list[int]]]:
    """Within the block signals are noted, and given by the function; a second one ends the process."""
    received: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        # a second signal stops at once; what is on disk stays whole
        for handled in before:
            signal.signal(handled, signal.SIG_DFL)
        # unbuffered: the signal may have come in the middle of a line that is being written
        with contextlib.suppress(OSError):
            os.write(2, b"\nstopping after this update\n")

    # signals that the process ignores (nohup, a shell's &) stay ignored
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield lambda: received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _finish(started: Started, stopped: Stopped, received: list[int]) -> None:
    """Say what was done and what to do next; ends the process if the run was stopped."""
    config, path = started.config, shlex.quote(str(started.path))
    if not stopped.finished:
        resume = f"charlm train --config {path} --resume"
        with contextlib.suppress(OSError):  # nobody may be left to read it
            click.echo(f"stopped after update {stopped.step}; to continue: {resume}{_again(config)}")
        sys.exit(_SIGNALS[received[0]] if received else 0)
    click.echo(
        f"trained {stopped.epoch:g} epochs in {duration(stopped.seconds)} "
        f"({stopped.chars_per_s:,.0f} chars/s)"
    )
    if stopped.skipped:
        click.echo(f"{stopped.skipped} updates dropped: their loss or gradient was not a finite number")
    if stopped.best is not None:
        click.echo(f"best {stopped.best_of} loss {losses(stopped.best)}, at update {stopped.best_step}")
    click.echo(
        "next:\n"
        f'  charlm sample --checkpoint {path} --prime "{started.first_word}"\n'
        f"  charlm eval perplexity --checkpoint {path}{_again(config)}"
    )


def _again(config: Config) -> str:
    """What a command needs after it to read the text again, if that came from standard input."""
    return " < TEXT" if STANDARD_INPUT in config.corpus.paths else ""
