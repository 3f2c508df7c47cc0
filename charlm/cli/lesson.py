"""charlm lesson."""

from pathlib import Path
from typing import get_args

import click

import charlm
from charlm.cli.bar import ReadingBar
from charlm.cli.options import Command, FilePath, load, say_which
from charlm.cli.show import say, shown_path
from charlm.config.limits import Language

_HELP = """Make one web page that steps through a trained network with its own numbers.

Each step of a text as a computation graph, forward and backward; every equation
with its numbers put in; how much of a gradient reaches each earlier step, and
along which path; the gates along the text; a check of any gradient. The text
can be changed. The file needs no network.

RUN is a run directory (its best checkpoint) or a checkpoint file; several runs
are shown on the same text. Without any, an RNN, an LSTM and both kinds of GRU
learn "hello" first, which takes some seconds.

\b
charlm lesson
charlm lesson runs/tales --text "The old man said"
charlm lesson runs/rnn runs/lstm runs/gru --out cells.html --language ko
"""


@click.command(cls=Command, help=_HELP)
@click.argument("runs", nargs=-1, type=FilePath(), metavar="[RUN]...")
@click.option(
    "--text",
    metavar="TEXT",
    help="The text that is read.  [default: the beginning of the validation split; without RUN, hello]",
)
@click.option(
    "--out",
    type=FilePath(),
    metavar="FILE",
    help="The page, an .html file.  [default: lesson.html, in RUN if there is one]",
)
@click.option(
    "--language",
    type=click.Choice(get_args(Language)),
    default="en",
    help="The language of the page, which can be switched in it.",
)
@click.pass_obj
def lesson(
    bar: ReadingBar, runs: tuple[Path, ...], text: str | None, out: Path | None, language: Language
) -> None:
    """Make the page."""
    models = [load(run) for run in runs]
    out = out or (models[0].path.parent if len(models) == 1 else Path()) / "lesson.html"
    charlm.lesson(models, out, text, language, bar.advance)
    for run, model in zip(runs, models, strict=True):
        say_which(run, model.path)
        if len(runs) > 1:
            size = sum(array.size for array in model.parameters.values())
            added = charlm.interface.added_bytes(size)
            say(f"{shown_path(run)} adds {added / 1e6:.2f} MB")
    say(f"{shown_path(out)}: {out.stat().st_size / 1e6:.2f} MB")
    click.echo("Open it in a browser. It needs no network.")
