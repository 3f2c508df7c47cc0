"""charlm train."""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

import charlm
from charlm.cli.bar import ReadingBar
from charlm.cli.curve import validation_curve
from charlm.cli.options import Command, FilePath, config_option, corpus_option, minutes_option, set_option
from charlm.cli.progress import Display
from charlm.cli.show import counted, duration, losses, shell, short
from charlm.config import keys
from charlm.config.keys import Config
from charlm.config.reading import parse_overrides
from charlm.system.files import STANDARD_INPUT
from charlm.system.mpi import connect
from charlm.system.team import Team
from charlm.training.events import Event, Started, Stopped
from charlm.training.request import ask

_SIGNALS: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""Signals that end a run with a checkpoint, and the exit status each leaves."""

if hasattr(signal, "SIGHUP"):
    _SIGNALS[signal.SIGHUP] = _SIGNALS[signal.SIGTERM]
    _SIGNALS[signal.SIGUSR1] = 128 + signal.SIGUSR1


_TINY = 100
"""Characters of a text that is known by heart after training: a sample of it is greedy, and as long."""

_PICTURE = (("report",), ())
"""The command that shows a run in a picture: what stands before its directory, and after it."""


class _WithKeys(Command):
    """A command whose help ends with every key of the configuration."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("\nKeys of the configuration, with their defaults:\n\n")
        formatter.write(keys.reference(formatter.width) + "\n")


@click.command(cls=_WithKeys)
@config_option(
    "The YAML configuration, or the directory of a run.  [default: chosen for the text and the time]"
)
@set_option
@corpus_option
@minutes_option("5; with --config as train.epochs says")
@click.option("--out", type=FilePath(), metavar="DIR", help="Keep the run here (run.dir).")
@click.option("--resume", is_flag=True, help="Continue the run in its directory exactly where it stopped.")
@click.option("--overwrite", is_flag=True, help="Start a new run in a directory that already holds one.")
@click.option(
    "--init",
    "init_path",
    type=FilePath(),
    metavar="RUN",
    help="Begin with the weights of this run or checkpoint: its network, its vocabulary, another text.",
)
@click.option(
    "--extend-vocabulary",
    is_flag=True,
    help="With --init: characters that the weights lack get fresh ones; otherwise they are an error.",
)
@click.option(
    "--max-steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop after update N of the run, as if interrupted; --resume continues.",
)
@click.pass_obj
def train(
    bar: ReadingBar,
    config_path: Path | None,
    overrides: tuple[str, ...],
    corpus: str | None,
    minutes: float | None,
    out: Path | None,
    resume: bool,
    overwrite: bool,
    init_path: Path | None,
    extend_vocabulary: bool,
    max_steps: int | None,
) -> None:
    """Train a model on a text.

    With --corpus and no --config everything is chosen: the network and its training, for this text,
    this machine and the --minutes, 5 if none are given; --resume continues the run of that text.
    With --config, --minutes fits train.epochs.

    Writes config.yaml, metrics.jsonl, last.npz and best.npz (by validation loss) into the run's
    directory. Progress goes to stderr. Ctrl-C ends the update in progress, saves, and prints the
    command that continues; a second one stops at once.
    """
    begun = time.perf_counter()
    team = connect(sys.argv[1:])
    request = team.first(
        lambda: ask(
            config_path,
            parse_overrides(overrides),
            "`set`",
            begun,
            minutes,
            resume,
            corpus,
            out,
            overwrite=overwrite,
            init=init_path,
            extend_vocabulary=extend_vocabulary,
            max_steps=max_steps,
        )
    )
    received, started, stopped = list[int](), list[Started](), list[Stopped]()
    with contextlib.ExitStack() as held, contextlib.closing(Display()) as display:

        def on_event(event: Event) -> None:
            if isinstance(event, Started):
                bar.close()  # the text has been read
                # until now there was nothing to save: a signal ended the process at once
                held.enter_context(_signals(received, team))
                started.append(event)
            elif isinstance(event, Stopped):
                stopped.append(event)
            if team.is_first:
                display.show(event)

        charlm.interface.session.train(request, on_event, lambda: bool(received), bar.advance, team)
    if team.is_first:
        _finish(started[0], stopped[0])
    # one rank may have been asked for all
    asked = [number for numbers in team.gather(received) for number in numbers]
    if not stopped[0].finished:
        sys.exit(_SIGNALS[asked[0]] if asked else 0)


@contextlib.contextmanager
def _signals(received: list[int], team: Team) -> Iterator[None]:
    """Within the block signals are added to `received`; a second one ends the process.

    Under MPI or Slurm SIGUSR1 is among them: it can be sent some time before the job must end.
    """
    numbers = [*_SIGNALS]
    if team.size == 1 and "SLURM_JOB_ID" not in os.environ:
        numbers = [number for number in numbers if number != getattr(signal, "SIGUSR1", None)]

    def on_signal(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        # a second signal stops at once; what is on disk stays whole
        for handled in before:
            signal.signal(handled, signal.SIG_DFL)
        # unbuffered: the signal may have come in the middle of a line that is being written
        with contextlib.suppress(OSError):
            if team.is_first:
                os.write(2, b"\nstopping after this update; once more stops at once\n")

    # signals that the process ignores (nohup, a shell's &) stay ignored
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _finish(started: Started, stopped: Stopped) -> None:
    """Say what was done and what to do next."""
    config, path = started.config, started.path
    resume = shell("charlm", "train", "--config", path, "--resume")
    if not stopped.finished:
        with contextlib.suppress(OSError):  # nobody may be left to read it
            click.echo(f"stopped after update {stopped.step:,}; to continue: {resume}{_again(config)}")
        return
    planned = stopped.epoch * started.planned_steps / max(1, stopped.step)
    epochs = f"{short(stopped.epoch)} of {_epochs(planned)}"
    if stopped.out_of_patience:
        click.echo(
            f"ended early, after update {stopped.step:,} ({epochs}): "
            f"{counted(config.train.patience, 'validation')} in a row without improvement (train.patience)\n"
            f"to go on: {resume} --set train.patience=0{_again(config)}"
        )
    elif started.step == stopped.step:
        networks = config.train.generations
        more = f"train.epochs={short(min(2 * config.train.epochs, 1e6))}"
        if networks > 1:  # more epochs are for the last network only
            more = f"train.generations={networks + 1}"
        click.echo(f"this run is finished: {epochs}\nto train longer: {resume} --set {more}{_again(config)}")
    if started.step < stopped.step:
        click.echo(
            f"trained {_epochs(stopped.epoch)} in {duration(stopped.seconds)} "
            f"({stopped.chars_per_s:,.0f} chars/s)"
        )
    if stopped.skipped:
        dropped = counted(stopped.skipped, "update")
        click.echo(f"{dropped} dropped: the loss or gradient was not a finite number")
    if stopped.best is not None:
        scored, held = started.validated
        part = f", on the first {scored:,} of {held:,} {config.corpus.unit}s" if scored < held else ""
        click.echo(
            f"best {stopped.best_of} loss {losses(stopped.best)}, at update {stopped.best_step:,}{part}"
        )
        if stopped.whole is not None:
            click.echo(f"loss of that model on all {held:,}: {losses(stopped.whole)}")
    on_terminal = sys.stdout.isatty()
    if on_terminal:
        columns = shutil.get_terminal_size().columns
        for row in validation_curve(_validations(path), sys.stdout.encoding, columns):
            click.echo(row)
    click.echo("next:")
    for words, again in _next(started, stopped):
        click.echo(f"  {shell('charlm', *words)}{again}")
    if on_terminal:
        before, after = _PICTURE
        click.echo(f"see it: {shell('charlm', *before, path, *after)}")


def _next(started: Started, stopped: Stopped) -> Iterator[tuple[tuple[str, ...], str]]:
    """The words of each command to go on with, and the rest of its line."""
    config, run = started.config, ("--checkpoint", str(started.path))
    text: tuple[str, ...] = ("--prime", started.first_word) if started.first_word else ()
    if started.lines is not None:
        text = ("--num", "5")
    elif started.units <= _TINY:
        text += ("--greedy", "--length", str(max(1, started.units - len(started.first_word))))
    yield ("sample", *run, *text), ""
    yield ("eval", "perplexity", *run), _again(config)
    scored, held = started.validated
    if scored < held and stopped.whole is None:
        yield ("eval", "perplexity", *run, "--split", "validation"), _again(config)
    if any(
        config.model.cell == cell.partition("-")[0] for cell in charlm.interface.CELLS
    ):  # the page has no others
        yield ("export", *run, f"./{started.path.resolve().name}.html"), ""


def _validations(run: Path) -> list[tuple[float, float]]:
    """The validations in the log of a run: epochs, and losses in nats per character."""
    try:
        lines = charlm.Run(run).metrics
    except charlm.CharlmError:  # no curve is no reason to fail after all is done
        return []
    return [(line["epoch"], line["validation_loss"]) for line in lines if line.get("validation_loss")]


def _epochs(epochs: float) -> str:
    """`1 epoch`, `0.25 epochs`."""
    return f"{short(epochs)} epoch{'' if short(epochs) == '1' else 's'}"


def _again(config: Config) -> str:
    """The end of a command that must read the text from standard input again."""
    return " < TEXT" if STANDARD_INPUT in config.corpus.paths else ""
