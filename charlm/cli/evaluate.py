"""charlm eval: perplexity, gradients, and how far back gradients reach."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.cli.options import (
    Command,
    FilePath,
    checkpoint_option,
    json_option,
    say_which,
    set_option,
)
from charlm.cli.reading import ReadingBar, corpus_option, warn
from charlm.cli.show import bar, counted, decimal, duration, shown_path, shown_paths
from charlm.config import reading
from charlm.config.keys import CorpusConfig
from charlm.errors import ConfigError
from charlm.system.files import STANDARD_INPUT
from charlm.system.mpi import connect
from charlm.system.team import ALONE

if TYPE_CHECKING:
    from charlm.inference.held_out import HeldOut
    from charlm.nn.model import Model
    from charlm.nn.parameters import Parameters


@click.group(name="eval", short_help="Measure a model, and check its gradients.")
def evaluate() -> None:
    """Measure a model: how well it predicts, whether its gradients are right, and how far they reach."""


_encoding_option = click.option(
    "--encoding", metavar="NAME", help="Encoding of the text of --corpus.  [default: the training text's]"
)


@evaluate.command(cls=Command, short_help="Nats and bits per character, and perplexity.")
@checkpoint_option
@corpus_option
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    help="The part to score.  [default: test, or validation where there is no test, or train]",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    metavar="N",
    help="Score windows of N characters, each from a zero state.  [default: carry the state through]",
)
@click.option(
    "--dynamic",
    is_flag=True,
    help="Let a copy of the model learn from each segment of the text once it is scored, too.",
)
@_encoding_option
@json_option
def perplexity(
    checkpoint_path: Path | None,
    corpus: str | None,
    split: str | None,
    window: int | None,
    dynamic: bool,
    encoding: str | None,
    as_json: bool,
) -> None:
    """Nats and bits per character, and perplexity, on the run's own corpus or another text.

    The loss is the mean of -ln p over the characters, in nats; bits = nats / ln 2, and perplexity
    = exp(nats).

    With --dynamic, a copy of the model goes on learning while it is scored (dynamic evaluation,
    Krause et al. 2018, arXiv 1709.07432). Each segment is scored before it is learned from. The
    rate and the pull back to the trained parameters are chosen on the validation split.
    """
    team = connect(sys.argv[1:]).prepare()
    from charlm.inference.evaluate import evaluate as evaluated
    from charlm.runs import checkpoint
    from charlm.runs.directory import find_checkpoint

    file = team.first(lambda: find_checkpoint(checkpoint_path))
    loaded = team.first(lambda: checkpoint.load(file))
    other = team.first(lambda: reading.another(loaded.config.corpus, corpus, encoding))
    settings = other or loaded.config.corpus
    with contextlib.closing(ReadingBar()) as bar:
        found = evaluated(loaded, settings, corpus is None, split, window, bar.advance, dynamic, team)
    if not team.is_first:
        return
    say_which(checkpoint_path, file)
    warn(found.warnings)
    if as_json:
        click.echo(json.dumps(found.figures()))
        return
    learned, static = found.dynamic, found.score
    result, per_byte, per_character = found.score, found.bits_per_byte, found.bits_per_original_char
    how = "state carried through" if window is None else f"windows of {window}"
    if found.lines is not None:
        how = f"{counted(found.lines, 'line')}, each from a zero state"
    what = "whole text" if found.split is None else f"{found.split} split"
    paths = settings.separate_paths.get(found.split or "", settings.paths)
    click.echo(
        f"{shown_path(file)} on {shown_paths(paths)}: {what}, "
        f"{counted(result.characters, loaded.config.corpus.unit)} scored, {how}"
    )
    click.echo(
        f"{decimal(result.nats_per_char)} nats/char   {decimal(result.bits_per_char)} bits/char   "
        f"perplexity {decimal(result.perplexity)}   {decimal(per_byte)} bits/byte"
    )
    if not found.units_are_characters:
        click.echo(
            f"in the original {counted(found.raw.characters, 'character')}, "
            f"{decimal(per_character)} bits each ({counted(found.raw.size, 'byte')} of UTF-8)"
        )
    if found.unknown:
        click.echo(f"{found.unknown:,} of them unknown to the model, scored as <unk>")
    if learned is not None:
        better, constants = learned.score, learned.constants
        chosen = "the defaults" if learned.chosen_on is None else f"chosen on {learned.chosen_on}"
        click.echo(
            f"dynamic evaluation: {decimal(better.nats_per_char)} nats/char   "
            f"{decimal(better.bits_per_char)} bits/char   perplexity {decimal(better.perplexity)} "
            f"(static {decimal(static.nats_per_char)}); rate {constants.rate:g}, "
            f"pull-back {constants.pull_back:g}, {chosen}; {duration(learned.seconds)}"
        )


@evaluate.command(cls=Command, short_help="Check the hand-written gradients.")
@click.option(
    "--config",
    "config_path",
    type=FilePath(),
    metavar="FILE",
    help="Check this configuration's network.  [default: small networks of every cell, depth and dropout]",
)
@set_option
@json_option
def gradients(config_path: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check the hand-written gradients against central differences, in float64.

    With --config, the network is checked at its own sizes, on one window of the batch that it is
    trained with, divided as training divides it. Every parameter and the carried state are named
    with their worst relative error. Of large arrays some entries are measured one by one, and all
    of them along random directions. The exit status is 1 if any gradient is wrong.
    """
    team = ALONE.prepare()
    from charlm.nn.gradcheck import TOLERANCE
    from charlm.training import checking

    values = reading.parse_overrides(overrides)
    if config_path is None:
        networks = checking.check_forms(values)
    else:
        config = reading.load(config_path, values)
        with contextlib.closing(ReadingBar()) as measuring:
            checks = checking.check_config(config, team, progress=measuring.advance)
        networks = iter([(checking.name(config), checks)])
    rows: list[dict[str, Any]] = []
    for name, checks in networks:
        if not as_json:
            click.echo(name)
        for check in checks:
            rows.append(
                {
                    "model": name,
                    "parameter": check.name,
                    "worst_relative_error": check.worst,
                    "entries": check.size,
                    "entries_checked": check.checked,
                    "right": check.right,
                }
            )
            if not as_json:
                verdict = "" if check.right else "   WRONG"
                click.echo(
                    f"  {check.name:<16} {check.worst:.1e}   {check.checked} of {check.size} entries{verdict}"
                )
    worst = max(row["worst_relative_error"] for row in rows)
    wrong = [f"{row['parameter']} ({row['model']})" for row in rows if not row["right"]]
    if as_json:
        click.echo(
            json.dumps(
                {"worst_relative_error": worst, "tolerance": TOLERANCE, "right": not wrong, "checks": rows}
            )
        )
    elif wrong:
        click.echo(f"WRONG: {len(wrong)} of {len(rows)} gradients: {', '.join(wrong)}")
    else:
        click.echo(
            f"all {len(rows)} gradients are right: worst relative error {worst:.1e}, tolerance {TOLERANCE:g}"
        )
    sys.exit(1 if wrong else 0)


@dataclass(frozen=True)
class _Network:
    """A network to look at, and the text to look at it with."""

    label: str
    """The short name, in the table."""
    name: str
    text: CorpusConfig
    model: Model
    params: Parameters
    read: HeldOut


_MOST_STEPS = 1000
"""Most steps back: each keeps what its backward pass needs."""


@evaluate.command("gradient-flow", short_help="How much of the gradient reaches k steps back.")
@click.argument("runs", nargs=-1, type=FilePath(), metavar="[RUN]...")
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=FilePath(),
    metavar="PATH",
    help="The same as RUN; may be repeated.  [default: the newest run below ./runs]",
)
@click.option(
    "--config",
    "configs",
    multiple=True,
    type=FilePath(),
    metavar="FILE",
    help="Look at the untrained network of this configuration, on its text, instead of a trained one; "
    "may be repeated.",
)
@set_option
@corpus_option
@_encoding_option
@click.option(
    "--steps", type=click.IntRange(1, _MOST_STEPS), default=50, metavar="N", help="Steps to look back."
)
@json_option
def gradient_flow(
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
    team = ALONE.prepare()
    from charlm.inference.gradient_flow import gradient_flow as measure

    paths: list[Path | None] = [*runs, *checkpoints]
    if not configs and overrides:
        raise ConfigError("--set changes a configuration: name one with --config")
    if configs and paths:
        option = "RUN" if runs else "--checkpoint"
        raise ConfigError(f"{option} and --config exclude each other")
    if corpus == STANDARD_INPUT and len(configs or paths) > 1:
        raise ConfigError("--corpus - is read once: name a file for several networks")
    flows, series, objects = [], [], []
    for path in configs or paths or [None]:
        if path is not None and configs:
            network = _untrained(path, overrides, corpus, encoding)
        else:
            network = _trained(path, corpus, encoding)
        read = network.read
        flow = measure(network.model, network.params, read.text, steps, team=team)
        warn(read.warnings)
        reached = flow.norms.shape[-1] - 1
        if reached < steps:
            warn([f"too few characters have {steps} before them: {counted(reached, 'step')} back at most"])
        objects.append({"network": network.label, **flow.as_object(), "split": read.split})
        what = "whole text" if read.split is None else f"{read.split} split"
        texts = network.text.separate_paths.get(read.split or "", network.text.paths)
        flows.append(f"{network.name} on {shown_paths(texts)}: {what}, {counted(flow.places, 'place')}")
        series.append((network.label, flow.states, flow.relative.tolist()))
    if as_json:
        click.echo(json.dumps(objects[0] if len(objects) == 1 else {"runs": objects}))
        return
    click.echo("\n".join(flows))
    _show_flow(series)


def _trained(path: Path | None, corpus: str | None, encoding: str | None) -> _Network:
    """A checkpoint, and its own text or another one."""
    from charlm.inference.held_out import of_checkpoint
    from charlm.runs import checkpoint
    from charlm.runs.directory import find_checkpoint

    file = find_checkpoint(path)
    loaded = checkpoint.load(file)
    other = reading.another(loaded.config.corpus, corpus, encoding)
    with contextlib.closing(ReadingBar()) as bar:
        read = of_checkpoint(loaded, other, bar.advance)
    say_which(path, file)
    config = other or loaded.config.corpus
    label = shown_path(file if path == file else file.parent)
    return _Network(label, shown_path(file), config, loaded.model, loaded.parameters, read)


def _untrained(path: Path, overrides: tuple[str, ...], corpus: str | None, encoding: str | None) -> _Network:
    """The network that a configuration describes as its training begins, and its text or another one."""
    from charlm.config.build import build_model, fresh_parameters
    from charlm.inference.held_out import of_config
    from charlm.training.checking import name
    from charlm.training.memory import check_memory, needed

    config = reading.load(path, reading.parse_overrides(overrides))
    text = reading.another(config.corpus, corpus, encoding) or config.corpus
    if not text.path:
        raise ConfigError("no text to read: set corpus.path in the configuration, or name one with --corpus")
    with contextlib.closing(ReadingBar()) as bar:
        read = of_config(text, bar.advance)
    model = build_model(config.model, len(read.vocabulary))
    check_memory(needed(model, config.train.optimizer, B=1, T=1), config)
    params = fresh_parameters(model, config.model, config.train.seed)
    about = f"{name(config)}, untrained,"
    return _Network(shown_path(path), about, text, model, params, read)


_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Steps back that have rows in the table, if there are more."""

_DECADE = 4
"""Columns of a power of ten."""

_LABEL = 20
"""Most columns of what is measured, in the table."""


def _show_flow(networks: Sequence[tuple[str, Sequence[str], Sequence[Sequence[Sequence[float]]]]]) -> None:
    """One table of all networks: names, states and norms `[L, S, K+1]` of each; all bars on one axis.

    The axis is the same for every table. A norm beyond it has `<` or `>` at its end.
    """
    from charlm.inference.gradient_flow import DECADES

    rows = []  # of each series: what it is, and its norms
    for label, states, layers in networks:
        for layer, norms in enumerate(layers):
            for state, row in zip(states, norms, strict=True):
                what = f"layer {layer} {state}" if len(layers) > 1 else state
                room = _LABEL - len(what) - 1
                cut = label if len(label) <= room else f"…{label[len(label) - room + 1 :]}"
                rows.append((what if len(networks) == 1 else f"{cut} {what}", row))
    most = max(len(row) - 1 for _, row in rows)
    width, (low, high) = max(len(what) for what, _ in rows), DECADES
    powers = {0: "1", 1: "10"}
    ticks = "".join(f"{powers.get(power, f'1e{power}'):{2 * _DECADE}}" for power in range(low, high + 1, 2))
    click.echo("\nnorm of the gradient k steps before the prediction, relative to k = 0")
    click.echo(f"{'k':>4} {'':{width}} {'norm':>7}  {ticks}".rstrip())
    for k in [*(k for k in _ROWS if k < most), most]:
        if len(rows) > 1:
            click.echo()
        shown = [(what, row[k]) for what, row in rows if k < len(row)]
        for place, (what, norm) in enumerate(shown):
            part = (math.log10(norm) - low) / (high - low) if norm else 0.0
            drawn = bar(min(1.0, part), _DECADE * (high - low)) or ("<" if norm else "")
            drawn = f"{drawn[:-1]}>" if part > 1 else drawn
            click.echo(f"{'' if place else k:>4} {what:{width}} {norm:7.1e}  {drawn}".rstrip())
