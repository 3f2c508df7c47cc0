"""charlm sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from charlm.cli.options import checkpoint_option
from charlm.cli.reading import open_corpus, with_encoding
from charlm.errors import CharlmError, CorpusError
from charlm.system import blas as machine
from charlm.system.files import STANDARD_INPUT

if TYPE_CHECKING:
    from charlm.arrays import Ids
    from charlm.data.vocabulary import Vocabulary
    from charlm.runs.checkpoint import Checkpoint

_LINES = 10
"""Lines that a model of lines generates unless told otherwise."""


@click.command()
@checkpoint_option
@click.option("--prime", metavar="TEXT", help="Text to go on from; printed first.")
@click.option(
    "--prime-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with the text to go on from, or - for standard input.",
)
@click.option(
    "--length",
    type=click.IntRange(min=0),
    default=500,
    help="Characters to generate, the prime not included; of a model of lines, in each line.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    help="Below 1 is safer, above 1 wilder.",
)
@click.option(
    "--top-k", type=click.IntRange(min=0), default=0, help="Draw from the K likeliest; 0: from all."
)
@click.option(
    "--top-p",
    type=click.FloatRange(min=0, max=1, min_open=True),
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
    help=f"Samples to generate.  [default: 1, or {_LINES} lines]",
)
@click.option("--seed", type=click.IntRange(min=0), help="Makes the samples reproducible.  [default: random]")
@click.option(
    "--novelty",
    is_flag=True,
    help="Say how much of what was generated stands in the training text, in stretches of 20 characters.",
)
@click.option(
    "--raw", is_flag=True, help="Write units as they are, and nothing besides: any bytes, jamo in parts."
)
@click.option(
    "--encoding", metavar="NAME", help="Encoding of the prime's file.  [default: the training text's]"
)
def sample(
    checkpoint_path: Path | None,
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
    encoding: str | None,
) -> None:
    """Generate text, one character at a time, written out as it is drawn.

    Prints the prime, then the text. Without a prime, a text begins as after a line break, if the
    model knows line breaks. A model of lines generates whole lines, and says how many of them
    stand in its training text.
    """
    machine.prepare()
    import numpy as np

    from charlm.data.units import LINE_BREAK
    from charlm.inference.generate import Sampling, generate, generate_until
    from charlm.runs import checkpoint
    from charlm.runs.directory import find_checkpoint

    if prime is not None and prime_file is not None:
        raise click.UsageError("--prime and --prime-file exclude each other.")
    loaded = checkpoint.load(find_checkpoint(checkpoint_path))
    vocabulary, by_line = loaded.vocabulary, loaded.config.corpus.mode == "lines"
    if by_line and (novelty or stop_after_lines):
        option = "--novelty" if novelty else "--stop-after-lines"
        raise click.UsageError(
            f"{option} is for texts: this model generates single lines, and counts new ones."
        )
    if stop_after_lines and vocabulary.line_break is None:
        raise click.UsageError("--stop-after-lines: the model knows no line breaks.")
    codes = _prime(loaded, prime, prime_file, encoding)
    begun = np.array([LINE_BREAK], np.uint32)
    if by_line:
        if LINE_BREAK in codes:
            raise click.UsageError("A prime for a model of lines cannot hold a line break.")
        before = np.concatenate([begun, codes])
    else:
        before = codes if len(codes) or vocabulary.line_break is None else begun
    primed = vocabulary.encode(before, "the prime")
    _warn_of_unknown(vocabulary, codes)
    stopping = vocabulary.encode(vocabulary.units.of_text(stop or ""), "--stop")
    if vocabulary.unknown in stopping:
        raise click.UsageError("--stop holds what the model never generates: characters unknown to it.")
    choice = Sampling(temperature, top_k, top_p, greedy)
    lines = 1 if by_line else stop_after_lines or 0
    samples = []
    not_first = vocabulary.line_break if by_line and not len(codes) else None  # no line is empty
    for number, sequence in enumerate(np.random.SeedSequence(seed).spawn(num or (_LINES if by_line else 1))):
        if number and not (by_line or raw):
            click.echo()  # an empty line between samples
        show, finish = _writer(vocabulary, raw)
        for code in codes:
            show(int(code))
        rng = np.random.default_rng(sequence)
        ids = generate(loaded.model, loaded.parameters, primed, choice, rng, vocabulary.unknown, not_first)
        generated = []
        for drawn in generate_until(ids, length, stopping, lines, vocabulary.line_break):
            generated.append(drawn)
            if raw or not (by_line and drawn == vocabulary.line_break):
                show(int(vocabulary.codes[drawn]))
        finish()
        # of a line all is compared, of a text what was generated
        samples.append(
            vocabulary.units.text(np.append(codes if by_line else [], vocabulary.codes[generated]))
        )
    if novelty or by_line:
        _compare(loaded, samples)


def _prime(loaded: Checkpoint, prime: str | None, file: Path | None, encoding: str | None) -> Ids:
    """The codes `[N]` to go on from."""
    import numpy as np

    from charlm.config.build import build_pipeline
    from charlm.data.sources import Source
    from charlm.data.units import LINE_BREAK

    pipeline = build_pipeline(with_encoding(loaded.config.corpus, encoding))
    if file is None:
        return pipeline.units.of_text(prime or "")
    pieces = [piece.codes for piece in pipeline.pieces([Source(str(file), "prime")])]
    codes = np.concatenate([*pieces, np.zeros(0, np.uint8)])
    if pipeline.by_line and len(codes) and codes[-1] == LINE_BREAK:
        codes = codes[:-1]
    return codes


def _warn_of_unknown(vocabulary: Vocabulary, codes: Ids) -> None:
    import numpy as np

    named = vocabulary.lacking(*np.unique(codes, return_counts=True)) if vocabulary.has_unknown else ""
    if named:
        click.echo(f"Warning: the prime holds what is unknown to the model, read as <unk>: {named}", err=True)


def _writer(vocabulary: Vocabulary, raw: bool) -> tuple[Callable[[int], None], Callable[[], None]]:
    """What shows one code, and what shows the rest at the end."""
    units = vocabulary.units
    if raw:

        def show_raw(code: int) -> None:
            click.echo(bytes([code]) if units.is_byte else chr(code), nl=False)

        return show_raw, lambda: None
    writer = units.writer()
    return (
        lambda code: click.echo(writer.write(code), nl=False),
        lambda: click.echo(writer.finish()),
    )


def _compare(loaded: Checkpoint, samples: list[str]) -> None:
    """Say on stderr how much of the samples stands in the training text."""
    from charlm.inference import novelty

    corpus = loaded.config.corpus
    try:
        if STANDARD_INPUT in corpus.paths:
            raise CorpusError("the training text came from standard input")
        text, _ = open_corpus(corpus, loaded.vocabulary, loaded.corpus["digest"])
        pieces = novelty.shown_pieces(text.part("train"), loaded.vocabulary)
        if text.by_line:
            lines = [sample.removesuffix("\n") for sample in samples if sample.endswith("\n")]
            known = novelty.lines_that_stand_in(pieces, set(lines))
            old = sum(line in known for line in lines)
            cut = f", {len(samples) - len(lines)} cut off" if len(lines) < len(samples) else ""
            click.echo(
                f"{len(samples)} lines: {len(lines) - old} new, {old} in the training text{cut}", err=True
            )
            return
        stretches = [stretch for sample in samples for stretch in novelty.stretches_of(sample)]
        known = novelty.stretches_that_stand_in(pieces, set(stretches))
        old = sum(stretch in known for stretch in stretches)
        if not stretches:
            raise CorpusError(f"the sample is shorter than {novelty.STRETCH} characters")
        share, many = (
            100 * old / len(stretches),
            f"{len(stretches):,} stretches of {novelty.STRETCH} characters",
        )
        click.echo(f"{share:.1f} % of {many} stand in the training text", err=True)
    except CharlmError as error:
        click.echo(f"Warning: nothing to compare with: {error}", err=True)
