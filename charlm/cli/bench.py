"""charlm bench."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from charlm.cli.options import Command, Number, config_option, json_option, set_option
from charlm.cli.reading import warn
from charlm.cli.show import counted, show, shown_paths
from charlm.config import reading
from charlm.nn.activations import sigmoid_form
from charlm.system import blas
from charlm.system.mpi import connect
from charlm.training import benchmark
from charlm.training.checking import USUAL_VOCAB, text_size


@click.command(cls=Command)
@config_option("The configuration to time.  [default: the default of every key]")
@set_option
@click.option(
    "--vocab",
    type=click.IntRange(min=1, max=1_114_112),
    metavar="N",
    help="Units of the made-up vocabulary.  [default: as many as the configured text has, or 65]",
)
@click.option(
    "--threads", type=click.IntRange(1, 1024), metavar="N", help="Threads to use.  [default: run.threads]"
)
@click.option(
    "--seconds",
    type=Number(min=0, max=3600, min_open=True),
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
    team = team.prepare(threads or config.run.threads)
    characters, units = team.first(lambda: text_size(config)) or (None, USUAL_VOCAB)
    vocab = vocab or units
    speed = benchmark.measure(config, vocab, seconds, team)
    if not team.is_first:
        return
    epoch = characters / speed.train_chars_per_s if characters else None
    model, train = config.model, config.train
    values = {
        "cell": model.cell,
        "hidden": model.hidden,
        "layers": model.layers,
        "batch": train.batch,
        "seq_len": train.seq_len,
        "vocab": vocab,
        "parameters": speed.parameters,
        "threads": team.workers,
        "blas": blas.blas(),
        "sigmoid": sigmoid_form(),
        "train_chars_per_s": speed.train_chars_per_s,
        "sample_chars_per_s": speed.sample_chars_per_s,
        "eval_chars_per_s": speed.eval_chars_per_s,
        "train_gflops": speed.train_gflops,
        "matmul_gflops": speed.matmul_gflops,
        "fraction_of_matmul": speed.fraction_of_matmul,
        "peak_rss_mb": speed.peak_rss_mb,
        "before_rss_mb": speed.before_mb,
        "needed_mb": speed.needed_mb,
        "epoch_seconds": epoch,
        "run_seconds": epoch * train.epochs if epoch else None,
    }
    ranks, update = "", []
    if team.size > 1:
        values |= {
            "ranks": team.size,
            "compute_ms": speed.compute_ms,
            "communication_ms": speed.communication_ms,
            "efficiency": speed.efficiency,
        }
        ranks = f"{team.size} ranks of "
        update = [
            f"an update   {speed.compute_ms:12,.1f} ms of computing and {speed.communication_ms:,.1f} ms of "
            f"communication, waiting included: efficiency {speed.efficiency:.2f}"
        ]
    warn(filter(None, [blas.warning()]))
    lines = [
        f"{model.layers} x {model.hidden} {model.cell}, {speed.parameters:,} parameters, "
        f"vocabulary {vocab:,}; batch {train.batch} x {train.seq_len}; "
        f"{ranks}{counted(team.workers, 'thread')}; {values['blas']}; sigmoid by {values['sigmoid']}",
        f"training    {speed.train_chars_per_s:12,.0f} chars/s",
        *update,
        f"generating  {speed.sample_chars_per_s:12,.0f} chars/s",
        f"evaluating  {speed.eval_chars_per_s:12,.0f} chars/s",
        f"arithmetic  {speed.train_gflops:12,.1f} GFLOP/s in training, {speed.fraction_of_matmul:.2f} "
        f"of the {speed.matmul_gflops:,.1f} GFLOP/s of this machine's float32 matrix product",
        f"memory      {speed.peak_rss_mb:12,.0f} MB at the peak, {speed.before_mb:,.0f} MB before training; "
        f"on paper it needs {speed.needed_mb:,.1f} MB",
    ]
    if epoch:
        lines.append(
            f"duration    {epoch:12,.1f} s per epoch of {shown_paths(config.corpus.paths)}, "
            f"{epoch * train.epochs:,.0f} s the whole run, validation not counted"
        )
    show(values, lines, as_json)
