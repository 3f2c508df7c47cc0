"""charlm eval perplexity."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import click

import charlm
from charlm.cli.bar import ReadingBar
from charlm.cli.options import (
    Command,
    checkpoints_option,
    corpus_option,
    encoding_option,
    json_option,
    load,
    say_which_of,
)
from charlm.cli.show import counted, decimal, duration, show, shown_path, shown_text
from charlm.system.mpi import connect


@click.command(cls=Command)
@checkpoints_option(" with --mean")
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
@encoding_option("the text of --corpus")
@json_option
@click.pass_obj
def perplexity(
    bar: ReadingBar,
    checkpoints: Sequence[Path],
    mean: bool,
    corpus: str | None,
    split: Literal["train", "validation", "test"] | None,
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
    model = load(*checkpoints, mean=mean, team=team)
    evaluation = model.perplexity(corpus, split, window, dynamic, encoding=encoding, progress=bar.advance)
    if team.is_first:
        say_which_of(checkpoints, model.paths)
        show(evaluation.figures(), _lines(evaluation, model.paths, model.config.corpus.unit), as_json)


def _lines(evaluation: charlm.Evaluation, files: Sequence[Path], unit: str) -> Iterator[str]:
    """The figures of the model in `files`, and how they were measured."""
    score, raw, learned = evaluation.score, evaluation.raw, evaluation.dynamic
    how = "state carried through" if evaluation.window is None else f"windows of {evaluation.window}"
    if evaluation.lines is not None:
        how = f"{counted(evaluation.lines, 'line')}, each from a zero state"
    text = shown_text(evaluation.paths, evaluation.split)
    model = f"{'the mean of ' * (len(files) > 1)}{' and '.join(map(shown_path, files))}"
    yield f"{model} on {text}, {counted(score.characters, unit)} scored, {how}"
    yield f"{_figures(score)}   {decimal(evaluation.bits_per_byte)} bits/byte"
    if not evaluation.units_are_characters:
        yield (
            f"in the original {counted(raw.characters, 'character')}, "
            f"{decimal(evaluation.bits_per_original_char)} bits each ({counted(raw.size, 'byte')} of UTF-8)"
        )
    if evaluation.unknown:
        yield f"{evaluation.unknown:,} of them unknown to the model, scored as <unk>"
    if learned is not None:
        chosen = "the defaults" if learned.chosen_on is None else f"chosen on {learned.chosen_on}"
        yield (
            f"dynamic evaluation: {_figures(learned.score)} (static {decimal(score.nats_per_char)}); "
            f"rate {learned.constants.rate:g}, pull-back {learned.constants.pull_back:g}, {chosen}; "
            f"{duration(learned.seconds)}"
        )


def _figures(score: charlm.Score) -> str:
    nats, bits = decimal(score.nats_per_char), decimal(score.bits_per_char)
    return f"{nats} nats/char   {bits} bits/char   perplexity {decimal(score.perplexity)}"
