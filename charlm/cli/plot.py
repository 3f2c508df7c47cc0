"""charlm plot."""

from pathlib import Path
from typing import Literal

import click

import charlm
from charlm.cli.options import Command, FilePath, say_which
from charlm.cli.show import counted, say, shown_path
from charlm.config.limits import PICTURES

_HELP = """Draw the curves of one or several RUNs, which may still be trained.

Training and validation loss, gradient norm, learning rate and speed. Several
runs are drawn over each other, and named by the keys in which they differ.
RUN is a run directory; without any it is the newest run below ./runs.

\b
charlm plot
charlm plot runs/tales --out tales.pdf
charlm plot runs/a runs/b --x epochs --out both.svg
"""


@click.command(cls=Command, help=_HELP)
@click.argument("runs", nargs=-1, type=FilePath(), metavar="RUN...")
@click.option(
    "--out",
    type=FilePath(),
    metavar="FILE",
    help=f"The picture; its suffix says which kind: {', '.join(PICTURES)}.  "
    "[default: curves.png in RUN; of several runs, in the current directory]",
)
@click.option(
    "--x",
    "axis",
    type=click.Choice(["updates", "epochs", "minutes"]),
    default="updates",
    help="The horizontal axis; minutes of training alone.",
)
def plot(runs: tuple[Path, ...], out: Path | None, axis: Literal["updates", "epochs", "minutes"]) -> None:
    """Draw the curves of runs."""
    opened = [charlm.Run(run) for run in runs or (None,)]
    for path, run in zip(runs or (None,), opened, strict=True):
        say_which(path, run.path)
    out = charlm.plot(opened, out or (opened[0].path if len(opened) == 1 else Path()) / "curves.png", axis)
    lines = sum(len(run.metrics) for run in opened)
    say(f"{shown_path(out)}: {counted(len(opened), 'run')}, {counted(lines, 'log line')}")
