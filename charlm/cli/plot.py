"""charlm plot."""

from __future__ import annotations

from pathlib import Path

import click

from charlm.cli.options import FilePath
from charlm.cli.reading import warn
from charlm.cli.show import counted, shown_path
from charlm.system import blas

_SUFFIXES = (".png", ".svg", ".pdf")

_HELP = """Draw the curves of one or several RUNs, which may still be trained.

Training and validation loss, gradient norm, learning rate and speed. Several
runs are drawn over each other, and named by the keys in which they differ.
RUN is a run directory; without any it is the newest run below ./runs.

\b
charlm plot runs/tales --out tales.png
charlm plot runs/a runs/b --x epochs --out both.svg
"""


@click.command(help=_HELP, short_help="Draw the curves of runs as PNG, SVG or PDF.")
@click.argument("runs", nargs=-1, type=FilePath(), metavar="RUN...")
@click.option(
    "--out",
    type=FilePath(),
    metavar="FILE",
    required=True,
    help=f"The picture; its suffix says which kind: {', '.join(_SUFFIXES)}.",
)
@click.option(
    "--x",
    "axis",
    type=click.Choice(["updates", "epochs", "minutes"]),
    default="updates",
    help="What the curves are drawn over; minutes are those of training alone.",
)
def plot(runs: tuple[Path, ...], out: Path, axis: str) -> None:
    """Draw the curves of runs."""
    if out.suffix.lower() not in _SUFFIXES:
        raise click.UsageError(f"{shown_path(out)}: the suffix must be one of {', '.join(_SUFFIXES)}.")
    blas.prepare()
    from charlm.report import curves, history
    from charlm.runs.directory import find_run

    found = [find_run(run) for run in runs or (None,)]
    for run, directory in zip(runs or (None,), found, strict=True):
        if run != directory:
            click.echo(f"using {shown_path(directory)}", err=True)
    histories = [history.read(directory) for directory in found]
    warn(curves.write(out, histories, axis))
    lines = sum(one.lines for one in histories)
    click.echo(f"{shown_path(out)}: {counted(len(histories), 'run')}, {counted(lines, 'log line')}", err=True)
