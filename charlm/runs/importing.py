"""A model from weights in a `.safetensors` file: an export of charlm, or a `state_dict` of PyTorch."""

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
from charlm.config.keys import Config
from charlm.config.reading import from_nested
from charlm.data.vocabulary import Vocabulary
from charlm.nn.parameters import Parameters
from charlm.runs import checkpoint, description
from charlm.runs.checkpoint import NOT_TRAINED, Checkpoint
from charlm.runs.directory import RunDirectory
from charlm.runs.pytorch import CLASSES, GATES, from_pytorch
from charlm.runs.tensors import Tensors
from charlm.system.errors import CheckpointError, ConfigError, RunError, shortened
from charlm.system.files import os_errors_as, reason

_PICKLED = (b"PK\x03\x04", b"\x80\x02\x8a\x0a", b"\x80\x04\x95", b"\x80\x05\x95")
"""First bytes of files of Python objects, which can run code. As lengths of a header they are too large."""

_AS_SAFETENSORS = (
    "safetensors.torch.save_file({k: v.clone() for k, v in model.state_dict().items()}, "
    '"weights.safetensors")'
)
"""The command that writes a file in PyTorch; it copies, because tied weights are refused."""

_VOCABULARY_BYTES = 10_000_000
"""Largest file of characters."""

_RECURRENT = re.compile(r"(?:weight|bias)_(?:ih|hh)(_l(?:0|[1-9][0-9]{0,5}))?")
"""Names of the tensors of an nn.RNN, nn.LSTM or nn.GRU, which end in the layer's number, or of a cell."""

_EMBEDDING = ("emb", "enc", "wte", "tok")
"""Parts of the usual names of an nn.Embedding, the surest first."""

_UNKNOWN = {
    r"(weight|bias)_(ih|hh|hr)_l[0-9]+_reverse$": "a bidirectional network cannot generate",
    r"weight_hr_l[0-9]+$": "charlm has no projections (proj_size)",
    r"(^|[._])weight\w*_(raw|g|v)$|parametrizations": "write the plain weight, without weight drop or norm",
    r"(^|[._])(w|weight)_c[ifo]\b|peep": "charlm has no peepholes",
    r"norm[0-9]*[.]|(^|[._])ln[._0-9]": "charlm does not normalise layers",
}
"""Patterns of the names of tensors for which charlm has no place, and the reason."""


def load(path: Path, vocabulary: Path | None = None) -> Checkpoint:
    """The model in a file; one of PyTorch needs the file of its `vocabulary`.

    Nothing in the file is trusted: names and shapes are checked before any numbers are read. Raises
    `CheckpointError` if the file is missing, damaged, or cannot be converted, and `ConfigError` if
    it is of another kind, or the vocabulary is missing, superfluous or wrong.
    """
    if path.suffix.lower() == ".npz":
        raise ConfigError(f"{path} needs no import: a checkpoint of charlm is read with `checkpoint={path}`")
    if os.path.exists(path) and not os.path.isfile(path):
        raise CheckpointError(f"{path} cannot be read: it is not a regular file")
    try:
        with path.open("rb") as stream:
            if stream.read(4).startswith(_PICKLED):
                raise ConfigError(
                    f"{path} is never opened: such files can run code. In PyTorch, write the weights with "
                    f"{_AS_SAFETENSORS}"
                )
            tensors = Tensors(stream)
            if description.KEY in tensors.metadata:
                if vocabulary is not None:
                    raise ConfigError(f"`vocabulary`: {path} has its own")
                return _from_charlm(tensors)
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


def save(loaded: Checkpoint, directory: RunDirectory) -> None:
    """Make a run of a model, whole or not at all, in a directory that holds none, its `run.dir`.

    Raises `RunError` or `CheckpointError`.
    """
    loaded = replace(loaded, config=loaded.config.replace({"run.dir": str(directory.path)}))
    is_new = not os.path.isdir(directory.path)

    def remove_directory() -> None:
        with contextlib.suppress(OSError):
            directory.path.rmdir()

    with directory.lock(), contextlib.ExitStack() as undo:
        if directory.holds_run():
            raise RunError(f"{directory.path} already holds a run: `out=DIR` goes elsewhere")
        if is_new:
            undo.callback(remove_directory)
        for file in (directory.best, directory.last, directory.metrics, directory.config):
            if not os.path.lexists(file):
                undo.callback(file.unlink, missing_ok=True)
        directory.create(loaded.config.to_commented_yaml())
        for file in (directory.best, directory.last):
            checkpoint.save(file, loaded)
        undo.pop_all()


@dataclass(frozen=True)
class _Network:
    """A network of PyTorch, and the names of its tensors in a file."""

    cell: str
    layers: int
    hidden: int
    inputs: int
    """Width of the input of the first layer."""
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


def _from_charlm(tensors: Tensors) -> Checkpoint:
    """A model that charlm exported."""
    config, vocabulary, text = description.read(tensors.metadata[description.KEY])
    model = config.model
    if model.cell not in CLASSES or (model.cell == "gru" and model.gru_reset == "before"):
        raise CheckpointError(f"its cell cannot be {model.cell}, reset {model.gru_reset}")
    if model.layers > len(tensors.shapes):
        raise CheckpointError(f"tensors are missing: its configuration asks for {model.layers} layers")
    names = {name: name for name in tensors.shapes}
    network = _Network(model.cell, model.layers, model.hidden, len(vocabulary), names)
    return _converted(tensors, network, config, vocabulary, np.arange(len(vocabulary)), text)


def _from_pytorch(tensors: Tensors, codes: Ids) -> Checkpoint:
    """A model of PyTorch in which `codes[k]` is the character with the id k."""
    network = _recognised(tensors.shapes, len(codes))
    model = {"cell": network.cell, "hidden": network.hidden, "layers": network.layers, "gru_reset": "after"}
    try:
        config = from_nested({"model": model}, "the network")
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    vocabulary = build_pipeline(config.corpus).vocabulary(codes.tolist())
    text = {"digest": "", "characters": 0, "train": 0}
    return _converted(tensors, network, config, vocabulary, np.argsort(codes), text)


def _converted(
    tensors: Tensors,
    network: _Network,
    config: Config,
    vocabulary: Vocabulary,
    order: Ids,
    text: dict[str, Any],
) -> Checkpoint:
    """The checkpoint of a network, in which the unit with our id k has the id `order[k]` in the file.

    With an embedding E `[V, D]` the input of the first layer is `E[x]`, and `E[x] W_ih^T` is a row of
    `E W_ih^T`: the two matrices are one. PyTorch leaves out tensors of biases that are zero.
    """
    V = len(vocabulary)
    _check_shapes(tensors.shapes, network, V)
    arrays = {
        name: tensors.array(network.names[name]) if name in network.names else np.zeros(shape, np.float32)
        for name, shape in network.shapes(V).items()
    }
    model = build_model(config.model, V)
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite
        if network.embedding:
            E = tensors.array(network.embedding).astype(np.float64)
            wide = arrays["rnn.weight_ih_l0"].astype(np.float64) @ E.T
            arrays["rnn.weight_ih_l0"] = wide.astype(np.float32)
        ours = from_pytorch(arrays, network.cell, model.cell.gates, model.layers)
    for name in ("layers.0.Wx", "output.W"):
        ours[name] = ours[name][:, order]
    ours["output.b"] = ours["output.b"][order]
    parameters = Parameters(model.shapes())
    for name, view in parameters.items():
        view[...] = ours[name]
    if not np.isfinite(parameters.flat).all():
        raise CheckpointError("a product or sum of its numbers is beyond float32")
    return Checkpoint(config, vocabulary, parameters, text, dict(NOT_TRAINED))


def _check_shapes(shapes: Mapping[str, Shape], network: _Network, V: int) -> None:
    """Raise `CheckpointError` unless the file holds the tensors of this network, and no others.

    The output may have no bias, and the recurrent layers none at all.
    """
    names, expected = network.names, network.shapes(V)
    has_biases = any(name.startswith("rnn.bias") for name in names)
    for name, shape in expected.items():
        called = names.get(name)
        if called is None and name != "output.bias" and (has_biases or not name.startswith("rnn.bias")):
            raise CheckpointError(f"{name} is missing")
        if called is not None and shapes[called] != shape:
            raise CheckpointError(f"{called} is {_by(shapes[called])}, and must be {_by(shape)}")
    others = sorted(names[name] for name in names.keys() - expected.keys())
    if others:
        raise CheckpointError(f"{shortened(', '.join(others))} does not belong to such a network")


def _recognised(shapes: Mapping[str, Shape], V: int) -> _Network:
    """The network of PyTorch in a file, under any names, for a vocabulary of `V` characters."""
    first = [name for name in shapes if re.search(r"weight_ih(_l0)?$", name)]
    if len(first) != 1:
        there = shortened(", ".join(sorted(first or shapes)) or "nothing")
        many = f"{len(first)} recurrent networks" if first else "no weight_ih_l0"
        hint = "; a second one must have the names of the next layer of the first, …_l1" if first else ""
        raise CheckpointError(f"{many} of an nn.RNN, nn.LSTM or nn.GRU; it holds {there}{hint}")
    prefix, _, layer = first[0].rpartition("weight_ih")
    names = {}
    for name in shapes:
        short = name.removeprefix(prefix)
        if name.startswith(prefix) and (match := _RECURRENT.fullmatch(short)):
            names[f"rnn.{short}" if match[1] else f"rnn.{short}_l0"] = name
    others = {name: shape for name, shape in shapes.items() if name not in names.values()}
    for name in others:
        for pattern, why in _UNKNOWN.items():
            if re.search(pattern, name):
                raise CheckpointError(f"{name}: {why}")
    recurrent = f"{prefix}weight_hh{layer}"
    rows, H = shapes[recurrent] if len(shapes.get(recurrent, ())) == 2 else (0, 1)
    cell = next((name for name, gates in GATES.items() if rows == len(gates) * H > 0), None)
    if cell is None:
        raise CheckpointError(
            f"{recurrent} is not the recurrent matrix of 1 gate (an RNN), 3 (a GRU) or 4 (an LSTM)"
        )
    if len(shapes[first[0]]) != 2:
        raise CheckpointError(f"{first[0]} is {_by(shapes[first[0]])}, and must be a matrix")
    inputs = shapes[first[0]][1]
    output, embedding = _output_and_embedding(others, V, H, inputs)
    if embedding is None and inputs != V:
        raise CheckpointError(
            f"{first[0]} takes {inputs} inputs; without an nn.Embedding it must take the {V} characters of "
            "the vocabulary, one-hot"
        )
    names |= {
        f"output.{name}": f"{output}{name}" for name in ("weight", "bias") if f"{output}{name}" in shapes
    }
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
    # an embedding as wide as the network looks like an output, but has no bias and another name
    for doubtful in (
        embeddings,
        *([name for name in outputs if part in name.lower()] for part in _EMBEDDING),
    ):
        if len(outputs) > 1:
            outputs = [name for name in outputs if name not in doubtful] or outputs
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
    embedding = next((name for name in embeddings if name != outputs[0]), None)
    unused = sorted(others.keys() - {f"{output}weight", f"{output}bias", embedding})
    if unused:
        raise CheckpointError(
            f"charlm has no layer for {shortened(', '.join(unused))}: only an nn.Embedding, one nn.RNN, "
            "nn.LSTM or nn.GRU, and an nn.Linear can be converted; write the file without what is not used"
        )
    return output, embedding


def _characters(path: Path) -> Ids:
    """The codes of the characters in a JSON list or mapping; raises `ConfigError` if it is neither."""
    try:
        with os_errors_as(ConfigError, f"`vocabulary`: {path} cannot be read"), path.open("rb") as stream:
            text = stream.read(_VOCABULARY_BYTES + 1)
        if len(text) > _VOCABULARY_BYTES:
            raise ConfigError(f"`vocabulary`: {path} has more than {_VOCABULARY_BYTES:,} bytes")
        units = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"`vocabulary`: {path} is not JSON in UTF-8: {shortened(error)}") from error
    if isinstance(units, dict):  # stoi {"a": 0}, or itos {"0": "a"}
        is_stoi = all(type(k) is int for k in units.values())
        by_id = {str(k): unit for unit, k in units.items()} if is_stoi else units
        units = [by_id.get(str(k)) for k in range(len(units))]
    if not isinstance(units, list) or not units:
        raise ConfigError(
            f"`vocabulary`: {path} is neither a list of characters in the order of their ids nor a mapping "
            "between characters and ids"
        )
    for place, unit in enumerate(units):
        if not isinstance(unit, str) or len(unit) != 1 or 0xD800 <= ord(unit) < 0xE000:
            raise ConfigError(
                f"`vocabulary`: id {place} of {path} is {shortened(repr(unit))}, not one character: ids "
                "begin with 0, and charlm has no special tokens"
            )
    (most, times), *_ = Counter(units).most_common(1)
    if times > 1:
        raise ConfigError(
            f"`vocabulary`: {path} holds {most!r} {'twice' if times == 2 else f'{times} times'}"
        )
    return np.array([ord(unit) for unit in units], np.uint32)


def _by(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape)) or "a number"
