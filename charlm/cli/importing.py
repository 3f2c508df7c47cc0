"""charlm import."""

from __future__ import annotations

from pathlib import Path

import click

from charlm.cli.options import FilePath
from charlm.cli.show import counted, shell, shown_path
from charlm.runs import importing
from charlm.runs.directory import RunDirectory


@click.command("import")
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
    loaded = importing.load(file, vocabulary_path)
    importing.save(loaded, RunDirectory(out))
    model = loaded.config.model
    assumed = ", with tanh: a state_dict does not say" if vocabulary_path and model.cell == "rnn" else ""
    click.echo(
        f"{shown_path(out)}: {model.cell}, {counted(model.layers, 'layer')} of {model.hidden:,}, "
        f"{counted(len(loaded.vocabulary), 'unit')}, {loaded.parameters.flat.size:,} parameters{assumed}"
    )
    click.echo(
        "next:\n"
        f"  {shell('charlm', 'sample', '--checkpoint', out)}\n"
        f"  {shell('charlm', 'eval', 'perplexity', '--checkpoint', out, '--corpus', 'FILE')}\n"
        f"  {shell('charlm', 'train', '--corpus', 'FILE', '--init', out, '--out', 'DIR')}"
    )
