"""charlm eval: perplexity and gradients."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import click

from charlm.cli.options import checkpoint_option, json_option, set_option
from charlm.cli.reading import corpus_option, open_corpus, shown, training_text, with_encoding, with_path
from charlm.config import loading as configfile
from charlm.config import schema as configuration
from charlm.config.schema import Config
from charlm.errors import ChangedError, CorpusError
from charlm.system import blas as machine


@click.group(name="eval")
def evaluate() -> None:
    """Measure a model: how well it predicts, and whether its gradients are right."""


@evaluate.command()
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
    "--encoding", metavar="NAME", help="Encoding of the text of --corpus.  [default: the training text's]"
)
@json_option
def perplexity(
    checkpoint_path: Path | None,
    corpus: str | None,
    split: str | None,
    window: int | None,
    encoding: str | None,
    as_json: bool,
) -> None:
    """Nats and bits per character, and perplexity, on the run's own corpus or another text."""
    threads = machine.prepare()
    import numpy as np

    from charlm.config.build import build_pipeline
    from charlm.data.lines import Lines, blocks
    from charlm.data.raw_size import scored_raw_size
    from charlm.inference.score import score
    from charlm.runs import checkpoint
    from charlm.runs.directory import find_checkpoint

    file = find_checkpoint(checkpoint_path)
    loaded = checkpoint.load(file)
    settings = loaded.config.corpus
    if corpus is not None:
        settings = with_encoding(with_path(settings, corpus), encoding)
    pipeline = build_pipeline(settings)
    if window is not None and pipeline.by_line:
        raise click.UsageError(
            "--window is for texts: a model of lines begins each of them from a zero state."
        )
    try:
        expected = loaded.corpus["digest"] if corpus is None else None
        text, sources = open_corpus(settings, loaded.vocabulary, expected)
    except ChangedError as error:
        raise CorpusError(f"{error}; to score it as it is now, name it with --corpus") from error
    where = shown(settings.paths)
    if split is None and corpus is None:
        split = next((name for name in ("test", "validation") if text.usable(name)), "train")
    if split is not None and not text.usable(split):
        raise CorpusError(
            f"the {split} split of {where} has nothing to predict: it takes a line, or two characters"
        )
    part = text.whole if split is None else text.part(split)
    result = score(loaded.model, loaded.parameters, part, window, threads, loaded.config.train.shards)
    originals = scored_raw_size(text, sources, pipeline, split)
    bits = result.nll / math.log(2)
    per_byte, per_character = (bits / max(1, size) for size in (originals.size, originals.characters))
    are_characters = not pipeline.units.is_byte and originals.characters == result.characters
    unknown = loaded.vocabulary.unknown
    unknowns = 0
    if unknown is not None:
        unknowns = sum(int(np.count_nonzero(block == unknown)) for block in blocks(part))
        if not isinstance(part, Lines):  # whose first unit is not scored
            unknowns -= int(part[0] == unknown)
    if as_json:
        values = {
            "nats_per_char": result.nats_per_char,
            "bits_per_char": result.bits_per_char,
            "perplexity": result.perplexity if math.isfinite(result.perplexity) else None,
            "characters": result.characters,
            "bits_per_byte": per_byte,
            **({} if are_characters else {"bits_per_original_char": per_character}),
            "original_characters": originals.characters,
            "bytes": originals.size,
            "unknown": unknowns,
            "split": split,
            "window": window,
        }
        click.echo(json.dumps(values))
        return
    how = "state carried through" if window is None else f"windows of {window}"
    how = f"{len(part):,} lines, each from a zero state" if pipeline.by_line else how
    what = "whole text" if split is None else f"{split} split"
    click.echo(f"{file} on {where}: {what}, {result.characters:,} {loaded.config.corpus.unit}s scored, {how}")
    click.echo(
        f"{result.nats_per_char:.4f} nats/char   {result.bits_per_char:.4f} bits/char   "
        f"perplexity {result.perplexity:.4f}   {per_byte:.4f} bits/byte"
    )
    if not are_characters:
        click.echo(
            f"in the original {originals.characters:,} characters, {per_character:.4f} bits each "
            f"({originals.size:,} bytes of UTF-8)"
        )
    if unknowns:
        click.echo(f"{unknowns:,} of them unknown to the model, scored as <unk>")


@evaluate.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
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
    threads = machine.prepare()
    from charlm.config.build import build_model
    from charlm.nn.gradcheck import TOLERANCE, check_model
    from charlm.system.workers import slices
    from charlm.training.data_parallel import default_shards

    if config_path is not None:
        configs = [configfile.load(config_path, overrides)]
    else:
        given = configfile.parse_overrides(overrides)
        configs = [configuration.resolve({**form, **given}, name="gradients") for form in _every_form(given)]
    rows: list[dict[str, Any]] = []
    for config in configs:
        name = _form_name(config)
        if not as_json:
            click.echo(name)
        train = config.train
        if config_path is None:
            window: dict[str, Any] = {"vocab": _VOCAB}
        else:
            text = training_text(config)
            window = {
                "vocab": text.units if text else _VOCAB_OF_TEXTS,
                "steps": train.seq_len,
                "batch": train.batch,
                "shards": slices(train.batch, train.shards or default_shards(train.batch, threads)),
                "seconds": _SECONDS,
            }
        model = build_model(config.model, window.pop("vocab"), config.run.kernel)
        for check in check_model(model, config.model.init, train.seed, _ENTRIES, **window):
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


_VOCAB = 7
"""Vocabulary of the made-up text that gradients are checked on."""

_VOCAB_OF_TEXTS = 65
"""Vocabulary of a configuration that names no text."""

_ENTRIES = 60
"""Entries of an array that are measured one by one, at the most."""

_SECONDS = 25.0
"""About how long the check of a configuration's network may take."""


def _every_form(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Small networks of each cell in each form, 1 to 3 layers, without and with dropout; once each."""
    forms = [("rnn", "after"), ("lstm", "after"), ("gru", "after"), ("gru", "before")]
    dropouts = [(0.0, "window"), (0.3, "window"), (0.3, "step")]
    every = [
        {
            "model.cell": cell,
            "model.gru_reset": reset,
            "model.layers": layers,
            "model.dropout": dropout,
            "model.dropout_mask": mask,
            "model.hidden": 5,
        }
        for cell, reset in forms
        for layers in (1, 2, 3)
        for dropout, mask in dropouts
    ]
    distinct = {tuple(sorted({**form, **given}.items(), key=str)): form for form in every}
    return list(distinct.values())


def _form_name(config: Config) -> str:
    model = config.model
    reset = f" (reset {model.gru_reset})" if model.cell == "gru" else ""
    dropout = f", dropout {model.dropout:g} a {model.dropout_mask}" if model.dropout else ""
    return f"{model.layers} x {model.hidden} {model.cell}{reset}{dropout}"
