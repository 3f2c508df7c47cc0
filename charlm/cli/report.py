"""charlm report."""

from pathlib import Path

import click

from charlm.cli.bar import ReadingBar
from charlm.cli.options import Command, FilePath, encoding_option, load, say_which
from charlm.cli.show import say, shown_path
from charlm.config.limits import LENGTH, LONGEST

_HELP = """Make one web page of pictures of the trained model of RUN.

Its curves; how far back its gradient reaches; a text, each character shaded by
how much it surprises the model; the same text by what any hidden unit holds,
with the units that follow quotes, brackets or line breaks; the characters as
the first layer sees them. The file needs no network.

RUN is a run directory (its best checkpoint) or a checkpoint file; without it,
it is the newest run below ./runs.

\b
charlm report
charlm report runs/tales --text letter.txt --out letter.html
"""


@click.command(cls=Command, help=_HELP)
@click.argument("run", required=False, type=FilePath())
@click.option(
    "--text",
    metavar="FILE",
    help="The text to look at, or - for standard input.  [default: the validation split]",
)
@encoding_option("the text of --text")
@click.option(
    "--length", type=click.IntRange(2, LONGEST), default=LENGTH, metavar="N", help="Characters to show of it."
)
@click.option(
    "--out", type=FilePath(), metavar="FILE", help="The page, an .html file.  [default: report.html in RUN]"
)
@click.pass_obj
def report(
    bar: ReadingBar, run: Path | None, text: str | None, encoding: str | None, length: int, out: Path | None
) -> None:
    """Make the page."""
    model = load(run)
    out = model.report(out, text, length, encoding, bar.advance)
    say_which(run, model.path)
    say(f"{shown_path(out)}: {out.stat().st_size / 1e6:.2f} MB")
    click.echo("Open it in a browser. It needs no network.")
