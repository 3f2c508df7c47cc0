"""charlm info."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click

import charlm
from charlm.cli.options import Command, checkpoint_option, json_option, load, say_which
from charlm.cli.show import counted, losses, show, shown_path, shown_paths, visible
from charlm.config.keys import COUNTS, CorpusConfig, plain
from charlm.runs.log import COLUMNS
from charlm.system.errors import CorpusError
from charlm.system.files import reason


@click.command(cls=Command)
@checkpoint_option
@click.option("--metrics", "show_metrics", is_flag=True, help="Print the log of the run instead, as a table.")
@click.option("--csv", "as_csv", is_flag=True, help="With --metrics: as comma-separated values.")
@click.option("--cache", "show_cache", is_flag=True, help="List the encoded texts that are kept instead.")
@click.option("--clear-cache", is_flag=True, help="Remove the encoded texts that are kept.")
@json_option
def info(
    checkpoint_path: Path | None,
    show_metrics: bool,
    as_csv: bool,
    show_cache: bool,
    clear_cache: bool,
    as_json: bool,
) -> None:
    """Show the contents of a checkpoint: configuration, vocabulary, sizes, progress and scores.

    With --metrics, the log of the run: rounded in a table, in full with --csv (for spreadsheets)
    and --json (one list). With --cache, which encoded texts are kept so that they need not be read
    again.
    """
    if sum((show_cache, clear_cache, checkpoint_path is not None)) > 1:
        raise click.UsageError("--checkpoint, --cache and --clear-cache exclude each other.")
    if show_metrics and (show_cache or clear_cache):
        raise click.UsageError("--metrics excludes --cache and --clear-cache.")
    if as_csv and not show_metrics:
        raise click.UsageError("--csv is for the log: add --metrics.")
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other.")
    if show_metrics:
        _metrics(checkpoint_path, as_csv, as_json)
        return
    if show_cache or clear_cache:
        _cache(clear_cache, as_json)
        return
    model = load(checkpoint_path)
    show(model.info(), _contents(model), as_json)


def _contents(model: charlm.LanguageModel) -> Iterator[str]:
    """Lines about the contents of a checkpoint."""
    about, vocabulary = model.info(), model.sampler.vocabulary
    yield f"{shown_path(model.path)} ({model.path.stat().st_size / 1e6:.2f} MB)"
    yield f"update {about['step']:,}, epoch {about['epoch']:.2f}"
    train = model.config.train
    if about["joined"]:
        networks = f"{about['joined']} networks joined to one, " if about["joined"] > 1 else ""
        yield f"{networks}logits times {about['factor']:g} (train.join)"
    elif train.generations > 1:
        chain = ", each taught by those before it" * train.chain
        yield f"network {about['network']} of {train.generations}{chain}"
    is_chained = train.chain and about["network"] > 1 and not about["joined"]
    teachers = [name for name in train.teachers if name != COUNTS or not is_chained]
    if teachers:
        yield f"taught by {shown_paths(teachers)} (train.teacher)"
    for of in ("validation", "training"):
        if (loss := about[f"{of}_loss"]) is not None:
            yield f"{of} loss {losses(loss)}"
            yield f"best {of} loss {losses(about[f'best_{of}_loss'])}, at update {about['best_step']:,}"
    scored = model.config.run.eval_length
    if scored and about["validation_loss"] is not None:
        yield f"of the first {scored:,} characters for validation, if there are more"
    known = " ".join(vocabulary.units.describe(int(code)) for code in vocabulary.codes[:12])
    more = " …" if len(vocabulary) > 12 else ""
    unknown = ", <unk> the last" if vocabulary.has_unknown else ""
    yield f"vocabulary of {counted(len(vocabulary), vocabulary.units.unit)}: {known}{more}{unknown}"
    yield f"{about['parameters']:,} parameters:"
    for name, shape in about["shapes"].items():
        yield f"  {name:<16} {' x '.join(map(str, shape))}"
    yield "configuration:"
    for dotted, value in model.config.flat().items():
        yield f"  {dotted}: {visible(plain(value))}"


def _metrics(path: Path | None, as_csv: bool, as_json: bool) -> None:
    """Print the log of a run."""
    run = charlm.Run(path)
    say_which(path, run.path / "metrics.jsonl")
    lines = run.metrics
    if as_csv:
        # newer versions may log more
        keys = list(dict.fromkeys((*COLUMNS, *chain.from_iterable(lines))))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, keys)
        writer.writeheader()
        writer.writerows(lines)
        click.echo(text.getvalue().encode(), nl=False)  # bytes: no line ends are converted
    else:
        show(lines, _table(lines), as_json)


def _table(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The log as a table."""
    yield "losses in nats per character"
    yield "".join(f"{column.heading:>{column.width}}" for column in COLUMNS.values())
    for line in lines:
        yield "".join(column.cell(line.get(key)) for key, column in COLUMNS.items())


def _cache(clear: bool, as_json: bool) -> None:
    """List the cache, or empty it."""
    cache = charlm.interface.user_cache()
    if cache is None:
        raise CorpusError("there is no home directory to keep encoded texts in; XDG_CACHE_HOME can name one")
    where = shown_path(cache.directory)
    values: dict[str, Any] = {"directory": str(cache.directory)}
    if clear:
        try:
            values["removed"], values["bytes"] = cache.clear()
        except OSError as error:
            raise CorpusError(
                f"{error.filename or cache.directory} cannot be removed: {reason(error)}"
            ) from error
        line = f"removed {counted(values['removed'], 'file')}, {values['bytes'] / 1e6:,.1f} MB, from {where}"
        show(values, [line], as_json)
        return
    entries = list(cache.entries())
    values["bytes"] = sum(entry.bytes for entry in entries)
    values["entries"] = [
        {"file": str(e.path), "bytes": e.bytes, "texts": e.names, "units": e.units, "settings": e.settings}
        for e in entries
    ]
    first = f"{where}: {counted(len(entries), 'file')}, {values['bytes'] / 1e6:,.1f} MB"
    show(values, [first, *map(_entry, entries)], as_json)


def _entry(entry: charlm.interface.Entry) -> str:
    """A cached text: its size, and every setting that is not the default.

    A file may hold anything: no setting is needed.
    """
    units = entry.settings.get("units")
    settings = {**entry.settings, **(units if isinstance(units, dict) else {}), "units": None}
    unit = str(settings.pop("unit", "unit"))
    how = ", ".join(
        name if value is True else f"{name} {value!r}"
        for name, value in settings.items()
        if value and value != getattr(CorpusConfig, name, None)
    )
    size = f"{counted(entry.units, visible(unit))}{visible(f' ({how})') if how else ''}"
    return f"  {entry.bytes / 1e6:10,.1f} MB  {size} of {shown_paths(entry.names)}"
