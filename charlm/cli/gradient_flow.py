"""charlm eval gradient-flow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

import charlm
from charlm.cli.bar import ReadingBar
from charlm.cli.options import (
    Command,
    FilePath,
    config_option,
    corpus_option,
    encoding_option,
    json_option,
    load,
    say_which,
    set_option,
)
from charlm.cli.show import bar, counted, show, shown_path, shown_text, warn
from charlm.config import reading
from charlm.config.limits import MOST_STEPS, STEPS
from charlm.system.errors import ConfigError
from charlm.system.files import STANDARD_INPUT


@click.command(cls=Command)
@click.argument("runs", nargs=-1, type=FilePath(), metavar="[RUN]...")
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=FilePath(),
    metavar="PATH",
    help="The same as RUN; may be repeated.  [default: the newest run below ./runs]",
)
@config_option(
    "Look at the untrained network of this configuration, on its text, instead of a trained one; "
    "may be repeated.",
    multiple=True,
)
@set_option
@corpus_option
@encoding_option("the text of --corpus")
@click.option(
    "--steps", type=click.IntRange(1, MOST_STEPS), default=STEPS, metavar="N", help="Steps to look back."
)
@json_option
@click.pass_obj
def gradient_flow(
    progress: ReadingBar,
    runs: tuple[Path, ...],
    checkpoints: tuple[Path, ...],
    configs: tuple[Path, ...],
    overrides: tuple[str, ...],
    corpus: str | None,
    encoding: str | None,
    steps: int,
    as_json: bool,
) -> None:
    """How much of the gradient of a loss reaches the states of each RUN k steps back.

    For each layer: the norm of the gradient of the loss of one character with respect to the hidden
    state h, and to the memory c of an LSTM, k steps before its prediction. It is averaged over 200 places
    of the validation split (or of the text of --corpus), relative to k = 0, the state that the prediction
    is made from. Where it is small, the network hardly learns from what it read so long ago.

    RUN is a run directory or a checkpoint file. Several stand in one table:
    `charlm eval gradient-flow runs/rnn runs/gru runs/lstm`. The bars are logarithmic, on the same axis in
    every table. --json prints one object; for several networks it is {"runs": [...]}, an object for each.
    """
    paths: list[Path | None] = [*runs, *checkpoints]
    if not configs and overrides:
        raise ConfigError("--set changes a configuration: name one with --config")
    if configs and paths:
        option = "RUN" if runs else "--checkpoint"
        raise ConfigError(f"{option} and --config exclude each other")
    if corpus == STANDARD_INPUT and len(configs or paths) > 1:
        raise ConfigError("--corpus - is read once: name a file for several networks")
    labels, flows, lines = [], [], []
    for path in configs or paths or [None]:
        if path is not None and configs:
            config = reading.load(path, reading.parse_overrides(overrides))
            label, network = shown_path(path), f"{charlm.interface.checking.name(config)}, untrained,"
            model = charlm.untrained(config, corpus, encoding=encoding, progress=progress.advance)
            flow = model.gradient_flow(steps)
        else:
            model = load(path)
            flow = model.gradient_flow(steps, corpus, encoding=encoding, progress=progress.advance)
            file = model.path
            say_which(path, file)
            label, network = shown_path(file if path == file else file.parent), shown_path(file)
        reached = flow.norms.shape[-1] - 1
        if reached < steps:
            warn([f"too few characters have {steps} before them: {counted(reached, 'step')} back at most"])
        labels.append(label)
        flows.append(flow)
        lines.append(f"{network} on {shown_text(flow.paths, flow.split)}, {counted(flow.places, 'place')}")
    objects = [{"network": label, **flow.as_object()} for label, flow in zip(labels, flows, strict=True)]
    values = objects[0] if len(objects) == 1 else {"runs": objects}
    show(values, (line for part in (lines, _table(labels, flows)) for line in part), as_json)


_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Steps back that have rows in the table, if there are more."""

_DECADE = 4
"""Columns per power of ten."""

_LABEL = 20
"""Columns for the name of a state, at most."""


def _table(labels: Sequence[str], flows: Sequence[charlm.GradientFlow]) -> Iterator[str]:
    """One table of all networks; a norm beyond the axis of the bars has `<` or `>` at its end."""
    rows = []  # of each state: its name, and its norms
    for label, flow in zip(labels, flows, strict=True):
        for layer, norms in enumerate(flow.relative.tolist()):
            for state, row in zip(flow.states, norms, strict=True):
                what = f"layer {layer} {state}" if len(flow.norms) > 1 else state
                room = _LABEL - len(what) - 1
                cut = label if len(label) <= room else f"…{label[len(label) - room + 1 :]}"
                rows.append((what if len(labels) == 1 else f"{cut} {what}", row))
    most = max(len(row) - 1 for _, row in rows)
    width, (low, high) = max(len(what) for what, _ in rows), charlm.interface.DECADES
    powers = {0: "1", 1: "10"}
    ticks = "".join(f"{powers.get(power, f'1e{power}'):{2 * _DECADE}}" for power in range(low, high + 1, 2))
    yield "\nnorm of the gradient k steps before the prediction, relative to k = 0"
    yield f"{'k':>4} {'':{width}} {'norm':>7}  {ticks}".rstrip()
    for k in [*(k for k in _ROWS if k < most), most]:
        if len(rows) > 1:
            yield ""
        shown = [(what, row[k]) for what, row in rows if k < len(row)]
        for place, (what, norm) in enumerate(shown):
            part = (math.log10(norm) - low) / (high - low) if norm else 0.0
            drawn = bar(min(1.0, part), _DECADE * (high - low)) or ("<" if norm else "")
            drawn = f"{drawn[:-1]}>" if part > 1 else drawn
            yield f"{'' if place else k:>4} {what:{width}} {norm:7.1e}  {drawn}".rstrip()
