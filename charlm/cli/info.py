"""charlm info."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import click

from charlm.cli.options import Command, checkpoint_option, json_option, say_which
from charlm.cli.show import counted, losses, shown_path, shown_paths, visible
from charlm.config.keys import plain
from charlm.errors import CorpusError
from charlm.system import blas
from charlm.system.files import reason


@click.command(cls=Command, short_help="Show what a checkpoint holds, the log of a run, or what is cached.")
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
    """What a checkpoint holds: configuration, vocabulary, sizes, progress and scores.

    With --metrics, the log of the run: rounded in a table, in full with --csv (for spreadsheets)
    and --json (one list). With --cache, which encoded texts are kept so that they need not be read
    again.
    """
    blas.prepare()
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
    from charlm.interface import load
    from charlm.runs import checkpoint
    from charlm.runs.directory import find_checkpoint

    file = find_checkpoint(checkpoint_path)
    if as_json:
        click.echo(json.dumps(load(file).info()))
        return
    loaded = checkpoint.load(file)
    progress, units = loaded.progress, loaded.vocabulary.units
    click.echo(f"{shown_path(file)} ({file.stat().st_size / 1e6:.2f} MB)")
    click.echo(f"update {progress['step']:,}, epoch {progress['epoch']:.2f}")
    if progress["validation"] is not None:
        of = progress["best_of"]
        click.echo(f"{of} loss {losses(progress['validation'])}")
        click.echo(f"best {of} loss {losses(progress['best'])}, at update {progress['best_step']:,}")
        scored = loaded.config.run.eval_length
        if scored and of == "validation":
            click.echo(f"of the first {scored:,} characters for validation, if there are more")
    known = " ".join(units.describe(int(code)) for code in loaded.vocabulary.codes[:12])
    more = " …" if len(loaded.vocabulary) > 12 else ""
    unknown = ", <unk> the last" if loaded.vocabulary.has_unknown else ""
    click.echo(f"vocabulary of {counted(len(loaded.vocabulary), units.unit)}: {known}{more}{unknown}")
    click.echo(f"{loaded.parameters.flat.size:,} parameters:")
    for name, view in loaded.parameters.items():
        click.echo(f"  {name:<16} {' x '.join(map(str, view.shape))}")
    click.echo("configuration:")
    for dotted, value in loaded.config.flat().items():
        click.echo(f"  {dotted}: {visible(plain(value))}")


def _metrics(path: Path | None, as_csv: bool, as_json: bool) -> None:
    """Print the log of a run."""
    from charlm.runs.directory import RunDirectory, find_run
    from charlm.runs.log import COLUMNS, read_objects

    run = find_run(path)
    say_which(path, run / "metrics.jsonl")
    lines = [line for line, _ in read_objects(RunDirectory(run).metrics)]
    if as_json:
        click.echo(json.dumps(lines))
    elif as_csv:
        # newer versions may log more
        keys = list(dict.fromkeys((*COLUMNS, *chain.from_iterable(lines))))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, keys)
        writer.writeheader()
        writer.writerows(lines)
        click.echo(text.getvalue().encode(), nl=False)  # bytes: no line ends are converted
    else:
        click.echo("losses in nats per character")
        click.echo("".join(f"{heading:>{width}}" for heading, width, *_ in COLUMNS.values()))
        for line in lines:
            cells = (_cell(line.get(key), width, form) for key, (_, width, form, *_) in COLUMNS.items())
            click.echo("".join(cells))


def _cell(value: Any, width: int, form: str) -> str:
    """A number in its column; whatever else a log may hold is not shown."""
    is_number = isinstance(value, int if form == "d" else (int, float))
    return f"{format(value, form) if is_number else '':>{width}}"


def _cache(clear: bool, as_json: bool) -> None:
    """List the cache, or empty it."""
    from charlm.data.cache import user_cache

    cache = user_cache()
    if cache is None:
        raise CorpusError("there is no home directory to keep encoded texts in; XDG_CACHE_HOME can name one")
    if clear:
        try:
            files, size = cache.clear()
        except OSError as error:
            raise CorpusError(
                f"{error.filename or cache.directory} cannot be removed: {reason(error)}"
            ) from error
        if as_json:
            click.echo(json.dumps({"directory": str(cache.directory), "removed": files, "bytes": size}))
        else:
            click.echo(
                f"removed {counted(files, 'file')}, {size / 1e6:,.1f} MB, from {shown_path(cache.directory)}"
            )
        return
    entries = list(cache.entries())
    size = sum(entry.bytes for entry in entries)
    if as_json:
        rows = [
            {
                "file": str(e.path),
                "bytes": e.bytes,
                "texts": e.names,
                "units": e.units,
                "settings": e.settings,
            }
            for e in entries
        ]
        click.echo(json.dumps({"directory": str(cache.directory), "bytes": size, "entries": rows}))
        return
    click.echo(f"{shown_path(cache.directory)}: {counted(len(entries), 'file')}, {size / 1e6:,.1f} MB")
    for entry in entries:
        kind, *how = _settings(entry.settings)
        details = visible(f" ({', '.join(how)})") if how else ""
        units, names = counted(entry.units, visible(kind)), shown_paths(entry.names)
        click.echo(f"  {entry.bytes / 1e6:10,.1f} MB  {units}{details} of {names}")


def _settings(settings: dict[str, Any]) -> list[str]:
    """The unit of a cached text, then every setting that is not the default.

    Nothing is taken for granted: the digest, which a file may not have, is not looked at.
    """
    from charlm.data.reader import TextPipeline

    usual = asdict(TextPipeline())
    units = settings.get("units")
    flat = {**settings, **(units if isinstance(units, dict) else {})}
    defaults = {**usual, **usual["units"]}
    kind = str(flat.pop("unit", "unit"))
    others = {name: value for name, value in flat.items() if name != "units"}
    return [
        kind,
        *(
            name if value is True else f"{name} {value!r}"
            for name, value in others.items()
            if value != defaults.get(name)
        ),
    ]
