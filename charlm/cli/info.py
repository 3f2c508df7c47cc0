"""charlm info."""

from __future__ import annotations

import json
from pathlib import Path

import click

from charlm import machine
from charlm.cli.options import checkpoint_option, json_option
from charlm.cli.show import losses


@click.command()
@checkpoint_option
@json_option
def info(checkpoint_path: Path | None, as_json: bool) -> None:
    """What a checkpoint holds: configuration, vocabulary, sizes, progress and scores."""
    machine.prepare()
    from charlm import checkpoint
    from charlm.rundir import find_checkpoint

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
    click.echo(f"vocabulary of {len(loaded.vocabulary):,} {units.unit}s: {known}{more}")
    click.echo(f"{loaded.parameters.flat.size:,} parameters:")
    for name, view in loaded.parameters.items():
        click.echo(f"  {name:<16} {' x '.join(map(str, view.shape))}")
    click.echo("configuration:")
    for dotted, value in loaded.config.flat().items():
        click.echo(f"  {dotted}: {list(value) if isinstance(value, tuple) else value}")
