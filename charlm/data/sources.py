"""Where a text comes from: files, directories, patterns, standard input; packed or not."""

from __future__ import annotations

import contextlib
import glob
import gzip
import hashlib
import lzma
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from charlm.errors import CorpusError
from charlm.system.files import STANDARD_INPUT, reason

BLOCK = 1 << 20
"""Bytes that are read at a time."""

_PACKED: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".xz": lzma.LZMAFile,
}
"""How files with these endings are unpacked."""


class Source:
    """One file of a text, or what standard input holds."""

    def __init__(self, path: str, role: str = "text") -> None:
        """`role` is what a message calls it.

        Raises `CorpusError` if standard input is a terminal, or if it, or a pipe, cannot be kept.
        """
        self.role = role
        self.name = "standard input" if path == STANDARD_INPUT else path
        ending = Path(path).suffix.lower()
        self.packing = ending if ending in _PACKED else ""
        """The ending that says how to unpack it, if it is packed."""
        # what can only be read once is read more than once
        self._kept = _keep_standard_input() if path == STANDARD_INPUT else self._keep_pipe()

    def __str__(self) -> str:
        return f"{self.role} {self.name}"

    def _keep_pipe(self) -> IO[bytes] | None:
        with _reporting(self):
            if not Path(self.name).is_fifo():
                return None
            with Path(self.name).open("rb") as pipe:
                return _keep(pipe)

    def _open(self) -> IO[bytes]:
        if self._kept is None:
            return Path(self.name).open("rb")
        self._kept.seek(0)
        return os.fdopen(os.dup(self._kept.fileno()), "rb")

    def stamp(self) -> tuple[int, int]:
        """What changes when the file does: size, and time in nanoseconds."""
        with _reporting(self), self._open() as stream:
            status = os.fstat(stream.fileno())
            return status.st_size, status.st_mtime_ns

    def raw(self) -> Iterator[bytes]:
        """The file as it is kept, a block at a time; raises `CorpusError`."""
        with _reporting(self), self._open() as stream:
            while block := stream.read(BLOCK):
                yield block

    def blocks(self) -> Iterator[tuple[bytes, int]]:
        """The contents, unpacked, a block at a time; with each, how far into the file that is.

        Raises `CorpusError` if the file cannot be read, or is packed and damaged.
        """
        with _reporting(self), self._open() as stream:
            contents = _PACKED[self.packing](stream) if self.packing else stream
            while block := contents.read(BLOCK):
                yield block, stream.tell()


@contextlib.contextmanager
def _reporting(source: Source) -> Iterator[None]:
    """Turn the errors of reading into one line."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise CorpusError(f"{source} is damaged, or not packed as its name says: {error}") from error
    except OSError as error:
        raise CorpusError(f"{source} cannot be read: {reason(error)}") from error


def find(paths: Sequence[str]) -> list[Source]:
    """The files that paths mean, in their order; those of a directory or a pattern sorted by name.

    A path is a file, a directory (all files in it and below, hidden ones left out), a pattern
    (`*`, `?`, `[…]`, `**`), or `-`. Raises `CorpusError` if one means nothing.
    """
    if list(paths).count(STANDARD_INPUT) > 1:
        raise CorpusError(f"standard input, {STANDARD_INPUT}, is named twice, and can be read once")
    return [Source(file) for path in paths for file in _files(path)]


def _files(path: str) -> list[str]:
    if path == STANDARD_INPUT:
        return [path]
    if os.path.isdir(path):
        found = sorted(str(file) for file in Path(path).rglob("*") if file.is_file())
        found = [file for file in found if not _is_hidden(Path(file).relative_to(path))]
        if not found:
            raise CorpusError(f"text {path} is a directory without files")
        return found
    if glob.has_magic(path) and not os.path.exists(path):
        found = sorted(file for file in glob.iglob(path, recursive=True) if Path(file).is_file())  # noqa: PTH207 (absolute patterns too)
        if not found:
            raise CorpusError(f"text {path}: no file has such a name")
        return found
    return [path]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def digest(sources: Sequence[Source], progress: Callable[[int], None]) -> str:
    """SHA-256, in hexadecimal, of a file as it is kept; of several, of their digests, line by line.

    `progress` is called with the bytes of every block.
    """
    digests = []
    for source in sources:
        sha256 = hashlib.sha256()
        for block in source.raw():
            sha256.update(block)
            progress(len(block))
        digests.append(sha256.hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _keep_standard_input() -> IO[bytes]:
    if sys.stdin is None or sys.stdin.isatty():
        raise CorpusError("standard input is a terminal: pipe a text into the command, or name a file")
    try:
        return _keep(sys.stdin.buffer)
    except OSError as error:
        raise CorpusError(f"standard input cannot be kept: {reason(error)}") from error


def _keep(stream: IO[bytes]) -> IO[bytes]:
    """A file of its own with the rest of a stream."""
    kept = tempfile.TemporaryFile()  # noqa: SIM115 (closed when it is forgotten)
    shutil.copyfileobj(stream, kept, BLOCK)
    kept.flush()
    return kept
