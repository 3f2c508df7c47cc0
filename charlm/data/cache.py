"""Encoded texts, kept so that a second run starts at once.

An entry is one file: the ids of a text, as they are in memory, then their description (JSON),
its length, and a mark. It is named by its contents' key, written beside its place and renamed into
it, and checked as a whole before it is used; a damaged entry is made again. So the
file need not be flushed to the disk, readers never see half of it, and nothing in it is believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from charlm.arrays import Ids
from charlm.system.files import remove_leftovers, write_whole

_END = struct.Struct("<Q8s")
"""The end of an entry: how long its description is, and `_MARK`."""

_MARK = b"charlm\x00\x01"

_LONGEST = 64_000_000
"""Most bytes of a description: a vocabulary of all of Unicode takes some 8 million."""

_TYPES = ("u1", "u2", "u4")
"""Types of ids, all little-endian."""

_BLOCK = 1 << 20

_BAD = (OSError, ValueError, KeyError, TypeError, RecursionError)
"""What reading a file that is not an entry may raise."""


@dataclass(frozen=True)
class Encoded:
    """The ids `[N]` of a text, and the codes of its vocabulary."""

    ids: Ids
    codes: list[int]


@dataclass(frozen=True)
class Entry:
    """What is known of a file in the cache without reading its ids."""

    path: Path
    bytes: int
    names: list[str]
    """The files that were read."""
    settings: dict[str, Any]
    """How they were read."""
    units: int

    @property
    def same(self) -> tuple[Any, ...]:
        """What two entries share, of which one is for an older state of the same files."""
        return (self.names, self.settings)


class Cache:
    """The entries in a directory, which need not exist."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.ids"

    def load(self, key: str) -> Encoded | None:
        """The entry of that key, its ids mapped into memory; None if there is none that is whole."""
        try:
            with self._path(key).open("rb") as stream:
                about = _description(stream)
                dtype, count = np.dtype(f"<{about['type']}"), about["units"]
                if about["key"] != key or about["sha256"] != _digest(stream, count * dtype.itemsize, about):
                    return None
                ids = np.memmap(stream, dtype, "r", shape=(count,))
        except _BAD:
            return None
        return Encoded(ids.view(np.ndarray), about["codes"])

    def store(
        self, key: str, names: list[str], settings: dict[str, Any], codes: list[int], pieces: Iterable[Ids]
    ) -> None:
        """Keep a text whose ids come in pieces, all of one type; raises `OSError`.

        Entries for older states of the same files, read in the same way, go.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        remove_leftovers(self.directory, of_the_living=False)
        about: dict[str, Any] = {"key": key, "names": names, "settings": settings, "codes": codes}

        def write(stream: BinaryIO) -> None:
            sha256, units, kind = hashlib.sha256(), 0, "u1"
            for ids in pieces:
                kind = f"u{ids.dtype.itemsize}"
                data = np.ascontiguousarray(ids, f"<{kind}").data
                stream.write(data)
                sha256.update(data)
                units += len(ids)
            about.update(type=kind, units=units)
            about["sha256"] = _finish(sha256, about)
            text = json.dumps(about).encode("ascii")
            stream.write(text + _END.pack(len(text), _MARK))

        write_whole(self._path(key), write, lasting=False)
        for entry in self.entries():
            if entry.same == (names, settings) and entry.path != self._path(key):
                with contextlib.suppress(OSError):
                    entry.path.unlink()

    def entries(self) -> Iterator[Entry]:
        """Every readable entry, in the order of their names' texts."""
        found = []
        for path in self.directory.glob("*.ids"):
            with contextlib.suppress(*_BAD), path.open("rb") as stream:
                about = _description(stream)
                size = path.stat().st_size
                found.append(Entry(path, size, about["names"], about["settings"], about["units"]))
        yield from sorted(found, key=lambda entry: (entry.names, str(entry.path)))

    def clear(self) -> tuple[int, int]:
        """Remove all entries, readable or not; returns how many, and their bytes. Raises `OSError`."""
        files = [*self.directory.glob("*.ids"), *self.directory.glob(".*.tmp")]
        size = 0
        for file in files:
            with contextlib.suppress(FileNotFoundError):  # another command may clear it, too
                size += file.stat().st_size
                file.unlink()
        return len(files), size


def user_cache() -> Cache | None:
    """The user's own: below XDG_CACHE_HOME, or where the system keeps such things; None without a home."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):  # which the specification says to ignore
        home = {
            "darwin": "~/Library/Caches",
            "win32": os.environ.get("LOCALAPPDATA", "~/AppData/Local"),
        }.get(sys.platform, "~/.cache")
    whole = os.path.expanduser(home)  # stays as it is where there is no home
    return None if whole.startswith("~") else Cache(Path(whole) / "charlm")


def _description(stream: BinaryIO) -> dict[str, Any]:
    """What an entry says of itself, its sizes checked against the file; raises `ValueError` and others."""
    size = stream.seek(0, os.SEEK_END)
    if size < _END.size:
        raise ValueError("too short")
    stream.seek(size - _END.size)
    length, mark = _END.unpack(stream.read(_END.size))
    if mark != _MARK or length > min(size - _END.size, _LONGEST):
        raise ValueError("not an entry")
    stream.seek(size - _END.size - length)
    about = json.loads(stream.read(length))
    if not isinstance(about, dict) or about["type"] not in _TYPES or type(about["units"]) is not int:
        raise ValueError("not a description")
    if not (_all(str, about["names"]) and _all(int, about["codes"]) and isinstance(about["settings"], dict)):
        raise ValueError("not what an entry says of itself")
    if "\0" in "".join(about["names"]):
        raise ValueError("not names of files")
    if about["units"] * int(about["type"][1]) != size - _END.size - length:
        raise ValueError("cut short, or too long")
    return about


def _all(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)


def _digest(stream: BinaryIO, size: int, about: dict[str, Any]) -> str:
    """SHA-256 of the first `size` bytes, and of what is said of them."""
    sha256 = hashlib.sha256()
    stream.seek(0)
    while size > 0 and (block := stream.read(min(_BLOCK, size))):
        sha256.update(block)
        size -= len(block)
    return _finish(sha256, about)


def _finish(sha256: Any, about: dict[str, Any]) -> str:
    said = {name: value for name, value in about.items() if name != "sha256"}
    sha256.update(json.dumps(said, sort_keys=True).encode("ascii"))
    digest: str = sha256.hexdigest()
    return digest
