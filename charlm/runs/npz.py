"""Reading `.npz` files that may come from a stranger.

An `.npz` is a zip file of arrays. Everything it says of itself (how many members, how large, of
which shape) is compared with the size of the file before memory is asked for, and only what
`numpy.savez` writes is understood: members that are stored, not compressed, in C order, of plain
numbers. That rules out pickles, zip bombs, overlapping members and sizes without contents.
"""

from __future__ import annotations

import ast
import io
import math
import struct
import zipfile
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from charlm.errors import CheckpointError

_KINDS = ("<f4", "<f8", "|u1")
"""Types of the numbers in a checkpoint."""

_DIRECTORY_BYTES = 1_000_000
"""Most bytes of the zip file's table of contents: some ten thousand members."""

_HEADER_BYTES = 4096
"""Most bytes of the description before an array."""

_NAME = 200
"""Most characters of a member's name."""

_BAD_ZIP = (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, struct.error)
"""What `zipfile` raises for damaged files: also for kinds it does not know, or that ask for a password."""

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")


class Archive:
    """The arrays of an open `.npz` file.

    Attributes
    ----------
    shapes
        Shape of every array by name.

    Raises `CheckpointError` whose message follows the file's name, if it is not such a file.
    """

    def __init__(self, stream: BinaryIO) -> None:
        size = stream.seek(0, io.SEEK_END)
        try:
            if _directory_bytes(stream, size) > _DIRECTORY_BYTES:
                raise CheckpointError("has a table of contents too large for a checkpoint")
            self._zip = zipfile.ZipFile(stream)
        except _BAD_ZIP as error:
            raise CheckpointError("is not a charlm checkpoint, or is cut off") from error
        self._members: dict[str, tuple[zipfile.ZipInfo, int, str]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        if sum(info.file_size for info in self._zip.infolist()) > size:
            raise CheckpointError("is not a charlm checkpoint: it claims more than the file holds")
        for info in self._zip.infolist():
            self._describe(info)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def bytes_of(self, name: str) -> int:
        """Size of an array's contents; raises `CheckpointError` if there is none of that name."""
        if name not in self._members:
            raise CheckpointError(f"is not a charlm checkpoint: it holds no {name}")
        info, header, _ = self._members[name]
        return info.file_size - header

    def array(self, name: str) -> npt.NDArray[Any]:
        """An array's contents; raises `CheckpointError` if they are damaged."""
        info, header, kind = self._members[name]
        try:
            data = self._zip.read(info)
        except _BAD_ZIP as error:
            raise CheckpointError(f"is damaged in {name}") from error
        return np.frombuffer(data, kind, offset=header).reshape(self.shapes[name])

    def _describe(self, info: zipfile.ZipInfo) -> None:
        """Take note of a member, after checking all that it says of itself."""
        name = info.filename.removesuffix(".npy")
        parts = name.split("/")
        plain = name.isprintable() and all(parts) and ".." not in parts and "\\" not in name
        if name == info.filename or not plain or len(name) > _NAME:
            raise CheckpointError("is not a charlm checkpoint: it holds files of other kinds")
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
            header, kind, shape = _header(beginning)
        except ValueError as error:
            raise CheckpointError(f"is not a charlm checkpoint: {name} is {error}") from error
        if header + math.prod(shape) * np.dtype(kind).itemsize != info.file_size:
            raise CheckpointError(f"is damaged: {name} is not of the size that its shape says")
        self._members[name], self.shapes[name] = (info, header, kind), shape


def _directory_bytes(stream: BinaryIO, size: int) -> int:
    """Size of the table of contents, which a zip file has at its end; no comment may follow it."""
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

    The format is NumPy's: a magic string, the version, the length of what follows, and a Python
    literal, of which nothing is evaluated that is not one (NEP 1).
    """
    if data[:6] != b"\x93NUMPY" or data[6:8] != b"\1\0" or len(data) < 10:
        raise ValueError("not an array of format 1.0")
    length = 10 + int.from_bytes(data[8:10], "little")
    if length > len(data):
        raise ValueError("an array whose description is too long")
    try:
        described = ast.literal_eval(data[10:length].decode("ascii"))
    except (SyntaxError, ValueError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError("an array whose description is not one") from error
    match described:
        case {"descr": str(kind), "fortran_order": False, "shape": tuple(shape), **rest} if not rest:
            if kind in _KINDS and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape):
                return length, kind, shape
    raise ValueError("an array of another kind")
