"""The sources of a text: files, directories, patterns, standard input; packed or plain."""

import contextlib
import gzip
import hashlib
import io
import lzma
import os
import select
import shlex
import shutil
import stat
import sys
import tarfile
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TextIO

from charlm.data.walk import walked
from charlm.system.errors import CorpusError
from charlm.system.files import STANDARD_INPUT, os_errors_as

BLOCK = 1 << 20
"""Bytes read at a time."""

Announce = Callable[[str], object]
"""Called with what is being waited for."""

BytesRead = Callable[[int], object]
"""Called with the number of bytes just read from a file."""

_PACKED: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".tgz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".xz": lzma.LZMAFile,
    ".txz": lzma.LZMAFile,
}
"""How to unpack files, by the ending of the name."""

_PATIENCE = 1.0
"""Seconds without anything to read from a pipe after which that is announced."""

_consumed: weakref.WeakSet[TextIO] = weakref.WeakSet()
"""Standard inputs that have been copied: there is nothing left to read."""


class Source:
    """One file of a text, or standard input."""

    def __init__(
        self,
        path: str,
        role: str = "text",
        announce: Announce = lambda what: None,
        root: Path | None = None,
    ) -> None:
        """`role` names the source in messages; `announce` is called if a pipe has nothing to read yet.

        Raises `CorpusError` for a terminal or another device, and if a pipe cannot be copied.
        """
        self.role = role
        self.root = root
        """The directory below which a walk came upon the file; None if its path was named."""
        self.name = "standard input" if path == STANDARD_INPUT else path
        ending = Path(path).suffix.lower()
        self.packing = ending if ending in _PACKED else ""
        """The ending of a packed file, which says how to unpack it; empty for a plain file."""
        self.sha256 = ""
        """SHA-256, in hexadecimal, of the file as stored; known when `blocks` has reached its end."""
        # a pipe can be read only once, so its contents are copied
        self._copy = _standard_input(announce) if path == STANDARD_INPUT else self._pipe(announce)

    def __str__(self) -> str:
        return f"{self.role} {self.name}"

    def _pipe(self, announce: Announce) -> IO[bytes] | None:
        with _reporting(self):
            try:
                mode = Path(self.name).stat().st_mode
            except OSError:
                return None  # reported when the file is opened
            if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                raise CorpusError(f"{self} is a device, not a file: its contents may have no end")
            if not stat.S_ISFIFO(mode):
                return None
            # a plain open would wait without a word until another process opens the pipe to write
            with os.fdopen(os.open(self.name, os.O_RDONLY | os.O_NONBLOCK), "rb") as pipe:
                _wait_for(pipe.fileno(), self.name, announce)
                os.set_blocking(pipe.fileno(), True)
                return _copied(pipe)

    def _open(self) -> IO[bytes]:
        if self._copy is None:
            return Path(self.name).open("rb")
        self._copy.seek(0)
        return os.fdopen(os.dup(self._copy.fileno()), "rb")

    def stamp(self) -> tuple[int, int]:
        """Size in bytes and modification time in nanoseconds, to detect changes."""
        with _reporting(self), self._open() as stream:
            status = os.fstat(stream.fileno())
            return status.st_size, status.st_mtime_ns

    def refuse_archive(self, start: bytes) -> None:
        """Raise `CorpusError` if the unpacked contents, which begin with `start`, are a tar archive."""
        try:
            tarfile.TarInfo.frombuf(start[: tarfile.BLOCKSIZE], "ascii", "replace")
        except tarfile.HeaderError:
            return
        file = "FILE" if self._copy else shlex.quote(self.name)
        raise CorpusError(
            f"{self} is a tar archive, not a text: unpack it into a directory, "
            f"mkdir DIR && tar -xf {file} -C DIR, and name what it holds"
        )

    def blocks(self, progress: BytesRead = lambda size: None, unpacked: bool = True) -> Iterator[bytes]:
        """The contents, a block at a time, unpacked or as stored; at the end `sha256` is known.

        `progress` is called with the bytes read from the file since the last call. Raises
        `CorpusError` if the file cannot be read, or is packed and damaged.
        """
        with _reporting(self), self._open() as stream:
            file = _Hashed(stream, progress)
            contents = _PACKED[self.packing](file) if self.packing and unpacked else file
            while block := contents.read(BLOCK):
                yield block
            while file.read(BLOCK):  # the unpacked contents may end before the file
                pass
            self.sha256 = file.sha256.hexdigest()


class LiveInput(Source):
    """Standard input that is read as it comes, once: it may have no end, and be larger than a disk."""

    def __init__(self, announce: Announce = lambda what: None) -> None:
        """Raises `CorpusError` as `Source` does."""
        self.role, self.root, self.name = "text", None, "standard input"
        self.packing = self.sha256 = ""
        _check_standard_input(announce)
        self._last = b""
        self._is_read = False

    def blocks(self, progress: BytesRead = lambda size: None, unpacked: bool = True) -> Iterator[bytes]:
        """The bytes that have come, as soon as there are some; a second call gives the last, for messages."""
        if self._is_read:
            yield self._last
            return
        self._is_read = True
        with _reporting(self):
            stream: Any = sys.stdin.buffer  # `read1` waits for something, but not for all of it
            while block := stream.read1(BLOCK):
                self._last = block
                progress(len(block))
                yield block


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, stream: IO[bytes], progress: BytesRead) -> None:
        self.sha256 = hashlib.sha256()
        self._stream, self._progress = stream, progress

    def read(self, size: int = -1) -> bytes:
        """The next bytes; none at the end."""
        if block := self._stream.read(size):
            self.sha256.update(block)
            self._progress(len(block))
        return block


@contextlib.contextmanager
def _reporting(source: Source) -> Iterator[None]:
    """Turn errors of reading into `CorpusError`."""
    with os_errors_as(CorpusError, f"{source} cannot be read"):
        try:
            yield
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise CorpusError(f"{source} is damaged, or not compressed as its name says: {error}") from error


def find(
    paths: Sequence[str],
    announce: Announce = lambda what: None,
    remark: Callable[[str], object] = lambda what: None,
) -> list[Source]:
    """The files of `paths`, in their order; within a directory or a pattern, sorted by name.

    A path is a file, a directory (all files in it and below), a pattern (`*`, `?`, `[…]`, `**`), or
    `-`. Directories and patterns are read without what `walked` leaves out, and `remark` is called
    with a sentence about that. `announce` is called if a pipe must be waited for. Raises
    `CorpusError` if a path matches no file, and what `Source` does.
    """
    if list(paths).count(STANDARD_INPUT) > 1:
        raise CorpusError(f"standard input, {STANDARD_INPUT}, is named twice, but can be read only once")
    sources = []
    for path in paths:
        walk = None if path == STANDARD_INPUT else walked(path)
        root, files, left_out = walk or (None, [path], "")
        if not files:
            what = " is a directory without files" if root == Path(path) else ": no file matches this pattern"
            because = f" (left out: {left_out}; name a file to read it)" if left_out else ""
            raise CorpusError(f"text {path}{what}{because}")
        if left_out:
            remark(f"left out of {path}: {left_out}")
        sources += [Source(file, announce=announce, root=root) for file in files]
    return sources


def digest(digests: Sequence[str]) -> str:
    """One SHA-256, in hexadecimal, for several: the digest of their lines; a single one is unchanged."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _standard_input(announce: Announce) -> IO[bytes]:
    """A copy of standard input, to be read more than once."""
    _check_standard_input(announce)
    with os_errors_as(CorpusError, "standard input cannot be copied"):
        return _copied(sys.stdin.buffer)


def _check_standard_input(announce: Announce) -> None:
    """Raise `CorpusError` if standard input cannot be read; wait until there is something to read."""
    if sys.stdin is None or sys.stdin.isatty():
        raise CorpusError("standard input is a terminal: pipe a text into the command, or name a file")
    if sys.stdin in _consumed:
        raise CorpusError("standard input has been read, and cannot be read again: name a file")
    _consumed.add(sys.stdin)
    # a stream of Python without a descriptor is an unsupported operation
    with (
        os_errors_as(CorpusError, "standard input cannot be read"),
        contextlib.suppress(io.UnsupportedOperation),
    ):
        status = os.fstat(sys.stdin.fileno())
        if stat.S_ISCHR(status.st_mode) and not os.path.samestat(status, os.stat(os.devnull)):
            raise CorpusError("standard input is a device: its contents may have no end")
        if stat.S_ISFIFO(status.st_mode):
            _wait_for(sys.stdin.fileno(), "standard input", announce)


def _wait_for(descriptor: int, name: str, announce: Announce) -> None:
    """Wait until a pipe has something to read, or has ended."""
    if not select.select([descriptor], [], [], _PATIENCE)[0]:
        announce(f"waiting for a text from {name}")
        select.select([descriptor], [], [])


def _copied(stream: IO[bytes]) -> IO[bytes]:
    """A temporary file with the rest of a stream."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 (closed when it is collected)
    shutil.copyfileobj(stream, copy, BLOCK)
    copy.flush()
    return copy
