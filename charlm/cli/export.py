"""charlm export."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from charlm.cli.options import FilePath, checkpoint_option, say_which
from charlm.cli.show import say, shown_path
from charlm.system import blas

FORMATS = {".safetensors": "weights", ".onnx": "graph", ".html": "page"}
"""The module of `charlm.export` that writes a file with each suffix."""


_HELP = """Write a trained model to FILE, in the format of its suffix.

\b
.safetensors  the weights, named and ordered as in PyTorch
.onnx         the network, for ONNX Runtime and others
.html         a page that generates text in a browser, without a network
"""


@click.command(help=_HELP, short_help="Write a trained model as safetensors, ONNX or a web page.")
@click.argument("file", type=FilePath())
@checkpoint_option
@click.option(
    "--float32", is_flag=True, help="Keep every bit of the weights in a page, which is then twice as large."
)
def export(file: Path, checkpoint_path: Path | None, float32: bool) -> None:
    """Write a trained model in the format of the suffix."""
    module = FORMATS.get(file.suffix.lower())
    if module is None:
        raise click.UsageError(f"{shown_path(file)}: the suffix must be one of {', '.join(FORMATS)}")
    if float32 and module != "page":
        raise click.UsageError("--float32 is for pages: other files hold every bit of the weights anyway.")
    blas.prepare()
    from charlm.runs import checkpoint
    from charlm.runs.directory import find_checkpoint

    found = find_checkpoint(checkpoint_path)
    loaded = checkpoint.load(found)
    say_which(checkpoint_path, found)
    writer = importlib.import_module(f"charlm.export.{module}")
    lines = writer.write(file, loaded, **({"float32": True} if float32 else {}))
    say(f"{shown_path(file)}: {file.stat().st_size / 1e6:.2f} MB")
    for line in lines:
        click.echo(line)
