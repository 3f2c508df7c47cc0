"""Checkpoints: one self-contained `.npz` file each, read and written without pickle.

A checkpoint holds every parameter by name (`parameters/NAME`), the training arrays by name
(`training/NAME`: optimiser slots and carried state), and `metadata`. These are JSON in UTF-8: format
version, configuration, vocabulary, corpus, progress, and the SHA-256 of everything in the file.
It is enough to sample, to evaluate any text, and to resume training.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids
from charlm.config.build import build_model, build_pipeline
from charlm.config.keys import Config
from charlm.config.reading import from_nested
from charlm.data.corpus import own_shares
from charlm.data.texts import boundaries
from charlm.data.vocabulary import Vocabulary
from charlm.nn.ensemble import Network
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.runs.npz import Archive
from charlm.system.errors import CharlmError, CheckpointError, shortened
from charlm.system.files import os_errors_as, write_whole
from charlm.system.version import __version__

FORMAT = 3
"""Version of the file format that is written."""

_PARAMETERS, _TRAINING, _METADATA = "parameters/", "training/", "metadata"

_METADATA_BYTES = 2_000_000
"""Most bytes of metadata: parsed, hostile JSON takes up to 30 times the space; ours has some kilobytes."""


NOT_TRAINED = {
    "step": 0,
    "epoch": 0.0,
    "validation": None,
    "best": None,
    "best_step": 0,
    "best_of": "validation",
}
"""The progress of a model that was not trained here."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained model and, for resuming, the training that made it."""

    config: Config
    vocabulary: Vocabulary
    parameters: Parameters
    corpus: dict[str, Any]
    """The text: its `digest` (see `charlm.data.corpus.Corpus`), the number of its `characters`, and the
    number in its training split, `train`, which is None if an older version did not record it."""
    progress: dict[str, Any] = field(default_factory=dict)
    """Plain JSON values that training keeps: position, random state, scores."""
    training: dict[str, Array] = field(default_factory=dict)
    """Arrays that training keeps."""
    format: int = FORMAT
    """Version of the format of the file that it comes from."""

    @property
    def model(self) -> Model:
        """The network that the parameters belong to."""
        return build_model(self.config.model, len(self.vocabulary), self.config.run.kernel)

    @property
    def network(self) -> Network:
        """What predicts: `model`, or several together."""
        return self.model

    @property
    def members(self) -> Sequence[Checkpoint]:
        """The models that predict together: this one."""
        return (self,)


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
        "vocabulary": listed(checkpoint.vocabulary.codes),
        "corpus": checkpoint.corpus,
        "progress": checkpoint.progress,
    }
    metadata["sha256"] = _digest(metadata, arrays)
    text = json.dumps(metadata, ensure_ascii=True, allow_nan=False)
    arrays[_METADATA] = np.frombuffer(text.encode("ascii"), np.uint8)
    with os_errors_as(CheckpointError, f"checkpoint {path} cannot be written"):
        write_whole(path, lambda stream: np.savez(stream, allow_pickle=False, **arrays))


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; raises `CheckpointError` if it is missing, damaged, or not one.

    Nothing in the file is trusted: it may come from a stranger. Its sizes are checked before memory
    is allocated for them, and its digest at the end.
    """
    where = f"checkpoint {path}"
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise CheckpointError(f"{where} cannot be read: it is not a regular file")
    try:
        with os_errors_as(CheckpointError, "cannot be read"), path.open("rb") as stream:
            return _load(Archive(stream), where)
    except CheckpointError as error:
        raise CheckpointError(f"{where} {error}") from error
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, CharlmError) as error:
        raise CheckpointError(f"{where} is not a charlm checkpoint: {shortened(error)}") from error


def _load(archive: Archive, where: str) -> Checkpoint:
    metadata = _metadata(archive)
    version = metadata.get("format")
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise CheckpointError(
            f"has format {shortened(repr(version))}; this charlm reads 1 to {FORMAT}: "
            "a newer one may be able to"
        )
    signed = metadata  # the digest covers the metadata as written, before any migration
    stored = signed.pop("sha256", None)
    for older in range(version, FORMAT):
        metadata = _MIGRATIONS[older](copy.deepcopy(metadata))
    config = from_nested(metadata["config"], where)
    codes = unlisted(metadata["vocabulary"], config.corpus.unit)
    vocabulary = build_pipeline(config.corpus).vocabulary(codes)
    if config.model.layers > len(archive.shapes):
        raise CheckpointError(f"lacks parameters: its configuration asks for {config.model.layers} layers")
    shapes = build_model(config.model, len(vocabulary)).shapes()
    for name, shape in shapes.items():
        stored_shape = archive.shapes.get(_PARAMETERS + name)
        if stored_shape is None:
            raise CheckpointError(f"lacks the parameter {name}")
        if stored_shape != shape:
            raise CheckpointError(f"holds {name} of shape {stored_shape}, its configuration asks for {shape}")
    arrays = {name: archive.array(name) for name in archive.shapes if name != _METADATA}
    if stored != _digest(signed, arrays):
        raise CheckpointError("is damaged: its contents do not match their SHA-256")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"holds numbers that are not finite in {name}")
    parameters = Parameters(shapes)
    for name, view in parameters.items():
        view[...] = arrays[_PARAMETERS + name]
    training = {
        name.removeprefix(_TRAINING): array for name, array in arrays.items() if name.startswith(_TRAINING)
    }
    corpus, progress = metadata["corpus"], metadata["progress"]
    complete(corpus, progress, config)
    return Checkpoint(config, vocabulary, parameters, corpus, progress, training, version)


def complete(corpus: dict[str, Any], progress: dict[str, Any], config: Config) -> None:
    """Check what readers rely on, and add in place what older versions did not record.

    This is the size of the training split, which cannot be known of lines, and whether losses are of the
    validation split, which may have been too short to score.

    Raises `TypeError` or `KeyError` if a value is missing or of the wrong type.
    """
    _check_kinds(corpus, {"digest": str, "characters": int})
    _check_kinds(progress, _SHOWN)
    separate = config.corpus.separate_paths
    edges = boundaries(corpus["characters"], own_shares(config.corpus.split, separate))
    corpus.setdefault("train", None if config.corpus.mode == "lines" else edges[1])
    is_validated = "validation" in separate or edges[2] - edges[1] > 1
    progress.setdefault("best_of", "validation" if is_validated else "training")
    _check_kinds(corpus, {"train": (int, NoneType)})
    if progress["best_of"] not in ("validation", "training"):
        raise TypeError(f"best_of is {shortened(repr(progress['best_of']))}")


def _rename_progress(metadata: dict[str, Any]) -> dict[str, Any]:
    """Format 2 to 3: other names for the sum of losses and for the factor of the learning rate."""
    progress = metadata["progress"]
    for means in ("since_log", "since_validation", "total"):
        if means in progress:
            progress[means]["loss_sum"] = progress[means].pop("nats")
    if "plateau" in progress:
        progress["plateau"]["factor"] = progress["plateau"].pop("share")
    return metadata


_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    # keys of corpus came, whose defaults are what there was before, and ranges in vocabularies
    1: lambda metadata: metadata,
    2: _rename_progress,
}
"""The function of each older format that turns its metadata into metadata of the next one."""

_SHOWN = {
    "step": int,
    "epoch": (int, float),
    "validation": (int, float, NoneType),
    "best": (int, float, NoneType),
    "best_step": int,
}
"""The part of the progress that every reader relies on; `Trainer.restore` checks the rest."""


def _check_kinds(values: Any, kinds: Mapping[str, Any]) -> None:
    if not isinstance(values, dict):
        raise TypeError(f"{shortened(repr(values))} where named values belong")
    for name, kind in kinds.items():
        if not isinstance(values[name], kind) or isinstance(values[name], bool):
            raise TypeError(f"{name} is {shortened(repr(values[name]))}")


def _metadata(archive: Archive) -> dict[str, Any]:
    if archive.bytes_of(_METADATA) > _METADATA_BYTES:
        raise CheckpointError(f"has more than {_METADATA_BYTES:,} bytes of metadata")
    metadata = json.loads(archive.array(_METADATA).tobytes().decode("utf-8"), parse_constant=_refuse)
    if not isinstance(metadata, dict):
        raise CheckpointError("is not a charlm checkpoint: its metadata is not an object")
    return metadata


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} in its metadata")


_LISTED = 100_000
"""Codes that are listed one by one; more of them, which only most of Unicode is, as ranges."""


def listed(codes: Ids) -> list[Any]:
    """A vocabulary as it is stored: its codes, or `[first, last]` of each unbroken range of them."""
    if len(codes) <= _LISTED:
        return [int(code) for code in codes]
    breaks = np.flatnonzero(np.diff(codes) > 1)
    firsts, lasts = codes[[0, *(breaks + 1)]], codes[[*breaks, -1]]
    return [[int(first), int(last)] for first, last in zip(firsts, lasts, strict=True)]


def unlisted(values: Any, unit: str) -> Iterable[int]:
    """The reverse of `listed`, checked: in ascending order, each a character or a byte."""
    if not isinstance(values, list):
        raise CheckpointError("holds a vocabulary that is not one")
    largest = 0xFF if unit == "byte" else 0x10FFFF
    before = -1
    ranges = []
    for value in values:
        first, last = value if isinstance(value, list) and len(value) == 2 else (value, value)
        if type(first) is not int or type(last) is not int or not before < first <= last <= largest:
            raise CheckpointError("holds a vocabulary that is not one")
        before = last
        ranges.append(range(first, last + 1))
    return chain.from_iterable(ranges)


def _digest(metadata: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 over the metadata and every array: names, types, shapes and contents."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode("ascii"))
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
