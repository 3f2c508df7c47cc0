"""charlm info."""

from __future__ import annotations

import json
from pathlib import Path

import click

from charlm.cli.options import checkpoint_option, json_option
from charlm.cli.show import losses, shown_paths
from charlm.config.schema import plain
from charlm.errors import CorpusError
from charlm.system import blas
from charlm.system.files import reason


@click.command(short_help="Show what a checkpoint holds, or what is cached.")
@checkpoint_option
@click.option("--cache", "show_cache", is_flag=True, help="List the encoded texts that are kept instead.")
@click.option("--clear-cache", is_flag=True, help="Remove the encoded texts that are kept.")
@json_option
def info(checkpoint_path: Path | None, show_cache: bool, clear_cache: bool, as_json: bool) -> None:
    """What a checkpoint holds: configuration, vocabulary, sizes, progress and scores.

    With --cache, which encoded texts are kept so that they need not be read again.
    """
    blas.prepare()
    if sum((show_cache, clear_cache, checkpoint_path is not None)) > 1:
        raise click.UsageError("--checkpoint, --cache and --clear-cache exclude each other.")
    if show_cache or clear_cache:
        _cache(clear_cache, as_json)
        return
    from charlm.runs import checkpoint
    from charlm.runs.directory import find_checkpoint

    file = find_checkpoint(checkpoint_path)
    loaded = checkpoint.load(file)
    progress = loaded.progress
    units = loaded.vocabulary.units
    if as_json:
        values = {
            "checkpoint": str(file),
            "format": checkpoint.FORMAT,
            "config": loaded.config.nested(),
            "vocabulary": {
                "unit": units.unit,
                "normalize": units.normalize,
                "has_unknown": loaded.vocabulary.has_unknown,
                "size": len(loaded.vocabulary),
                "codes": [int(code) for code in loaded.vocabulary.codes],
            },
            "parameters": loaded.parameters.flat.size,
            "shapes": {name: list(view.shape) for name, view in loaded.parameters.items()},
            "corpus": loaded.corpus,
            "step": progress["step"],
            "epoch": progress["epoch"],
            "validation_loss": progress["validation"],
            "best_validation_loss": progress["best"],
            "best_step": progress["best_step"],
        }
        click.echo(json.dumps(values))
        return
    click.echo(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")
    click.echo(f"update {progress['step']:,}, epoch {progress['epoch']:.2f}")
    if progress["validation"] is not None:
        click.echo(f"loss {losses(progress['validation'])}")
        click.echo(f"best {losses(progress['best'])}, at update {progress['best_step']:,}")
    known = " ".join(units.describe(int(code)) for code in loaded.vocabulary.codes[:12])
    more = " …" if len(loaded.vocabulary) > 12 else ""
    unknown = ", <unk> the last" if loaded.vocabulary.has_unknown else ""
    click.echo(f"vocabulary of {len(loaded.vocabulary):,} {units.unit}s: {known}{more}{unknown}")
    click.echo(f"{loaded.parameters.flat.size:,} parameters:")
    for name, view in loaded.parameters.items():
        click.echo(f"  {name:<16} {' x '.join(map(str, view.shape))}")
    click.echo("configuration:")
    for dotted, value in loaded.config.flat().items():
        click.echo(f"  {dotted}: {plain(value)}")


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
            click.echo(f"removed {_files(files)}, {size / 1e6:,.1f} MB, from {cache.directory}")
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
    click.echo(f"{cache.directory}: {_files(len(entries))}, {size / 1e6:,.1f} MB")
    for entry in entries:
        units = entry.settings.get("units")
        units = (
            units if isinstance(units, dict) else {}
        )  # the digest, which it may not have, is not looked at
        kind = f"{units.get('unit', 'unit')}s"
        if units.get("normalize", "none") != "none":
            kind += f" ({units['normalize']})"
        click.echo(f"  {entry.bytes / 1e6:10,.1f} MB  {entry.units:,} {kind} of {shown_paths(entry.names)}")


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
