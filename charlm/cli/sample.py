"""charlm sample."""

from __future__ import annotations

from pathlib import Path

import click

from charlm import machine
from charlm.cli.options import checkpoint_option


@click.command()
@checkpoint_option
@click.option("--prime", metavar="TEXT", help="Text to go on from; printed first.")
@click.option(
    "--prime-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with the text to go on from.",
)
@click.option(
    "--length",
    type=click.IntRange(min=0),
    default=500,
    help="Characters to generate, the prime not included.",
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
@click.option("--num", type=click.IntRange(min=1), default=1, help="Samples to generate.")
@click.option("--seed", type=click.IntRange(min=0), help="Makes the samples reproducible.  [default: random]")
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
    num: int,
    seed: int | None,
) -> None:
    """Generate text, one character at a time, written out as it is drawn.

    Prints the prime, then the text. Without a prime, a text begins as after a line break.
    """
    machine.prepare()
    import numpy as np

    from charlm import checkpoint
    from charlm.rundir import find_checkpoint
    from charlm.sample import Choice, generate, generate_until
    from charlm.text.corpus import read_bytes

    if prime is not None and prime_file is not None:
        raise click.UsageError("--prime and --prime-file exclude each other.")
    loaded = checkpoint.load(find_checkpoint(checkpoint_path))
    vocabulary = loaded.vocabulary
    units = vocabulary.units
    if prime_file is not None:
        codes = units.of_bytes(read_bytes(prime_file), f"prime {prime_file}")
    else:
        codes = units.of_text(prime or "")
    shown, before = vocabulary.encode(codes, "the prime"), codes
    if not len(shown):
        before = np.array([code for code in (ord("\n"),) if code in vocabulary.codes], np.uint32)
    primed = vocabulary.encode(before, "the prime")
    stopping = vocabulary.encode(units.of_text(stop or ""), "--stop")
    choice = Choice(temperature, top_k, top_p, greedy)
    for number, sequence in enumerate(np.random.SeedSequence(seed).spawn(num)):
        if number:
            click.echo()  # an empty line between samples
        writer = units.writer()
        for code in codes:
            click.echo(writer.write(int(code)), nl=False)
        ids = generate(loaded.model, loaded.parameters, primed, choice, np.random.default_rng(sequence))
        for drawn in generate_until(ids, length, stopping):
            click.echo(writer.write(int(vocabulary.codes[drawn])), nl=False)
        click.echo(writer.finish())
