"""charlm plot."""

from __future__ import annotations

from pathlib import Path

import click

from charlm.cli.options import FilePath
from charlm.cli.reading import warn
from charlm.cli.show import counted, say, shown_path
from charlm.report import curves, history
from charlm.runs.directory import find_run

_HELP = """Draw the curves of one or several RUNs, which may still be trained.

Training and validation loss, gradient norm, learning rate and speed. Several
runs are drawn over each other, and named by the keys in which they differ.
RUN is a run directory; without any it is the newest run below ./runs.

\b
charlm plot
charlm plot runs/tales --out tales.pdf
charlm plot runs/a runs/b --x epochs --out both.svg
"""


@click.command(help=_HELP)
@click.argument("runs", nargs=-1, type=FilePath(), metavar="RUN...")
@click.option(
    "--out",
    type=FilePath(),
    metavar="FILE",
    help=f"The picture; its suffix says which kind: {', '.join(curves.SUFFIXES)}.  "
    "[default: curves.png in RUN; of several runs, in the current directory]",
)
@click.option(
    "--x",
    "axis",
    type=click.Choice(["updates", "epochs", "minutes"]),
    default="updates",
    help="The horizontal axis; minutes of training alone.",
)
def plot(runs: tuple[Path, ...], out: Path | None, axis: str) -> None:
    """Draw the curves of runs."""
    if out is not None and out.suffix.lower() not in curves.SUFFIXES:
        raise click.UsageError(f"{shown_path(out)}: the suffix must be one of {', '.join(curves.SUFFIXES)}.")
    directories = [find_run(run) for run in runs or (None,)]
    for run, directory in zip(runs or (None,), directories, strict=True):
        if run != directory:
            say(f"using {shown_path(directory)}")
    histories = [history.read(directory) for directory in directories]
    out = out or (directories[0] if len(directories) == 1 else Path()) / "curves.png"
    warn(curves.write(out, histories, axis))
    lines = sum(one.lines for one in histories)
    say(f"{shown_path(out)}: {counted(len(histories), 'run')}, {counted(lines, 'log line')}")
