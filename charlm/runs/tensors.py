"""Reading untrusted `.safetensors` files.

Such a file is the length of its header in 8 bytes, the header, which is JSON, and the numbers of all
tensors one after the other. The sizes in the header are compared with the size of the file before memory
is allocated for them: the tensors must fill the rest of the file, without holes or overlaps.

The safetensors library is no substitute: it parses a header of any size (a hostile one of 87 MB takes a
gigabyte and many seconds), accepts a name twice, and has no bfloat16 for NumPy.
"""

import io
import json
import math
from typing import Any, BinaryIO

import numpy as np

from charlm.arrays import Array, Shape
from charlm.system.errors import CheckpointError, shortened

_HEADER_BYTES = 1_500_000
"""Longest header: parsed, hostile JSON takes up to 30 times the space; ours has a million at most."""

_NAME = 200
"""Longest name of a tensor, in characters."""

_SIZES = 8
"""Longest shape of a tensor."""

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""NumPy's types of the numbers that a network may have; BF16 is the first half of an F32."""


class Tensors:
    """The tensors of an open `.safetensors` file.

    Attributes
    ----------
    shapes
        Shape of every tensor by name; tied weights have all of their names.
    metadata
        Texts by name.

    Raises `CheckpointError` if the file is invalid; its message follows the name of the file.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        length = int.from_bytes(stream.read(8), "little")
        self._begin = 8 + length
        if size < self._begin:
            raise CheckpointError("it is not a safetensors file, or is truncated")
        if length > _HEADER_BYTES:
            raise CheckpointError(f"its header of {length:,} bytes is longer than {_HEADER_BYTES:,}")
        self.metadata: dict[str, str] = {}
        self.shapes: dict[str, Shape] = {}
        self._places: dict[str, tuple[int, int, str]] = {}
        try:
            self._describe(json.loads(stream.read(length).decode("utf-8"), object_pairs_hook=_unique))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"it is not a safetensors file: {shortened(error)}") from error
        end = 0
        for first, after, name in sorted((*place[:2], name) for name, place in self._places.items()):
            if first != end:
                raise CheckpointError(f"{name} does not begin where the tensor before it ends")
            end = after
        if end != size - self._begin:
            raise CheckpointError(
                f"it holds {size - self._begin:,} bytes of tensors, and its header says {end:,}"
            )
        # of tied weights safetensors.torch.save_model writes one, and names the others in the metadata
        for name, kept in self.metadata.items():
            if kept in self._places and name not in self._places and _can_be_called(name):
                self.shapes[name], self._places[name] = self.shapes[kept], self._places[kept]

    def array(self, name: str) -> Array:
        """The numbers of a tensor as float32; raises `CheckpointError` if one is not finite."""
        first, after, dtype = self._places[name]
        self._stream.seek(self._begin + first)
        numbers = np.frombuffer(self._stream.read(after - first), _TYPES[dtype])
        if dtype == "BF16":
            numbers = (numbers.astype("<u4") << 16).view("<f4")
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite
            array: Array = numbers.astype(np.float32).reshape(self.shapes[name])
        if not np.isfinite(array).all():
            raise CheckpointError(f"{name} holds numbers that are not finite")
        return array

    def _describe(self, header: Any) -> None:
        """Check and record the contents of the header; raises `CheckpointError` or `ValueError`."""
        if not isinstance(header, dict):
            raise ValueError("its header is not an object")
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata are not texts")
        self.metadata = metadata
        for name, about in header.items():
            if not _can_be_called(name):
                raise ValueError(f"no tensor can be called {shortened(repr(name))}")
            match about:
                case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [first, after]}:
                    pass
                case _:
                    raise ValueError(f"what it says of {name} is not dtype, shape and data_offsets")
            if dtype not in _TYPES:
                raise CheckpointError(
                    f"{name} is of type {shortened(dtype)}, and weights are {', '.join(_TYPES)}"
                )
            if len(shape) > _SIZES:
                raise ValueError(f"the shape of {name} has {len(shape):,} sizes")
            if any(type(number) is not int or number < 0 for number in (*shape, first, after)):
                raise ValueError(f"the shape or place of {name} is not of whole numbers")
            if after - first != math.prod(shape) * np.dtype(_TYPES[dtype]).itemsize:
                raise CheckpointError(f"{name} has {after - first:,} bytes, which its shape contradicts")
            self.shapes[name], self._places[name] = tuple(shape), (first, after, dtype)


def _can_be_called(name: str) -> bool:
    """Whether a tensor may have this name, which messages show."""
    return len(name) <= _NAME and name.isprintable()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON in which no name occurs twice."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a name occurs twice in its header")
    return unique
