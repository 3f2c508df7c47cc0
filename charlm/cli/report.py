"""charlm report."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import click

from charlm.cli.options import FilePath, say_which
from charlm.cli.reading import ReadingBar, warn
from charlm.cli.show import say, shown_path, visible
from charlm.system import blas

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


@click.command(help=_HELP, short_help="Make a web page that shows what a model learned.")
@click.argument("run", required=False, type=FilePath())
@click.option(
    "--text",
    metavar="FILE",
    help="The text to look at, or - for standard input.  [default: the validation split]",
)
@click.option(
    "--encoding", metavar="NAME", help="Encoding of the text of --text.  [default: the training text's]"
)
@click.option(
    "--length", type=click.IntRange(2, 20_000), default=5_000, metavar="N", help="Characters to show of it."
)
@click.option(
    "--out", type=FilePath(), metavar="FILE", help="The page, an .html file.  [default: report.html in RUN]"
)
def report(run: Path | None, text: str | None, encoding: str | None, length: int, out: Path | None) -> None:
    """Make the page."""
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"{shown_path(out)}: the suffix must be .html.")
    threads = blas.prepare()
    from charlm.config.loading import with_encoding, with_path
    from charlm.export import assembly
    from charlm.inference.held_out import of_checkpoint
    from charlm.report import page
    from charlm.runs import checkpoint
    from charlm.runs.directory import find_checkpoint, find_run

    file = find_checkpoint(find_run(None) if run is None else run)
    loaded = checkpoint.load(file)
    corpus = loaded.config.corpus
    another = None
    if text is not None:
        another = with_encoding(with_path(replace(corpus, validation="", test=""), text), encoding)
    elif encoding is not None:
        warn(["--encoding has no effect without --text"])
    with contextlib.closing(ReadingBar()) as reading:
        read = of_checkpoint(loaded, another, reading.advance, "--text")
        reading.close()
        say_which(run, file)
        warn(read.warnings)
        split = "training split, which it has learned" if read.split == "train" else f"{read.split} split"
        source = f"the {split}" if read.split else "the text" if text in (None, "-") else visible(text)
        made = page.report(loaded, file.parent, read, source, length, threads, reading.advance)
    out = out or file.parent / "report.html"
    assembly.write(out, made.html)
    warn(made.remarks)
    say(f"{shown_path(out)}: {out.stat().st_size / 1e6:.2f} MB")
    click.echo("Open it in a browser. It needs no network.")
