"""Reading untrusted `.safetensors` files.

Such a file is the length of its header in 8 bytes, the header, which is JSON, and the numbers of all
tensors one after the other. What the header says is compared with the size of the file before
anything of that size is read: the tensors must fill the rest of the file, without holes or overlaps.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from charlm.arrays import Array
from charlm.errors import CheckpointError, shortened
from charlm.system.files import reason

_HEADER_BYTES = 2_000_000
"""Longest header: parsed, hostile JSON takes up to 30 times the space."""

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""NumPy's types of the numbers that a network may have; BF16 is the first half of an F32."""


def read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The tensors of a file as float32, by name, and its metadata.

    Raises `CheckpointError` if it is missing, damaged, or holds what no weights are.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise CheckpointError(f"{path} cannot be read: it is not a regular file")
        with path.open("rb") as stream:
            return _read(stream)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}".replace(f"{path} {path}", str(path))) from error
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {shortened(error)}") from error


def _read(stream: BinaryIO) -> tuple[dict[str, Array], dict[str, str]]:
    size = os.fstat(stream.fileno()).st_size
    length = int.from_bytes(stream.read(8), "little")
    if size < 8 or length > size - 8:
        raise CheckpointError("is not a safetensors file, or is truncated")
    if length > _HEADER_BYTES:
        raise CheckpointError(f"has a header of {length:,} bytes; weights have {_HEADER_BYTES:,} at most")
    header = json.loads(stream.read(length).decode("utf-8"), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise ValueError("its header is not an object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are not texts")
    spans = sorted((_span(name, about), name) for name, about in header.items())
    end = 0
    for (first, after), name in spans:
        if first != end:
            raise CheckpointError(f"does not hold {name} where the tensor before it ends")
        end = after
    if end != size - 8 - length:
        raise CheckpointError(f"holds {size - 8 - length:,} bytes of tensors; its header says {end:,}")
    tensors = {}
    for (first, after), name in spans:
        dtype, shape = header[name]["dtype"], header[name]["shape"]
        numbers = np.frombuffer(stream.read(after - first), _TYPES[dtype])
        if dtype == "BF16":
            numbers = (numbers.astype("<u4") << 16).view("<f4")
        tensor = numbers.astype(np.float32).reshape(shape)
        if not np.isfinite(tensor).all():
            raise CheckpointError(f"holds numbers that are not finite in {name}")
        tensors[name] = tensor
    return tensors, metadata


def _span(name: str, about: Any) -> tuple[int, int]:
    """Begin and end of a tensor's numbers, which its type and shape agree with."""
    dtype, shape, (first, after) = about["dtype"], about["shape"], about["data_offsets"]
    if dtype not in _TYPES:
        raise CheckpointError(
            f"holds {shortened(name)} of type {shortened(dtype)}; weights are {', '.join(_TYPES)}"
        )
    if not isinstance(shape, list) or any(type(n) is not int or n < 0 for n in [*shape, first, after]):
        raise ValueError(f"the shape or place of {shortened(name)}")
    if len(shape) > 8 or after - first != math.prod(shape) * np.dtype(_TYPES[dtype]).itemsize:
        raise CheckpointError(
            f"holds {shortened(name)} in {after - first:,} bytes, which its shape contradicts"
        )
    return first, after


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON in which no name occurs twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in its header")
    return found
