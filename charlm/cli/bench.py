"""charlm bench."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

import charlm
from charlm.cli.options import Command, Number, config_option, json_option, set_option
from charlm.cli.show import counted, show, shown_paths, warn
from charlm.config import reading
from charlm.config.limits import SECONDS, VOCAB, WORKERS
from charlm.system import blas
from charlm.system.mpi import connect


@click.command(cls=Command)
@config_option("The configuration to time.  [default: the default of every key]")
@set_option
@click.option(
    "--vocab",
    type=click.IntRange(1, VOCAB),
    metavar="N",
    help="Units of the made-up vocabulary.  [default: as many as the configured text has, or 65]",
)
@click.option(
    "--threads", type=click.IntRange(1, WORKERS), metavar="N", help="Threads to use.  [default: run.threads]"
)
@click.option(
    "--seconds",
    type=Number(min=0, max=SECONDS, min_open=True),
    default=3.0,
    help="How long each part is timed.",
)
@json_option
def bench(
    config_path: Path | None,
    overrides: tuple[str, ...],
    vocab: int | None,
    threads: int | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Speed of a configuration on this machine, on made-up text.

    Times whole training steps, generation one character at a time, and evaluation, exactly as the
    other commands run them on one text. Lines are timed as one text, too. The machine's own float32
    matrix product is timed in the same process. Under mpirun, all ranks train and evaluate together, and
    the time that an update takes to compute and to communicate is shown.
    """
    team = connect(sys.argv[1:])
    config = team.first(
        lambda: reading.configuration(config_path, reading.parse_overrides(overrides), "`set`")
    )
    speed = charlm.bench(config, vocab=vocab, threads=threads, seconds=seconds, team=team)
    if team.is_first:
        warn(filter(None, [blas.warning()]))
        show(speed.figures(), _lines(speed), as_json)


def _lines(speed: charlm.Speed) -> Iterator[str]:
    """The speed and the memory, and what was timed."""
    model, train, corpus = speed.config.model, speed.config.train, speed.config.corpus
    figures, ranks = speed.figures(), f"{speed.ranks} ranks of " if speed.ranks > 1 else ""
    yield (
        f"{model.layers} x {model.hidden} {model.cell}, {speed.parameters:,} parameters, "
        f"vocabulary {speed.vocab:,}; batch {train.batch} x {train.seq_len}; "
        f"{ranks}{counted(speed.workers, 'thread')}; {figures['blas']}; sigmoid by {figures['sigmoid']}"
    )
    yield f"training    {speed.train_chars_per_s:12,.0f} chars/s"
    if ranks:
        yield (
            f"an update   {speed.compute_ms:12,.1f} ms of computing and {speed.communication_ms:,.1f} ms of "
            f"communication, waiting included: efficiency {speed.efficiency:.2f}"
        )
    yield f"generating  {speed.sample_chars_per_s:12,.0f} chars/s"
    yield f"evaluating  {speed.eval_chars_per_s:12,.0f} chars/s"
    yield (
        f"arithmetic  {speed.train_gflops:12,.1f} GFLOP/s in training, {speed.fraction_of_matmul:.2f} "
        f"of the {speed.matmul_gflops:,.1f} GFLOP/s of this machine's float32 matrix product"
    )
    yield (
        f"memory      {speed.peak_rss_mb:12,.0f} MB at the peak, {speed.before_mb:,.0f} MB before training; "
        f"on paper it needs {speed.needed_mb:,.1f} MB"
    )
    if (epoch := speed.epoch_seconds) is not None:
        yield (
            f"duration    {epoch:12,.1f} s per epoch of {shown_paths(corpus.paths)}, "
            f"{epoch * train.epochs * train.generations:,.0f} s the whole run, validation not counted"
        )
