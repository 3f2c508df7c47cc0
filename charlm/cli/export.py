"""charlm export."""

from pathlib import Path

import click

from charlm.cli.options import Command, FilePath, checkpoint_option, load, say_which
from charlm.cli.show import say, shown_path
from charlm.export import check

_HELP = """Write a trained model to FILE, in the format of its suffix.

\b
.safetensors  the weights, named and ordered as in PyTorch
.onnx         the network, for ONNX Runtime and others
.html         a page that generates text in a browser, without a network
"""


@click.command(cls=Command, help=_HELP)
@click.argument("file", type=FilePath())
@checkpoint_option
@click.option(
    "--float32", is_flag=True, help="Keep every bit of the weights in a page, which is then twice as large."
)
def export(file: Path, checkpoint_path: Path | None, float32: bool) -> None:
    """Write a trained model in the format of the suffix."""
    check(file, float32)  # a mistake in the name is found before a run is looked for
    model = load(checkpoint_path)
    say_which(checkpoint_path, model.path)
    lines = model.export(file, float32)
    say(f"{shown_path(file)}: {file.stat().st_size / 1e6:.2f} MB")
    for line in lines:
        click.echo(line)
