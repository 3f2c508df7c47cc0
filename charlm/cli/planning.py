"""The configuration of a run: from a file, or to be chosen for a text and a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.cli.options import Number
from charlm.config import reading
from charlm.config.keys import Config

if TYPE_CHECKING:
    from charlm.training.recipe import Plan

_MINUTES = 5.0
"""Minutes of a run for which everything is chosen, if none are given."""


def minutes_option(default: str = f"{_MINUTES:g}") -> Callable[[Any], Any]:
    """The option `--minutes`, with what its help says of the default."""
    return click.option(
        "--minutes",
        type=Number(min=0.01, max=100_000),
        metavar="M",
        help=f"How long the whole command takes.  [default: {default}]",
    )


def from_file(
    path: Path,
    overrides: Sequence[str],
    corpus: str | None,
    minutes: float | None,
    begun: float,
    resume: bool = False,
) -> tuple[Config, Plan | None]:
    """The configuration in a file, and what is fitted to the minutes once the text has been read.

    `begun` is when the command began, by `time.perf_counter`. A run that is resumed may have come
    without a text, which is then not what is missing.
    """
    given = reading.parse_overrides(overrides)
    _refuse_both(minutes, given)
    config = reading.load(path, given)
    if corpus is not None:
        config = replace(config, corpus=reading.with_path(config.corpus, corpus))
    if not config.corpus.path and not resume:
        raise click.UsageError(f"no text to train on: set corpus.path in {path}, or give --corpus FILE.")
    return config, None if minutes is None else _plan(config, minutes, begun, everything=False)


def to_be_chosen(
    overrides: Sequence[str], corpus: str | None, minutes: float | None, begun: float
) -> tuple[Config, Plan]:
    """The settings that were given, and how the others are chosen once the text has been read."""
    given = reading.parse_overrides(overrides)
    _refuse_both(minutes, given)
    if corpus is not None:
        given["corpus.path"] = reading.with_path(Config().corpus, corpus).path
    if "corpus.path" not in given:
        raise click.UsageError("no text to train on: give --corpus FILE, or train with --config FILE.")
    config = reading.from_mapping({}, given, "--set")
    return config, _plan(config, _MINUTES if minutes is None else minutes, begun, everything=True)


def to_be_resumed(
    overrides: Sequence[str], corpus: str | None, minutes: float | None, begun: float, out: Path | None
) -> tuple[Config, Plan | None]:
    """The configuration of the run that was begun with this text and no configuration, in its directory.

    Where there is no such run, what was given: training then says what is missing.
    """
    config, _ = to_be_chosen(overrides, corpus, minutes, begun)
    directory = Path(config.run.dir) if out is None else out
    if os.path.exists(directory / "config.yaml"):
        return from_file(directory, overrides, corpus, minutes, begun, resume=True)
    return config, None


def _refuse_both(minutes: float | None, given: Collection[str]) -> None:
    if minutes is not None and "train.epochs" in given:
        raise click.UsageError("--minutes fits train.epochs to the time: leave out one of the two.")


def _plan(config: Config, minutes: float, begun: float, everything: bool) -> Plan:
    from charlm.system import blas

    blas.prepare(config.run.threads)  # before anything that imports NumPy
    from charlm.training.recipe import Plan

    return Plan(60 * minutes, begun, everything)
