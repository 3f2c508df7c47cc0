"""charlm sample."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import IO, BinaryIO

import click

import charlm
from charlm.cli.bar import ReadingBar
from charlm.cli.options import (
    Command,
    FilePath,
    Number,
    checkpoints_option,
    encoding_option,
    given,
    load,
    say_which_of,
)
from charlm.cli.show import counted, say, shown_path, visible, warn
from charlm.config.reading import with_encoding
from charlm.system.files import write_file

_LINES = 10
"""Lines that a model of lines generates by default."""


@click.command(cls=Command)
@checkpoints_option(" with --mean")
@click.option("--prime", metavar="TEXT", help="Text to continue; printed first.")
@click.option(
    "--prime-file",
    type=FilePath(),
    metavar="FILE",
    help="A file with the text to continue, or - for standard input.",
)
@click.option(
    "--length",
    type=click.IntRange(min=0),
    default=500,
    help="Characters to generate, the prime not included; of a model of lines, in each line.",
)
@click.option(
    "--temperature",
    type=Number(min=0, min_open=True, instead="--greedy takes the likeliest every time"),
    default=1.0,
    help="Below 1 is safer, above 1 wilder.",
)
@click.option(
    "--top-k", type=click.IntRange(min=0), default=0, help="Draw from the K likeliest; 0: from all."
)
@click.option(
    "--top-p",
    type=Number(min=0, max=1, min_open=True),
    default=1.0,
    help="Draw from the fewest that have probability P together; 1: from all.",
)
@click.option("--greedy", is_flag=True, help="Take the likeliest every time.")
@click.option("--stop", metavar="TEXT", help="End a sample once it has generated this text.")
@click.option(
    "--stop-after-lines",
    type=click.IntRange(min=1),
    metavar="N",
    help="End a sample once it has generated N line breaks.",
)
@click.option(
    "--num",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Samples to generate.  [default: 1, or {_LINES} lines, with --greedy 1]",
)
@click.option("--seed", type=click.IntRange(min=0), help="Makes the samples reproducible.  [default: random]")
@click.option(
    "--novelty",
    is_flag=True,
    help="Say how much of what was generated occurs in the training text, in stretches of 20 characters.",
)
@click.option(
    "--raw", is_flag=True, help="Write units as they are, and nothing else: any bytes, jamo in parts."
)
@click.option(
    "--out", type=FilePath(), metavar="FILE", help="Write the text into this file, in UTF-8, instead."
)
@encoding_option("the prime's file")
@click.pass_obj
def sample(
    bar: ReadingBar,
    checkpoints: Sequence[Path],
    mean: bool,
    prime: str | None,
    prime_file: Path | None,
    length: int,
    temperature: float,
    top_k: int,
    top_p: float,
    greedy: bool,
    stop: str | None,
    stop_after_lines: int | None,
    num: int | None,
    seed: int | None,
    novelty: bool,
    raw: bool,
    out: Path | None,
    encoding: str | None,
) -> None:
    """Generate text, one character at a time, written out as it is drawn.

    Prints the prime, then the text. Without a prime, a text begins as after a line break, if the
    model knows line breaks. A model of lines generates whole lines, and says how many of them
    are in its training text.
    """
    if prime is not None and prime_file is not None:
        raise click.UsageError("--prime and --prime-file exclude each other.")
    warn(_remarks(greedy, num, prime_file is not None, {"--prime": prime or "", "--stop": stop or ""}))
    model = load(*checkpoints, mean=mean)
    sampler, is_byte = model.sampler, model.config.corpus.unit == "byte"
    lines = sampler.writes_lines
    if lines and (novelty or stop_after_lines):
        why = "the new ones are always counted" if novelty else "--num says how many"
        option = "--novelty" if novelty else "--stop-after-lines"
        raise click.UsageError(f"{option} is for texts: this model generates lines, and {why}.")
    if prime_file is None:
        codes = sampler.codes(prime or "")
    else:
        codes = sampler.codes_of_file(prime_file, with_encoding(model.config.corpus, encoding), say)
    choice = charlm.interface.Sampling(temperature, top_k, top_p, greedy)
    count = 1 if greedy else num or (_LINES if lines else 1)
    samples = charlm.interface.draw(
        model, codes, length, choice, stop or "", seed, stop_after_lines or 0, count
    )
    texts = []

    def write(stream: IO[str], progress: Callable[[str, int], object] = lambda what, size: None) -> None:
        """Write the samples as they are drawn, and keep them for the comparison."""
        shown = partial(visible, keep="\n\t") if stream.isatty() else str  # no model may steer a terminal
        for number, drawn in enumerate(samples):
            if not number:
                say_which_of(checkpoints, model.paths)
            elif not (lines or raw):
                click.echo(_heading(number + 1, model.vocabulary), stream)
            generated: list[int] = []
            every = chain(codes.tolist(), _kept(drawn, generated, progress))
            if raw:
                for code in every:
                    click.echo(bytes([code]) if is_byte else chr(code), stream, nl=False)
            else:
                for text in sampler.written(every):
                    click.echo(shown(text), stream, nl=False)
                click.echo(file=stream)
            # a line is compared whole, of a text what was generated
            if not lines or generated[-1:] == [ord("\n")]:
                texts.append("".join(sampler.written([*codes.tolist(), *generated] if lines else generated)))

    if out is None or str(out) == "-":
        write(sys.stdout)
    else:
        bar.advance("total", count * length)
        write_file(out, partial(_as_text, partial(write, progress=bar.advance)))
        bar.close()
        what = counted(count, "line" if lines else "sample")
        say(f"{shown_path(out)}: {what}, {counted(out.stat().st_size, 'byte')}")
    if novelty or lines:
        _compare(model, texts, count - len(texts), bar)


def _as_text(write: Callable[[IO[str]], object], stream: BinaryIO) -> None:
    """Write text into a stream of bytes, in UTF-8."""
    text = TextIOWrapper(stream, "utf-8", newline="\n")
    write(text)
    text.detach()


def _remarks(greedy: bool, num: int | None, reads_file: bool, texts: Mapping[str, str]) -> Iterator[str]:
    """Warnings about options without effect, and about line breaks that a shell left as typed in `texts`."""
    for name in ("temperature", "top_k", "top_p"):
        if greedy and given(name):
            yield f"--{name.replace('_', '-')} has no effect with --greedy"
    if greedy and (num or 1) > 1:
        yield "--num has no effect with --greedy, which writes the same every time"
    if given("encoding") and not reads_file:
        yield "--encoding has no effect without --prime-file"
    for option, text in texts.items():
        if "\\n" in text:
            quoted = text.replace("'", "\\'")
            yield f"{option} holds a backslash and an n, not a line break, which is {option} $'{quoted}'"


_RULES = "─═━│"
"""Characters for a line between samples; the first that the model cannot write is used."""


def _heading(number: int, vocabulary: Sequence[str]) -> str:
    """The line between two samples; no text of a model with this vocabulary looks like it."""
    rule = next((rule for rule in _RULES if rule not in vocabulary), _RULES[0]) * 8
    return f"{rule} {number} {rule}"


def _kept(codes: Iterable[int], kept: list[int], progress: Callable[[str, int], object]) -> Iterator[int]:
    """The codes; each is added to `kept` and counted by `progress`."""
    for code in codes:
        kept.append(code)
        progress("writing", 1)
        yield code


def _compare(model: charlm.LanguageModel, texts: Sequence[str], cut_off: int, bar: ReadingBar) -> None:
    """Say on stderr how much of the samples occurs in the training text, but for lines that were cut off."""
    try:
        novelty = model.novelty(texts, bar.advance)
    except charlm.CharlmError as error:
        bar.close()
        warn([f"nothing to compare with: {error}"])
        return
    bar.close()
    if model.sampler.writes_lines:
        cut = f", {cut_off} cut off" if cut_off else ""
        lines, new = counted(len(texts) + cut_off, "line"), novelty.count - novelty.known
        say(f"{lines}: {new:,} new, {novelty.known:,} in the training text{cut}")
    else:
        share = 100 * novelty.known / novelty.count
        many = f"{novelty.count:,} stretch{'' if novelty.count == 1 else 'es'}"
        say(f"{share:.1f} % of {many} of {charlm.interface.STRETCH} characters occur in the training text")
