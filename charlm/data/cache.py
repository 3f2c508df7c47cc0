"""A cache of encoded texts, so that a second run starts at once.

An entry is one file: the ids of a text as raw bytes, then a description (JSON), the checksum of both,
the length of the description, and a signature. The file name is the key of the contents. The file is
written under a temporary name and renamed, so readers never see half of it. Its checksum and its
description are checked before use, and an invalid entry is made again, so the file need not be
flushed to disk.
"""

import contextlib
import hashlib
import json
import os
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from charlm.arrays import Ids
from charlm.system.files import remove_leftovers, write_whole

_END = struct.Struct("<32sQ8s")
"""The end of an entry: SHA-256 of all before, the length of the description, and `_MARK`."""

_MARK = b"charlm\x00\x01"

_DESCRIPTION_BYTES = 64_000_000
"""Largest description, in bytes; a vocabulary of all of Unicode takes about 8 million."""

_TYPES = ("u1", "u2", "u4")
"""Types of ids, all little-endian."""

_BLOCK = 1 << 20

_BAD = (OSError, ValueError, KeyError, TypeError, RecursionError)
"""Errors that reading an invalid entry may raise."""


@dataclass(frozen=True)
class Encoded:
    """The ids `[N]` of a text, and the codes of its vocabulary."""

    ids: Ids
    codes: list[int]


@dataclass(frozen=True)
class Entry:
    """The description of a file in the cache; its ids are not read."""

    path: Path
    bytes: int
    names: list[str]
    """The files that were read."""
    settings: dict[str, Any]
    """How they were read."""
    units: int


class Cache:
    """The entries in a directory; the directory need not exist."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.ids"

    def load(self, key: str) -> Encoded | None:
        """The entry of that key, its ids mapped into memory; None if it is missing or invalid."""
        with contextlib.suppress(*_BAD), self._path(key).open("rb") as stream:
            about = _description(stream)
            if about["key"] == key and _is_intact(stream):
                return _mapped(stream, about)
        return None

    def may_hold(self, kind: str) -> bool:
        """Whether there is an entry whose key begins with `kind`."""
        return any(self.directory.glob(f"{kind}*.ids"))

    def spool(self) -> IO[bytes]:
        """A temporary file in the directory; raises `OSError`."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return tempfile.TemporaryFile(dir=self.directory)

    def store(
        self, key: str, names: list[str], settings: dict[str, Any], codes: list[int], pieces: Iterable[Ids]
    ) -> Encoded:
        """Store a text whose ids come in pieces, all of one type; returns the entry. Raises `OSError`.

        Entries for older states of the same files, read in the same way, are removed.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        remove_leftovers(self.directory, of_the_living=False)
        about: dict[str, Any] = {"key": key, "names": names, "settings": settings, "codes": codes}

        def write(stream: BinaryIO) -> None:
            sha256, units, dtype = hashlib.sha256(), 0, "u1"
            for ids in pieces:
                dtype = f"u{ids.dtype.itemsize}"
                data = np.ascontiguousarray(ids, f"<{dtype}").data
                stream.write(data)
                sha256.update(data)
                units += len(ids)
            about.update(type=dtype, units=units)
            text = json.dumps(about).encode("ascii")
            sha256.update(text)
            stream.write(text + _END.pack(sha256.digest(), len(text), _MARK))

        path = self._path(key)
        write_whole(path, write, lasting=False)
        for entry in self.entries():
            if (entry.names, entry.settings) == (names, settings) and entry.path != path:
                with contextlib.suppress(OSError):
                    entry.path.unlink()
        with path.open("rb") as stream:
            return _mapped(stream, about)

    def entries(self) -> Iterator[Entry]:
        """Every readable entry, sorted by the names of its files."""
        found = []
        for path in self.directory.glob("*.ids"):
            with contextlib.suppress(*_BAD), path.open("rb") as stream:
                about = _description(stream)
                size = path.stat().st_size
                found.append(Entry(path, size, about["names"], about["settings"], about["units"]))
        yield from sorted(found, key=lambda entry: (entry.names, str(entry.path)))

    def clear(self) -> tuple[int, int]:
        """Remove all entries, readable or not; returns their number and size in bytes. Raises `OSError`."""
        files = [*self.directory.glob("*.ids"), *self.directory.glob(".*.tmp")]
        size = 0
        for file in files:
            with contextlib.suppress(FileNotFoundError):  # another command may clear it too
                size += file.stat().st_size
                file.unlink()
        return len(files), size


def user_cache() -> Cache | None:
    """The user's cache, below XDG_CACHE_HOME or the system's default; None without a home directory."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):  # the XDG specification says to ignore a relative path
        windows = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
        home = {"darwin": "~/Library/Caches", "win32": windows}.get(sys.platform, "~/.cache")
    path = os.path.expanduser(home)  # unchanged if there is no home
    return None if path.startswith("~") else Cache(Path(path) / "charlm")


def _description(stream: BinaryIO) -> dict[str, Any]:
    """The description of an entry, its sizes checked against the file; raises one of `_BAD`."""
    end = stream.seek(0, os.SEEK_END) - _END.size
    stream.seek(end)
    _, length, mark = _END.unpack(stream.read())
    if mark != _MARK or length > min(end, _DESCRIPTION_BYTES):
        raise ValueError("not an entry")
    stream.seek(end - length)
    about = json.loads(stream.read(length))
    is_valid = (
        about["type"] in _TYPES
        and type(about["units"]) is int
        and about["units"] * int(about["type"][1]) == end - length
        and isinstance(about["settings"], dict)
        and all(type(code) is int for code in about["codes"])
        and type(about["names"]) is list
        and "\0" not in "".join(about["names"])
    )
    if not is_valid:
        raise ValueError("invalid description")
    return dict(about)


def _mapped(stream: BinaryIO, about: dict[str, Any]) -> Encoded:
    """The contents of an entry, the ids mapped into memory."""
    ids = np.memmap(stream, f"<{about['type']}", "r", shape=(about["units"],))
    return Encoded(ids.view(np.ndarray), about["codes"])


def _is_intact(stream: BinaryIO) -> bool:
    """Whether an entry has its checksum."""
    sha256, size = hashlib.sha256(), stream.seek(0, os.SEEK_END) - _END.size
    stream.seek(0)
    while size > 0 and (block := stream.read(min(_BLOCK, size))):
        sha256.update(block)
        size -= len(block)
    return bool(_END.unpack(stream.read())[0] == sha256.digest())
