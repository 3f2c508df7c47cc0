"""The class of all commands, the options that several share, and the types of their values."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

import charlm
from charlm.cli.bar import ReadingBar
from charlm.cli.show import say, shell, shown_path, warn
from charlm.runs.directory import find_checkpoint
from charlm.system import blas
from charlm.system.files import expanded
from charlm.system.mpi import connected
from charlm.training.request import MINUTES

if TYPE_CHECKING:
    from charlm.system.team import Team


class FilePath(click.Path):
    """A path, which cannot be empty. A leading `~` is a home directory: shells leave `--out=~/a` as it is."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; an empty one would be the current directory."""
        if not str(value):
            self.fail("the path is empty", param, ctx)
        return super().convert(expanded(Path(value)), param, ctx)


class Number(click.FloatRange):
    """A finite number within limits; `instead` is added to the message about any other number."""

    def __init__(self, instead: str = "", **limits: Any) -> None:
        super().__init__(**limits)
        self._instead = f" ({instead})" if instead else ""

    def fail(
        self, message: str, param: click.Parameter | None = None, ctx: click.Context | None = None
    ) -> NoReturn:
        """Refuse a number."""
        super().fail(f"{message.rstrip('.')}{self._instead}.", param, ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; NaN passes every comparison with a limit."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number", param, ctx)
        return number


class Command(click.Command):
    """A command of charlm.

    While it runs, its context's object is a `ReadingBar`, and Python's warnings are lines on stderr.
    A message about an argument too many names what is meant.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with a hint."""
        option = next((one for one in ("--corpus", "--text") if one in args), "")
        files = list(takewhile(os.path.exists, args[args.index(option) + 1 :])) if option else []
        suffixes = {os.path.splitext(file)[1] for file in files}
        if len(files) > 1 and len(suffixes) == 1 and suffixes != {""}:
            raise _several(option, files, ctx)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if type(error) is not click.UsageError or "extra argument" not in error.message:
                raise
            if len(files) > 1:
                raise _several(option, files, ctx) from error
            every = {option for parameter in self.params for option in parameter.opts}
            options = [o for o in ("--prime", "--config", "--checkpoint", "--corpus") if o in every]
            if not options:
                raise
            words = f"{error.message.rstrip('.')}: name it with {' or '.join(options)}"
            raise click.UsageError(words, ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, whose process is charlm's own."""
        blas.claim()
        with contextlib.closing(ReadingBar()) as ctx.obj, shown_warnings(ctx.obj):
            return super().invoke(ctx)


@contextlib.contextmanager
def shown_warnings(bar: ReadingBar) -> Iterator[None]:
    """Show the warnings that the block causes as warnings of a command, if this is the first rank."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        bar.close()
        if connected().is_first:
            warn([str(message)])

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def _several(option: str, files: Sequence[str], ctx: click.Context) -> click.UsageError:
    """The error about several `files` behind an option that takes one."""
    return click.UsageError(
        f"{option} takes one path, and {len(files)} follow it: if the shell made them of a pattern, "
        f"write that in quotes, such as {option} {shell(_pattern(files))}",
        ctx,
    )


def _pattern(files: Sequence[str]) -> str:
    """A pattern for files that a shell may have put in its place."""
    directory, *others = {os.path.dirname(file) for file in files}
    suffix, *further = {os.path.splitext(file)[1] for file in files}
    return os.path.join("texts" if others else directory, "*" if further else f"*{suffix}")


_CHECKPOINT = "A checkpoint file, a run directory (its best), or a directory of runs (its newest)"

checkpoint_option = click.option(
    "--checkpoint",
    "checkpoint_path",
    type=FilePath(),
    metavar="PATH",
    help=f"{_CHECKPOINT}.  [default: ./runs]",
)


def checkpoints_option(several: str) -> Callable[[Any], Any]:
    """The options `--checkpoint`, with what its help says of `several`, and `--mean`."""
    one = click.option(
        "--checkpoint",
        "checkpoints",
        type=FilePath(),
        multiple=True,
        metavar="PATH",
        help=f"{_CHECKPOINT}; may be repeated{several}.  [default: ./runs]",
    )
    mean = click.option(
        "--mean", is_flag=True, help="Predict with the mean of the probabilities of all --checkpoint."
    )
    return lambda command: one(mean(command))


def load(*paths: Path | None, mean: bool = False, team: Team | None = None) -> charlm.LanguageModel:
    """The model of these checkpoints or runs; None is the newest run.

    They are looked for before NumPy is imported, which takes longer.
    """
    if len(paths) > 1 and not mean:
        raise click.UsageError("several --checkpoint: add --mean for the mean of their probabilities.")
    files = connected().first(lambda: [find_checkpoint(path) for path in paths or (None,)])
    return charlm.load(files, team=team)


corpus_option = click.option(
    "--corpus",
    metavar="FILE",
    help="This text instead of corpus.path: a file, a directory, a pattern, or - for standard input.",
)

set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the configuration, such as model.hidden=256; may be repeated.",
)


def minutes_option(default: str = f"{MINUTES:g}") -> Callable[[Any], Any]:
    """The option `--minutes`, with the default that its help states."""
    return click.option(
        "--minutes",
        type=Number(min=0.01, max=100_000),
        metavar="M",
        help=f"How long the whole command takes.  [default: {default}]",
    )


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


def config_option(help_: str, multiple: bool = False) -> Callable[[Any], Any]:
    """The option `--config` with this help; a command gets it as `config_path`, or as several `configs`."""
    name = "configs" if multiple else "config_path"
    return click.option("--config", name, type=FilePath(), multiple=multiple, metavar="FILE", help=help_)


def encoding_option(text: str) -> Callable[[Any], Any]:
    """The option `--encoding` of a `text` that the command may read instead of the training text."""
    return click.option(
        "--encoding", metavar="NAME", help=f"Encoding of {text}.  [default: the training text's]"
    )


def say_which(path: Path | None, used: Path) -> None:
    """Say on stderr which run or checkpoint is used, if `path` names neither it nor its run."""
    if path not in ((used, used.parent) if used.is_file() else (used,)):
        say(f"using {shown_path(used)}")


def say_which_of(checkpoints: Sequence[Path | None], used: Sequence[Path]) -> None:
    """Say which are used, as `say_which` does, where several can be named."""
    named = checkpoints or [None]
    for path, file in zip(named, used, strict=True):
        say_which(path, file)


def given(name: str) -> bool:
    """Whether the command line holds this option, by its parameter's name."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
