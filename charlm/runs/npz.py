"""Reading untrusted `.npz` files.

An `.npz` is a zip file of arrays. The number, sizes and shapes of its members are compared with the
size of the file before memory is allocated. Only the output of `numpy.savez` is accepted: members
that are stored uncompressed, in C order, and hold plain numbers. This excludes pickles, zip bombs,
overlapping members and sizes without contents.
"""

import ast
import io
import math
import struct
import zipfile
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from charlm.system.errors import CheckpointError

_DTYPES = ("<f4", "<f8", "|u1")
"""Types of the numbers in a checkpoint."""

_DIRECTORY_BYTES = 1_000_000
"""Largest table of contents of the zip file: about ten thousand members."""

_HEADER_BYTES = 4096
"""Longest description before an array."""

_NAME = 200
"""Longest name of a member, in characters."""

_BAD_ZIP = (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, struct.error)
"""Errors that `zipfile` raises for files that are damaged, unsupported, or encrypted."""

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")


class Archive:
    """The arrays of an open `.npz` file.

    Attributes
    ----------
    shapes
        Shape of every array by name.

    Raises `CheckpointError` if the file is invalid; its message continues the name of the file.
    """

    def __init__(self, stream: BinaryIO) -> None:
        size = stream.seek(0, io.SEEK_END)
        try:
            if _directory_bytes(stream, size) > _DIRECTORY_BYTES:
                raise CheckpointError("has a table of contents too large for a checkpoint")
            self._zip = zipfile.ZipFile(stream)
        except _BAD_ZIP as error:
            raise CheckpointError("is not a charlm checkpoint, or is truncated") from error
        self._members: dict[str, tuple[zipfile.ZipInfo, int, str]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        if sum(info.file_size for info in self._zip.infolist()) > size:
            raise CheckpointError("is not a charlm checkpoint: its members are larger than the file")
        for info in self._zip.infolist():
            self._describe(info)

    def bytes_of(self, name: str) -> int:
        """Size of the contents of an array in bytes; raises `CheckpointError` if it is missing."""
        if name not in self._members:
            raise CheckpointError(f"is not a charlm checkpoint: it holds no {name}")
        info, header, _ = self._members[name]
        return info.file_size - header

    def array(self, name: str) -> npt.NDArray[Any]:
        """The contents of an array; raises `CheckpointError` if they are damaged."""
        info, header, dtype = self._members[name]
        try:
            data = self._zip.read(info)
        except _BAD_ZIP as error:
            raise CheckpointError(f"is damaged in {name}") from error
        return np.frombuffer(data, dtype, offset=header).reshape(self.shapes[name])

    def _describe(self, info: zipfile.ZipInfo) -> None:
        """Check the description of a member, and record it."""
        name = info.filename.removesuffix(".npy")
        parts = name.split("/")
        plain = name.isprintable() and all(parts) and ".." not in parts and "\\" not in name
        if name == info.filename or not plain or len(name) > _NAME:
            raise CheckpointError("is not a charlm checkpoint: it holds a file that is not an array")
        if name in self._members:
            raise CheckpointError(f"is not a charlm checkpoint: it holds {name} twice")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise CheckpointError(f"is not a charlm checkpoint: {name} is compressed")
        try:
            with self._zip.open(info) as member:
                beginning = member.read(_HEADER_BYTES)
        except _BAD_ZIP as error:
            raise CheckpointError(f"is damaged in {name}") from error
        try:
            header, dtype, shape = _header(beginning)
        except ValueError as error:
            raise CheckpointError(f"is not a charlm checkpoint: {name} is {error}") from error
        if header + math.prod(shape) * np.dtype(dtype).itemsize != info.file_size:
            raise CheckpointError(f"is damaged: the size of {name} does not match its shape")
        self._members[name], self.shapes[name] = (info, header, dtype), shape


def _directory_bytes(stream: BinaryIO, size: int) -> int:
    """Size of the table of contents at the end of a zip file; a comment after it is an error."""
    stream.seek(max(0, size - _END.size - _LOCATOR64.size - _END64.size))
    end = stream.read()
    signature, *_, in_bytes, _, comment = _END.unpack(end[-_END.size :])
    if signature != b"PK\5\6" or comment:
        raise ValueError("no end of a zip file")
    locator = end[-_END.size - _LOCATOR64.size : -_END.size]
    if locator[:4] == b"PK\6\7":
        signature, *_, in_bytes, _ = _END64.unpack(end[: _END64.size])
        if signature != b"PK\6\6":
            raise ValueError("no end of a large zip file")
    return int(in_bytes)


def _header(data: bytes) -> tuple[int, str, tuple[int, ...]]:
    """Length, type and shape from the beginning of an `.npy`; raises `ValueError`.

    NumPy's format (NEP 1) begins with a magic string, the version, and the length of the description.
    The description is parsed as a Python literal and never executed.
    """
    if data[:6] != b"\x93NUMPY" or data[6:8] != b"\1\0" or len(data) < 10:
        raise ValueError("not an array of format 1.0")
    length = 10 + int.from_bytes(data[8:10], "little")
    if length > len(data):
        raise ValueError("an array whose description is too long")
    try:
        described = ast.literal_eval(data[10:length].decode("ascii"))
    except (SyntaxError, ValueError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError("an array whose description is invalid") from error
    match described:
        case {"descr": str(dtype), "fortran_order": False, "shape": tuple(shape), **rest} if not rest:
            if dtype in _DTYPES and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape):
                return length, dtype, shape
    raise ValueError("an array of an unsupported type")
