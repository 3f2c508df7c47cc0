"""charlm import."""

from pathlib import Path

import click

import charlm
from charlm.cli.options import Command, FilePath
from charlm.cli.show import counted, shell, shown_path


@click.command("import", cls=Command)
@click.argument("file", type=FilePath())
@click.option("--out", type=FilePath(), metavar="RUN", required=True, help="The directory of the new run.")
@click.option(
    "--vocabulary",
    "vocabulary_path",
    type=FilePath(),
    metavar="FILE",
    help="For PyTorch weights: a JSON list of the characters in the order of their ids, or a JSON mapping of "
    "characters to ids (stoi) or of ids to characters (itos).",
)
def import_(file: Path, out: Path, vocabulary_path: Path | None) -> None:
    """Make a run of the weights in FILE, a .safetensors file.

    FILE comes from `charlm export`, or holds the state_dict of a PyTorch model: an nn.Embedding or
    one-hot input, one nn.RNN (with tanh), nn.LSTM or nn.GRU (or its cell), and an nn.Linear, under any
    names. Tied weights are read too.
    """
    imported = charlm.import_weights(file, out, vocabulary_path).load()
    model, parameters = imported.config.model, sum(array.size for array in imported.parameters.values())
    assumed = ", with tanh: a state_dict does not say" if vocabulary_path and model.cell == "rnn" else ""
    click.echo(
        f"{shown_path(out)}: {model.cell}, {counted(model.layers, 'layer')} of {model.hidden:,}, "
        f"{counted(len(imported.vocabulary), 'unit')}, {parameters:,} parameters{assumed}"
    )
    click.echo(
        "next:\n"
        f"  {shell('charlm', 'sample', '--checkpoint', out)}\n"
        f"  {shell('charlm', 'eval', 'perplexity', '--checkpoint', out, '--corpus', 'FILE')}\n"
        f"  {shell('charlm', 'train', '--corpus', 'FILE', '--init', out, '--out', 'DIR')}"
    )
