"""A model from weights in a `.safetensors` file: one that charlm wrote, or a `state_dict` of PyTorch's."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from charlm.arrays import Ids, Shape
from charlm.config.build import build_model, build_pipeline
from charlm.config.schema import PATH_KEYS, Config, from_nested
from charlm.data.vocabulary import Vocabulary
from charlm.errors import CharlmError, CheckpointError, ConfigError, RunError, shortened
from charlm.nn.parameters import Parameters
from charlm.runs import checkpoint
from charlm.runs.checkpoint import NOT_TRAINED, Checkpoint, unlisted
from charlm.runs.description import FORMAT, KEY
from charlm.runs.directory import RunDirectory
from charlm.runs.pytorch import CLASSES, GATES, from_pytorch
from charlm.runs.tensors import Tensors
from charlm.system.files import reason

_PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
"""Suffixes of files that hold Python objects, which run code when they are opened."""

_PICKLED_BEGINNINGS = (b"PK\x03\x04", b"\x80\x02\x8a\x0a")
"""First bytes of such files under other names. Read as the length of a header, both are above the limit."""

_AS_SAFETENSORS = (
    "safetensors.torch.save_file({k: v.clone() for k, v in model.state_dict().items()}, "
    '"weights.safetensors")'
)
"""What writes a file in PyTorch; copies, because it refuses tied weights."""

_VOCABULARY_BYTES = 10_000_000
"""Longest list of characters."""

_RECURRENT = re.compile(r"(?:weight|bias)_(?:ih|hh)(_l(?:0|[1-9][0-9]{0,5}))?")
"""Names of the tensors of an nn.RNN, nn.LSTM or nn.GRU, which end in the layer's number, or of a cell."""

_EMBEDDING = ("emb", "enc", "wte", "tok")
"""Parts of the usual names of an nn.Embedding, the surest first."""

_OTHER_NETWORKS = {
    r"(weight|bias)_(ih|hh|hr)_l[0-9]+_reverse$": "a bidirectional network cannot generate",
    r"weight_hr_l[0-9]+$": "charlm has no projections (proj_size)",
    r"(^|[._])weight\w*_(raw|g|v)$|parametrizations": "write the plain weight, without weight drop or norm",
}
"""Names of tensors of recurrent networks that charlm does not have, as patterns, and why."""

_OTHER_LAYERS = {
    r"(^|[._])(w|weight)_c[ifo]\b|peep": "charlm has no peepholes",
    r"norm|(^|[._])ln[._0-9]": "charlm does not normalise layers",
}
"""The same for tensors that have no place beside the network."""


def load(path: Path, vocabulary: Path | None = None) -> Checkpoint:
    """The model in a file; one of PyTorch's needs the file of its `vocabulary`.

    Nothing in the file is trusted: names and shapes are checked before any numbers are read. Raises
    `CheckpointError` if the file is missing, damaged, or cannot be converted, and `ConfigError` if
    it is of another kind, or the vocabulary is missing, superfluous or wrong.
    """
    if path.suffix.lower() == ".npz":
        raise ConfigError(f"{path} needs no import: a checkpoint of charlm is read with `checkpoint={path}`")
    if path.suffix.lower() in _PICKLED:
        raise _pickled(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise CheckpointError(f"{path} cannot be read: it is not a regular file")
    try:
        with path.open("rb") as stream:
            if stream.read(4) in _PICKLED_BEGINNINGS:
                raise _pickled(path)
            tensors = Tensors(stream)
            if KEY in tensors.metadata:
                if vocabulary is not None:
                    raise ConfigError(f"`vocabulary`: {path} has its own")
                return _from_description(tensors)
            if vocabulary is None:
                raise ConfigError(
                    f"{path} does not say which characters its ids are: add `vocabulary=FILE`, a JSON list "
                    "of the characters in the order of their ids, or their mapping (stoi or itos)"
                )
            return _from_pytorch(tensors, _characters(vocabulary))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _pickled(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} is never opened: such files can run code. In PyTorch, write the weights with "
        f"{_AS_SAFETENSORS}"
    )


def save(loaded: Checkpoint, directory: RunDirectory) -> None:
    """Make a run of a model, whole or not at all, in a directory that holds none, its `run.dir`.

    Raises `RunError` or `CheckpointError`.
    """
    loaded = replace(loaded, config=loaded.config.replace({"run.dir": str(directory.path)}))
    there = os.path.isdir(directory.path)
    with directory.lock():
        if directory.holds_run():
            raise RunError(f"{directory.path} already holds a run: `out=DIR` goes elsewhere")
        files = (directory.best, directory.last, directory.metrics, directory.config)
        new = [file for file in files if not os.path.lexists(file)]
        try:
            directory.create(loaded.config.to_yaml())
            for file in (directory.best, directory.last):
                checkpoint.save(file, loaded)
        except BaseException:
            for file in new:
                file.unlink(missing_ok=True)
            if not there:
                with contextlib.suppress(OSError):
                    directory.path.rmdir()
            raise


@dataclass(frozen=True)
class _Network:
    """A network of PyTorch's, and what its tensors are called in a file."""

    cell: str
    layers: int
    hidden: int
    inputs: int
    """Width of what the first layer reads."""
    names: Mapping[str, str]
    """Names in the file by those that `to_pytorch` gives."""
    embedding: str | None = None

    def shapes(self, V: int) -> dict[str, Shape]:
        """The shape of every tensor, by the names that `to_pytorch` gives."""
        H, rows = self.hidden, len(GATES[self.cell]) * self.hidden
        shapes: dict[str, Shape] = {}
        for layer in range(self.layers):
            shapes[f"rnn.weight_ih_l{layer}"] = (rows, H if layer else self.inputs)
            shapes[f"rnn.weight_hh_l{layer}"] = (rows, H)
            shapes[f"rnn.bias_ih_l{layer}"] = shapes[f"rnn.bias_hh_l{layer}"] = (rows,)
        return shapes | {"output.weight": (V, H), "output.bias": (V,)}


def _from_description(tensors: Tensors) -> Checkpoint:
    """A model that charlm wrote."""
    try:
        about = json.loads(tensors.metadata[KEY])
        if not isinstance(about, dict):
            raise CheckpointError("it is not an object")
        if about["format"] != FORMAT:
            raise CheckpointError(f"format {shortened(about['format'])}; this charlm reads {FORMAT}")
        own = {f"corpus.{key}" for key in about["corpus"]}.intersection(PATH_KEYS)
        if own:
            raise CheckpointError(f"{min(own)} names a text of another machine")
        config = from_nested({"model": about["model"], "corpus": about["corpus"]}, "configuration")
        pipeline = build_pipeline(config.corpus)
        codes = unlisted(about["vocabulary"], config.corpus.unit)
        vocabulary = Vocabulary(codes, pipeline.units, pipeline.min_count > 1)
        if not len(vocabulary.codes):
            raise CheckpointError("the vocabulary is empty")
        text = {key: about["text"][key] for key in ("digest", "characters", "train") if key in about["text"]}
        if not 0 <= text["characters"] < 2**63:
            raise CheckpointError("the length of its text")
        checkpoint.complete(text, dict(NOT_TRAINED), config)
    except KeyError as error:
        raise CheckpointError(f"its description of a model lacks {error}") from error
    except (TypeError, ValueError, RecursionError, CharlmError) as error:
        raise CheckpointError(f"its description of a model is invalid: {shortened(error)}") from error
    model = config.model
    if model.cell not in CLASSES or (model.cell == "gru" and model.gru_reset == "before"):
        raise CheckpointError(f"its cell cannot be {model.cell}, reset {model.gru_reset}")
    if model.layers > len(tensors.shapes):
        raise CheckpointError(f"tensors are missing: its configuration asks for {model.layers} layers")
    names = {name: name for name in tensors.shapes}
    network = _Network(model.cell, model.layers, model.hidden, len(vocabulary), names)
    order = np.arange(len(vocabulary))
    return _made(tensors, network, config, vocabulary, order, text)


def _from_pytorch(tensors: Tensors, codes: Ids) -> Checkpoint:
    """A model of PyTorch's whose unit with the id k is the character `codes[k]`."""
    network = _found(tensors.shapes, len(codes))
    model = {"cell": network.cell, "hidden": network.hidden, "layers": network.layers, "gru_reset": "after"}
    try:
        config = from_nested({"model": model}, "the network")
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    vocabulary = Vocabulary(codes.tolist(), build_pipeline(config.corpus).units)
    text = {"digest": "", "characters": 0, "train": 0}
    return _made(tensors, network, config, vocabulary, np.argsort(codes), text)


def _made(
    tensors: Tensors,
    network: _Network,
    config: Config,
    vocabulary: Vocabulary,
    order: Ids,
    text: dict[str, Any],
) -> Checkpoint:
    """The checkpoint of a network, whose unit with our id k has the id `order[k]` in the file.

    With an embedding E `[V, D]` the input of the first layer is `E[x]`, and `E[x] W_ih^T` is a row of
    `E W_ih^T`: the two matrices are one. Tensors that PyTorch leaves out are biases of zero.
    """
    _check_shapes(tensors.shapes, network, len(vocabulary))
    arrays = {
        name: tensors.array(network.names[name]) if name in network.names else np.zeros(shape, np.float32)
        for name, shape in network.shapes(len(vocabulary)).items()
    }
    if network.embedding:
        E = tensors.array(network.embedding)
        wide = arrays["rnn.weight_ih_l0"].astype(np.float64) @ E.astype(np.float64).T
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite
            arrays["rnn.weight_ih_l0"] = wide.astype(np.float32)
    model = build_model(config.model, len(vocabulary))
    with np.errstate(over="ignore"):
        ours = from_pytorch(arrays, network.cell, model.cell.gates, model.layers)
    ours["layers.0.Wx"] = ours["layers.0.Wx"][:, order]
    ours["output.W"] = ours["output.W"][:, order]
    ours["output.b"] = ours["output.b"][order]
    parameters = Parameters(model.shapes())
    for name, view in parameters.items():
        view[...] = ours[name]
    if not np.isfinite(parameters.flat).all():
        raise CheckpointError("a product or sum of its numbers is beyond float32")
    return Checkpoint(config, vocabulary, parameters, text, dict(NOT_TRAINED))


def _check_shapes(shapes: Mapping[str, Shape], network: _Network, V: int) -> None:
    """Raise `CheckpointError` unless the tensors are those of this network, and no others.

    The output may have no bias, and the recurrent layers none at all.
    """
    left_out = {name for name in ("output.bias",) if name not in network.names}
    if not any(name.startswith("rnn.bias") for name in network.names):
        left_out |= {name for name in network.shapes(V) if name.startswith("rnn.bias")}
    for name, shape in network.shapes(V).items():
        called = network.names.get(name)
        if called is None and name in left_out:
            continue
        if called is None:
            raise CheckpointError(f"{name} is missing")
        if shapes[called] != shape:
            raise CheckpointError(f"{called} is {_by(shapes[called])}, and must be {_by(shape)}")
    others = sorted(network.names[name] for name in network.names.keys() - network.shapes(V).keys())
    if others:
        raise CheckpointError(f"{shortened(', '.join(others))} does not belong to such a network")


def _found(shapes: Mapping[str, Shape], V: int) -> _Network:
    """The network of PyTorch's that a file holds, under any names, for a vocabulary of `V` characters."""
    first = [name for name in shapes if re.search(r"weight_ih(_l0)?$", name)]
    if len(first) != 1:
        there = shortened(", ".join(sorted(first or shapes)) or "nothing")
        many = f"{len(first)} recurrent networks" if first else "no weight_ih_l0"
        hint = "; a second one must have the names of the next layer of the first, …_l1" if first else ""
        raise CheckpointError(f"{many} of an nn.RNN, nn.LSTM or nn.GRU; it holds {there}{hint}")
    _refuse(shapes, _OTHER_NETWORKS)
    prefix, _, layer = first[0].rpartition("weight_ih")
    names = {}
    for name in shapes:
        short = name.removeprefix(prefix)
        if name.startswith(prefix) and (match := _RECURRENT.fullmatch(short)):
            names[f"rnn.{short}" if match[1] else f"rnn.{short}_l0"] = name
    recurrent = f"{prefix}weight_hh{layer}"
    matrix = shapes.get(recurrent, ())
    if len(matrix) != 2 or not matrix[1] or matrix[0] % matrix[1]:
        raise CheckpointError(f"{recurrent} is not the recurrent matrix of a network")
    gates, H = matrix[0] // matrix[1], matrix[1]
    cell = next((name for name, order in GATES.items() if len(order) == gates), None)
    if cell is None:
        raise CheckpointError(f"{recurrent} is of {gates} gates; an RNN has 1, a GRU 3, an LSTM 4")
    if len(shapes[first[0]]) != 2:
        raise CheckpointError(f"{first[0]} is {_by(shapes[first[0]])}, and must be a matrix")
    inputs = shapes[first[0]][1]
    others = {name: shape for name, shape in shapes.items() if name not in names.values()}
    output, embedding = _output_and_embedding(others, V, H, inputs)
    if embedding is None and inputs != V:
        raise CheckpointError(
            f"{first[0]} takes {inputs} inputs; without an nn.Embedding it must take the {V} characters of "
            "the vocabulary, one-hot"
        )
    names["output.weight"] = f"{output}weight"
    if f"{output}bias" in shapes:
        names["output.bias"] = f"{output}bias"
    layers = sum(name.startswith("rnn.weight_hh_l") for name in names)
    return _Network(cell, layers, H, inputs, names, embedding)


def _output_and_embedding(others: Mapping[str, Shape], V: int, H: int, inputs: int) -> tuple[str, str | None]:
    """The prefix of the output layer's names, and the name of the embedding, if there is one."""
    matrices = [name for name, shape in others.items() if name.endswith("weight") and len(shape) == 2]
    outputs = [name for name in matrices if others[name] == (V, H)]
    embeddings = [
        name
        for name in matrices
        if others[name] == (V, inputs) and f"{name.removesuffix('weight')}bias" not in others
    ]
    if len(outputs) > 1:  # an embedding as wide as the network looks like an output, but has no bias
        outputs = [name for name in outputs if name not in embeddings] or outputs
    for part in _EMBEDDING:
        if len(outputs) > 1:
            outputs = [name for name in outputs if part not in name.lower()] or outputs
    if len(outputs) != 1:
        there = ", ".join(f"{name} {_by(others[name])}" for name in sorted(matrices)) or "nothing"
        hint = f"; the name of the embedding must hold {_EMBEDDING[0]!r}" if outputs else ""
        raise CheckpointError(
            f"one output layer of {V} characters x {H} units must be there beside the network; there is "
            f"{shortened(there)}{hint}"
        )
    if matrices == outputs and inputs == H != V:
        raise CheckpointError(
            f"{outputs[0]} cannot be both the nn.Embedding and the output layer, unless the metadata say "
            f"that they are tied: write both with {_AS_SAFETENSORS}"
        )
    output = outputs[0].removesuffix("weight")
    embeddings = [name for name in embeddings if name != outputs[0]]
    unused = sorted(others.keys() - {f"{output}weight", f"{output}bias", *embeddings[:1]})
    _refuse(unused, _OTHER_LAYERS)
    if unused:
        raise CheckpointError(
            f"charlm has no layer for {shortened(', '.join(unused))}: only an nn.Embedding, one nn.RNN, "
            "nn.LSTM or nn.GRU, and an nn.Linear can be converted; write the file without what is not used"
        )
    return output, embeddings[0] if embeddings else None


def _refuse(names: Iterable[str], patterns: Mapping[str, str]) -> None:
    """Raise `CheckpointError` for the first name that has one of the patterns, with the reason."""
    for name in names:
        for pattern, why in patterns.items():
            if re.search(pattern, name):
                raise CheckpointError(f"{name}: {why}")


def _characters(path: Path) -> Ids:
    """The codes of the characters in a JSON list or mapping; raises `ConfigError` if it is neither."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_VOCABULARY_BYTES + 1)
        if len(text) > _VOCABULARY_BYTES:
            raise ConfigError(f"`vocabulary`: {path} has more than {_VOCABULARY_BYTES:,} bytes")
        listed = json.loads(text.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"`vocabulary`: {path} cannot be read: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"`vocabulary`: {path} is not JSON in UTF-8: {shortened(error)}") from error
    if isinstance(listed, dict):  # stoi {"a": 0}, or itos {"0": "a"}
        stoi = all(type(k) is int for k in listed.values())
        by_id = {str(k): unit for unit, k in listed.items()} if stoi else listed
        missing = next((k for k in range(len(listed)) if str(k) not in by_id), None)
        if missing is not None:
            raise ConfigError(
                f"`vocabulary`: {path} maps no character to the id {missing}, and must map all of 0 to "
                f"{len(listed) - 1}"
            )
        listed = [by_id[str(k)] for k in range(len(listed))]
    if not isinstance(listed, list) or not listed:
        raise ConfigError(
            f"`vocabulary`: {path} is neither a list of characters in the order of their ids nor a mapping "
            "between characters and ids"
        )
    for place, unit in enumerate(listed):
        if not isinstance(unit, str) or len(unit) != 1 or 0xD800 <= ord(unit) < 0xE000:
            raise ConfigError(
                f"`vocabulary`: id {place} of {path} is {shortened(repr(unit))}, not one character: charlm "
                "has no special tokens"
            )
    (most, times), *_ = Counter(listed).most_common(1)
    if times > 1:
        raise ConfigError(
            f"`vocabulary`: {path} holds {most!r} {'twice' if times == 2 else f'{times} times'}"
        )
    return np.array([ord(unit) for unit in listed], np.uint32)


def _by(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "a number"
