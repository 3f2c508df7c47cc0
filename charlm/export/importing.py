"""A model from weights in a `.safetensors` file: one that charlm wrote, or a `state_dict` of PyTorch's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from charlm.arrays import Array, Ids
from charlm.config.build import build_model, build_pipeline
from charlm.config.schema import Config, from_nested
from charlm.data.vocabulary import Vocabulary
from charlm.errors import CharlmError, CheckpointError, ConfigError, RunError, shortened
from charlm.export.description import FORMAT, KEY
from charlm.export.pytorch import CLASSES, GATES, from_pytorch
from charlm.nn.parameters import Parameters
from charlm.runs import checkpoint, tensors
from charlm.runs.checkpoint import Checkpoint, unlisted
from charlm.runs.directory import RunDirectory
from charlm.system.files import reason

_PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
"""Suffixes of files that hold Python objects, which run code when they are opened."""

_VOCABULARY_BYTES = 10_000_000
"""Longest list of characters."""

_NOT_TRAINED = {"step": 0, "epoch": 0.0, "validation": None, "best": None, "best_step": 0}
"""The progress of a model that comes from elsewhere."""


def load(path: Path, vocabulary: Path | None = None) -> Checkpoint:
    """The model in a file; one of PyTorch's needs the file of its `vocabulary`.

    Raises `CheckpointError` if the file is missing, damaged, or cannot be converted, and
    `ConfigError` if it is of another kind, or the vocabulary is missing or superfluous.
    """
    if path.suffix.lower() in _PICKLED:
        raise ConfigError(
            f"{path} is never opened: such files can run code. In PyTorch, write the weights with "
            'safetensors.torch.save_file(model.state_dict(), "weights.safetensors")'
        )
    found, metadata = tensors.read(path)
    own = KEY in metadata
    if own and vocabulary is not None:
        raise ConfigError(f"--vocabulary: {path} has its own")
    if not own and vocabulary is None:
        raise ConfigError(
            f"{path} does not say which characters its ids are: add --vocabulary FILE, a JSON list of the "
            "characters in the order of their ids"
        )
    try:
        if vocabulary is not None:
            return _from_pytorch(found, _characters(vocabulary))
        return _from_description(found, json.loads(metadata[KEY]))
    except ConfigError:
        raise
    except CharlmError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path} does not describe a model of charlm: {shortened(error)}") from error


def save(loaded: Checkpoint, directory: RunDirectory) -> None:
    """Make a run of a model in a directory that holds none; raises `RunError` or `CheckpointError`."""
    with directory.lock():
        if directory.holds_run():
            raise RunError(f"{directory.path} already holds a run: --out DIR goes elsewhere")
        directory.create(loaded.config.to_yaml())
        for file in (directory.best, directory.last):
            checkpoint.save(file, loaded)


def _from_description(found: Mapping[str, Array], about: Any) -> Checkpoint:
    """A model that charlm wrote."""
    if about["format"] != FORMAT:
        raise CheckpointError(
            f"format {shortened(about['format'])} of its description; this charlm reads {FORMAT}"
        )
    config = from_nested({"model": about["model"], "corpus": about["corpus"]}, "its description")
    pipeline = build_pipeline(config.corpus)
    codes = unlisted(about["vocabulary"], config.corpus.unit)
    vocabulary = Vocabulary(codes, pipeline.units, pipeline.min_count > 1)
    text = {"digest": str(about["text"]["digest"]), "characters": int(about["text"]["characters"])}
    return _made(config, vocabulary, found, np.arange(len(vocabulary)), text)


def _from_pytorch(found: Mapping[str, Array], codes: Ids) -> Checkpoint:
    """A model of PyTorch's whose unit with the id k is the character `codes[k]`."""
    named, cell = _named(found, len(codes))
    H = named["rnn.weight_hh_l0"].shape[1]
    layers = sum(name.startswith("rnn.weight_hh_l") for name in named)
    values = {"model.cell": cell, "model.hidden": H, "model.layers": layers, "model.gru_reset": "after"}
    config = Config().replace(values)
    vocabulary = Vocabulary(codes.tolist(), build_pipeline(config.corpus).units)
    text = {"digest": "", "characters": 0}
    return _made(config, vocabulary, named, np.argsort(codes), text)


def _made(
    config: Config, vocabulary: Vocabulary, found: Mapping[str, Array], order: Ids, text: dict[str, Any]
) -> Checkpoint:
    """A checkpoint from tensors by PyTorch's names; the unit with our id k has the id `order[k]` there."""
    model = build_model(config.model, len(vocabulary))
    cell = config.model.cell
    if cell not in CLASSES:
        raise CheckpointError(f"cell {shortened(cell)}: it can be {', '.join(CLASSES)}")
    _expect(found, cell, model.layers, model.vocab, model.vocab, model.hidden)
    arrays = from_pytorch(found, cell, model.cell.gates, model.layers)
    arrays["layers.0.Wx"] = arrays["layers.0.Wx"][:, order]
    arrays["output.W"] = arrays["output.W"][:, order]
    arrays["output.b"] = arrays["output.b"][order]
    parameters = Parameters(model.shapes())
    for name, view in parameters.items():
        view[...] = arrays[name]
    return Checkpoint(config, vocabulary, parameters, text, dict(_NOT_TRAINED))


def _expect(found: Mapping[str, Array], cell: str, layers: int, inputs: int, V: int, H: int) -> None:
    """Raise `CheckpointError` unless the tensors are those of such a network, and no others."""
    G = len(GATES[cell])
    expected: dict[str, tuple[int, ...]] = {"output.weight": (V, H), "output.bias": (V,)}
    if layers > len(found):
        raise CheckpointError(f"its configuration asks for {layers} layers")
    for layer in range(layers):
        expected[f"rnn.weight_ih_l{layer}"] = (G * H, H if layer else inputs)
        expected[f"rnn.weight_hh_l{layer}"] = (G * H, H)
        expected[f"rnn.bias_ih_l{layer}"] = expected[f"rnn.bias_hh_l{layer}"] = (G * H,)
    for name, shape in expected.items():
        if name not in found:
            raise CheckpointError(f"{name} is missing")
        if found[name].shape != shape:
            raise CheckpointError(f"{name} is {_by(found[name].shape)}, and must be {_by(shape)}")
    others = sorted(found.keys() - expected.keys())
    if others:
        raise CheckpointError(f"{shortened(', '.join(others))} does not belong to such a network")


def _named(found: Mapping[str, Array], V: int) -> tuple[dict[str, Array], str]:
    """A network of PyTorch's by the names that `to_pytorch` gives, its embedding folded in; and its cell.

    With an embedding E `[V, E]` the input of the first layer is `E[x]`, and `E[x] W_ih^T` is a row of
    `E W_ih^T`: the two matrices are one.
    """
    first = [name for name in found if name.endswith("weight_ih_l0")]
    if len(first) != 1:
        there = shortened(", ".join(sorted(found)) or "nothing")
        many = "no weight_ih_l0" if not first else f"{len(first)} recurrent networks"
        raise CheckpointError(f"{many} of an nn.RNN, nn.LSTM or nn.GRU; it holds {there}")
    prefix = first[0].removesuffix("weight_ih_l0")
    own = {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}
    recurrent = {name: array for name, array in own.items() if name[:7] in ("weight_", "bias_ih", "bias_hh")}
    for name in recurrent:
        if name.endswith("_reverse"):
            raise CheckpointError(f"{prefix}{name}: a bidirectional network cannot generate")
        if "_hr_" in name:
            raise CheckpointError(f"{prefix}{name}: charlm has no projections (proj_size)")
    matrix = recurrent.get("weight_hh_l0")
    if matrix is None or matrix.ndim != 2 or not matrix.shape[1] or matrix.shape[0] % matrix.shape[1]:
        raise CheckpointError(f"{prefix}weight_hh_l0 is not the recurrent matrix of a network")
    gates, H = matrix.shape[0] // matrix.shape[1], matrix.shape[1]
    cell = next((name for name, order in GATES.items() if len(order) == gates), None)
    if cell is None:
        raise CheckpointError(f"{prefix}weight_hh_l0 is of {gates} gates; an RNN has 1, a GRU 3, an LSTM 4")
    others = {name: array for name, array in found.items() if name.removeprefix(prefix) not in recurrent}
    inputs = recurrent["weight_ih_l0"].shape[-1]
    output, embedding = _output_and_embedding(others, V, H, inputs)
    named = {f"rnn.{name}": array for name, array in recurrent.items()}
    for layer in range(sum(name.startswith("weight_hh_l") for name in recurrent)):
        for bias in (f"rnn.bias_ih_l{layer}", f"rnn.bias_hh_l{layer}"):
            named.setdefault(bias, np.zeros(gates * H, np.float32))
    named["output.weight"] = found[f"{output}weight"]
    named["output.bias"] = found.get(f"{output}bias", np.zeros(V, np.float32))
    _expect(named, cell, sum(name.startswith("weight_hh_l") for name in recurrent), inputs, V, H)
    if embedding:
        wide = named["rnn.weight_ih_l0"].astype(np.float64) @ found[embedding].astype(np.float64).T
        named["rnn.weight_ih_l0"] = wide.astype(np.float32)
    elif inputs != V:
        raise CheckpointError(
            f"{prefix}weight_ih_l0 takes {inputs} inputs; without an nn.Embedding it must take the {V} "
            "characters of the vocabulary, one-hot"
        )
    return named, cell


def _output_and_embedding(others: Mapping[str, Array], V: int, H: int, inputs: int) -> tuple[str, str | None]:
    """The prefix of the output layer's names, and the name of the embedding, if there is one."""
    matrices = [name for name, array in others.items() if name.endswith("weight") and array.ndim == 2]
    biased = {name.removesuffix("bias") for name in others if name.endswith("bias")}
    outputs = [name for name in matrices if others[name].shape == (V, H)]
    embeddings = [
        name
        for name in matrices
        if others[name].shape == (V, inputs) and name.removesuffix("weight") not in biased
    ]
    if len(outputs) > 1:  # an embedding as wide as the network looks like an output, but has no bias
        outputs = [name for name in outputs if name not in embeddings] or [
            name for name in outputs if "emb" not in name
        ]
    if len(outputs) != 1:
        shapes = ", ".join(f"{name} {_by(others[name].shape)}" for name in sorted(matrices)) or "nothing"
        raise CheckpointError(
            f"one output layer of {V} characters x {H} units must be there beside the network; there is "
            f"{shortened(shapes)}"
        )
    output = outputs[0].removesuffix("weight")
    embeddings = [name for name in embeddings if name != outputs[0]]
    used = {f"{output}weight", f"{output}bias", *embeddings[:1]}
    unused = sorted(others.keys() - used)
    if unused:
        raise CheckpointError(
            f"charlm has no layer for {shortened(', '.join(unused))}: only an nn.Embedding, one nn.RNN, "
            "nn.LSTM or nn.GRU, and an nn.Linear can be converted"
        )
    return output, embeddings[0] if embeddings else None


def _characters(path: Path) -> Ids:
    """The codes of the characters in a JSON list; raises `ConfigError` if it is not one."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_VOCABULARY_BYTES + 1)
        if len(text) > _VOCABULARY_BYTES:
            raise ConfigError(f"--vocabulary: {path} has more than {_VOCABULARY_BYTES:,} bytes")
        listed = json.loads(text.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"--vocabulary: {path} cannot be read: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--vocabulary: {path} is not JSON in UTF-8: {shortened(error)}") from error
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"--vocabulary: {path} is not a list of characters")
    for place, unit in enumerate(listed):
        if not isinstance(unit, str) or len(unit) != 1:
            raise ConfigError(
                f"--vocabulary: entry {place} of {path} is {shortened(repr(unit))}, not one character"
            )
    if len(set(listed)) != len(listed):
        twice = next(unit for place, unit in enumerate(listed) if unit in listed[:place])
        raise ConfigError(f"--vocabulary: {path} holds {twice!r} twice")
    return np.array([ord(unit) for unit in listed], np.uint32)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"
