"""Checkpoints: one self-contained `.npz` file each, read and written without pickle.

A checkpoint holds every parameter by name (`parameters/NAME`), the training arrays by name
(`training/NAME`: optimiser slots and carried state), and `metadata`, JSON in UTF-8: format
version, configuration, vocabulary, corpus, progress, and the SHA-256 of everything in the file.
It is enough to sample, to evaluate any text, and to go on training.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm import __version__
from charlm.build import build_model, build_units
from charlm.config import Config, from_nested
from charlm.errors import CharlmError, CheckpointError
from charlm.files import reason, write_whole
from charlm.nn.model import Model
from charlm.nn.parameters import Array, Parameters
from charlm.text.vocabulary import Vocabulary

FORMAT = 1
"""Version of the file format that is written."""

_PARAMETERS, _TRAINING = "parameters/", "training/"


@dataclass(frozen=True)
class Checkpoint:
    """A trained model and, for resuming, the training that made it."""

    config: Config
    vocabulary: Vocabulary
    parameters: Parameters
    corpus: dict[str, Any]
    """`digest` (SHA-256 of the file) and `characters` of the text trained on."""
    progress: dict[str, Any] = field(default_factory=dict)
    """Plain JSON values that training keeps: position, random state, scores."""
    training: dict[str, Array] = field(default_factory=dict)
    """Arrays that training keeps."""

    @property
    def model(self) -> Model:
        """The network that the parameters belong to."""
        return build_model(self.config.model, len(self.vocabulary))


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole or not at all; raises `CheckpointError` naming file and cause."""
    arrays: dict[str, npt.NDArray[Any]] = {
        **{_PARAMETERS + name: array for name, array in checkpoint.parameters.items()},
        **{_TRAINING + name: array for name, array in checkpoint.training.items()},
    }
    metadata = {
        "format": FORMAT,
        "charlm": __version__,
        "config": checkpoint.config.nested(),
        "vocabulary": [int(code) for code in checkpoint.vocabulary.codes],
        "corpus": checkpoint.corpus,
        "progress": checkpoint.progress,
    }
    metadata["sha256"] = _digest(metadata, arrays)
    text = json.dumps(metadata, ensure_ascii=True, allow_nan=False)
    arrays["metadata"] = np.frombuffer(text.encode("ascii"), np.uint8)
    try:
        write_whole(path, lambda stream: np.savez(stream, allow_pickle=False, **arrays))
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be written: {reason(error)}") from error


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; raises `CheckpointError` if it is missing, damaged, or not one."""
    arrays, metadata = _read(path)
    where = f"checkpoint {path}"
    version = metadata.get("format")
    if not isinstance(version, int) or not 1 <= version <= FORMAT:
        raise CheckpointError(f"{where} has format {version!r}; this charlm reads 1 to {FORMAT}")
    stored = metadata.pop("sha256", None)
    if stored != _digest(metadata, arrays):
        raise CheckpointError(f"{where} is damaged: its contents do not match their SHA-256")
    try:
        config = from_nested(metadata["config"], where)
        vocabulary = Vocabulary(metadata["vocabulary"], build_units(config.corpus))
        shapes = build_model(config.model, len(vocabulary)).shapes()
        parameters = Parameters(shapes)
        for name, view in parameters.items():
            array = arrays[_PARAMETERS + name]
            if array.shape != view.shape:
                raise CheckpointError(
                    f"{where}: {name} has shape {array.shape}, its configuration asks for {view.shape}"
                )
            view[...] = array
        return Checkpoint(
            config,
            vocabulary,
            parameters,
            metadata["corpus"],
            metadata["progress"],
            {
                name.removeprefix(_TRAINING): array
                for name, array in arrays.items()
                if name.startswith(_TRAINING)
            },
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{where} is not a charlm checkpoint: {error!r} in its contents") from error
    except CharlmError as error:
        raise CheckpointError(str(error)) from error


def _read(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Every array of the file, and its metadata."""
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise CheckpointError(f"{path} is not a charlm checkpoint: it is a single array")
            arrays = {name: file[name] for name in file.files}
        metadata = json.loads(arrays.pop("metadata").tobytes().decode("utf-8"))
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {reason(error)}") from error
    except (
        ValueError,
        KeyError,
        EOFError,
        RecursionError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise CheckpointError(f"{path} is not a charlm checkpoint, or is damaged") from error
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path} is not a charlm checkpoint: its metadata is not an object")
    return arrays, metadata


def _digest(metadata: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 over the metadata and every array: names, types, shapes and contents."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode("ascii"))
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
