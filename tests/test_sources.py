from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.data import sources
from charlm.data.reader import TextPipeline
from charlm.data.sources import Source, digest, find
from charlm.data.units import Units
from charlm.system.errors import CorpusError

PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".xz": lzma.compress}
DAMAGED = "is damaged, or not compressed as its name says: "


def contents(source: Source) -> bytes:
    """Return all that a source holds, unpacked."""
    return b"".join(source.blocks())


def names(directory: Path, *paths: str) -> list[str]:
    """Return the files that paths in a directory mean, relative to it."""
    found = find([str(directory / path) for path in paths])
    return [Path(source.name).relative_to(directory).as_posix() for source in found]


def plant(directory: Path, *files: str) -> None:
    """Write files that hold their names."""
    for file in files:
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)


def test_a_directory_is_all_files_in_it(tmp_path: Path) -> None:
    """A directory is its files and those below, sorted by name; a remark tells of what is hidden there."""
    plant(tmp_path, "b", "a/z", "a/c/d.gz", "a.txt", ".hidden", "a/.hidden", ".git/config", "B")
    (tmp_path / "empty").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert names(tmp_path, ".") == ["B", "a.txt", "a/c/d.gz", "a/z", "b"]
    assert names(tmp_path, ".git") == [".git/config"]
    remarks: list[str] = []
    found = find([f"{tmp_path}/a", f"{tmp_path}/a/c/*", f"{tmp_path}/b"], remark=remarks.append)
    assert [source.root for source in found] == [tmp_path / "a", tmp_path / "a", tmp_path / "a/c", None]
    assert remarks == [f"left out of {tmp_path}/a: hidden: 1 (.hidden)"]


@pytest.mark.parametrize("files", [[], [".hidden"], ["below/.hidden", ".git/a"]])
def test_a_directory_without_files_is_refused(tmp_path: Path, files: list[str]) -> None:
    """A directory in which there is nothing to read is an error that names it."""
    plant(tmp_path, *files)
    with pytest.raises(CorpusError) as caught:
        find([str(tmp_path)])
    named = ", ".join(sorted({file if "/." in file else file.split("/")[0] for file in files}))
    left_out = f" (left out: hidden: {len(files)} ({named}); name a file to read it)" if files else ""
    assert str(caught.value) == f"text {tmp_path} is a directory without files{left_out}"


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("*.txt", ["a.txt", "b.txt"]),
        ("?.txt", ["a.txt", "b.txt"]),
        ("[b-z].txt", ["b.txt"]),
        ("*", ["a.txt", "b.txt", "c.md"]),
        ("**/*.txt", ["a.txt", "b.txt", "below/a.txt", "below/deep/a.txt"]),
        ("**", ["a.txt", "b.txt", "below/a.txt", "below/deep/a.txt", "c.md"]),
        ("**/**/*.txt", ["a.txt", "b.txt", "below/a.txt", "below/deep/a.txt"]),
        ("*/*.txt", ["below/a.txt"]),
        (".*", [".hidden.txt"]),
    ],
)
def test_a_pattern_is_the_files_it_fits(tmp_path: Path, pattern: str, wanted: list[str]) -> None:
    """A pattern means files, not directories, sorted by name; `**` any directories between."""
    plant(tmp_path, "b.txt", "a.txt", "c.md", "below/a.txt", "below/deep/a.txt", ".hidden.txt", ".git/a.txt")
    assert names(tmp_path, pattern) == wanted


@pytest.mark.parametrize("pattern", ["*.md", "[x", "below/*", "*" * 300, "a" * 300 + "*"])
def test_a_pattern_that_fits_nothing_is_refused(tmp_path: Path, pattern: str) -> None:
    """A pattern without files is an error that shows it; a directory is not a file."""
    plant(tmp_path, "a.txt")
    (tmp_path / "below" / "directory").mkdir(parents=True)
    if pattern == "*" * 300:
        (tmp_path / "a.txt").unlink()
    path = str(tmp_path / pattern)
    if pattern == "[x":  # no more than a name, for want of the other bracket
        path = str(tmp_path / "[xyz]")
    with pytest.raises(CorpusError) as caught:
        find([path])
    assert str(caught.value) == f"text {path}: no file matches this pattern"


@pytest.mark.parametrize("name", ["a[x].txt", "a*.txt", "what?", "[", "**"])
def test_a_file_may_be_called_like_a_pattern(tmp_path: Path, name: str) -> None:
    """A file that is there is meant, even if its name is a pattern that others fit."""
    plant(tmp_path, name, "ax.txt", "whatx")
    assert names(tmp_path, name) == [name]


def test_a_list_keeps_its_order(tmp_path: Path) -> None:
    """Paths come in the order in which they are named, each as often; only what one means is sorted."""
    plant(tmp_path, "z", "d/b", "d/a", "c1", "c0")
    assert names(tmp_path, "z", "d", "c?", "z") == ["z", "d/a", "d/b", "c0", "c1", "z"]


@pytest.mark.parametrize("ending", PACKERS)
@given(data=st.binary(max_size=300))
@example(data=b"")
@example(data=bytes(100_000))
def test_a_packed_file_equals_the_plain_one(
    tmp_path_factory: pytest.TempPathFactory, ending: str, data: bytes
) -> None:
    """Whatever was packed comes out, in blocks of any size, and so do several packed files in one."""
    path = tmp_path_factory.getbasetemp() / f"text{ending.upper()}"
    pack = PACKERS[ending]
    for packed, wanted in ((pack(data), data), (pack(data) + pack(b"more"), data + b"more")):
        path.write_bytes(packed)
        source = Source(str(path))
        assert contents(source) == wanted
        assert b"".join(source.blocks(unpacked=False)) == packed
        read: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sources, "BLOCK", max(1, len(wanted) // 3))
            assert b"".join(source.blocks(read.append)) == wanted
        assert sum(read) == len(packed)
        assert source.sha256 == hashlib.sha256(packed).hexdigest()


@pytest.mark.parametrize("ending", PACKERS)
def test_a_damaged_file_is_refused(tmp_path: Path, ending: str) -> None:
    """A packed file that is cut off anywhere, or was never packed, is one line that names it.

    A wrong byte anywhere is an error or does not matter (a date, a flag): the text is never another.
    """
    path, data = tmp_path / f"text{ending}", b"a text that is packed\n" * 3
    whole = PACKERS[ending](data)
    plain = (b"plain text, not packed", b"\x1f", b"\xfd7zXZ", b"]\0\0\x80\0", b"\n")
    trailing = (gzip.compress(b"text") + b"and more",) if ending == ".gz" else ()
    for damaged in (*(whole[:length] for length in range(1, len(whole))), *plain, *trailing):
        path.write_bytes(damaged)
        with pytest.raises(CorpusError) as caught:
            contents(Source(str(path)))
        assert str(caught.value).startswith(f"text {path} {DAMAGED}"), damaged
        assert "\n" not in str(caught.value)
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            assert contents(Source(str(path))) == data
        except CorpusError as error:
            refused += str(error).startswith(f"text {path} {DAMAGED}") or 1000
    assert len(whole) // 2 < refused <= len(whole)
    path.rename(tmp_path / "text.bin")  # only the ending says that a file is packed
    assert contents(Source(str(tmp_path / "text.bin"))) == (tmp_path / "text.bin").read_bytes()


@pytest.mark.parametrize("use", [contents, Source.stamp, lambda source: list(source.blocks(unpacked=False))])
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Source], object]
) -> None:
    """A missing file, a directory and one that may not be read are errors with the role, name and cause."""
    (tmp_path / "directory.gz").mkdir()

    def complaint(name: str) -> str:
        with pytest.raises(CorpusError) as caught:
            use(Source(str(tmp_path / name), "prime"))
        return str(caught.value).replace(str(tmp_path / name), "it")

    assert complaint("missing") == "prime it cannot be read: no such file or directory"
    assert complaint("missing.xz") == "prime it cannot be read: no such file or directory"
    assert complaint("directory.gz") == "prime it cannot be read: is a directory"
    assert complaint("x" * 300) == "prime it cannot be read: file name too long"

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert complaint("secret") == "prime it cannot be read: permission denied"


class Typed(io.TextIOWrapper):
    """Standard input that somebody types."""

    def isatty(self) -> bool:
        """Return that it is a terminal."""
        return True


def test_standard_input_is_read_as_often_as_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was piped in is kept: looked at, read, and read again from the start, its bytes as they are."""
    data = bytes(range(256)) * 3
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    (source,) = find(["-"])
    assert str(source) == "text standard input"
    stamp = source.stamp()
    contents(source)
    assert digest([source.sha256]) == hashlib.sha256(data).hexdigest()
    monkeypatch.setattr(sources, "BLOCK", 100)
    next(source.blocks())
    assert contents(source) == contents(source) == data
    assert source.stamp() == stamp


@pytest.mark.parametrize("stdin", [None, Typed(io.BytesIO())])
def test_a_terminal_is_not_a_text(monkeypatch: pytest.MonkeyPatch, stdin: object) -> None:
    """Nobody is left waiting for a text to be typed: a terminal, or no input at all, is refused."""
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(CorpusError, match=r"^standard input is a terminal: pipe a text"):
        find(["-"])


def test_the_digest_of_several_files_depends_on_each(tmp_path: Path) -> None:
    """Other contents, another order or other ends of files make another digest; other names do not."""
    texts = [("ab", "c"), ("c", "ab"), ("a", "bc"), ("ab", "c", ""), ("ab", "C"), ("abc",)]
    digests = []
    for folder in ("one", "other"):
        for number, text in enumerate(texts):
            (tmp_path / f"{folder}{number}").mkdir()
            for position, part in enumerate(text):
                (tmp_path / f"{folder}{number}" / str(position)).write_text(part)
            found = find([str(tmp_path / f"{folder}{number}")])
            assert "".join(contents(source).decode() for source in found) == "".join(text)
            digests.append(digest([source.sha256 for source in found]))
    assert digests[:6] == digests[6:]
    assert len(set(digests)) == 6
    one, other = (hashlib.sha256(part).hexdigest() for part in (b"ab", b"c"))
    assert digests[0] == hashlib.sha256(f"{one}\n{other}".encode()).hexdigest()
    # a stamp is size and time
    path = tmp_path / "one0" / "0"
    os.utime(path, ns=(1, 1))
    assert Source(str(path)).stamp() == (2, 1)


def test_a_pipe_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, on standard input or for a file, such as a shell's <(…), can be read as often as a file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    monkeypatch.setattr(sources, "_PATIENCE", 0.01)
    announced: list[str] = []
    writer = threading.Timer(0.1, path.write_bytes, args=(b"text" * 100_000,))
    writer.start()
    (source,) = find([str(path)], announced.append)
    writer.join()
    assert announced == [f"waiting for a text from {path}"]
    for _ in range(2):
        assert contents(source) == b"text" * 100_000
    reader, writer_end = os.pipe()
    os.write(writer_end, b"\xff\r\n")
    os.close(writer_end)
    with os.fdopen(reader, encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        (source,) = find(["-"])
    assert contents(source) == contents(source) == b"\xff\r\n"


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input can be read only once: naming it twice, or finding it again, is refused."""
    with pytest.raises(CorpusError, match="named twice"):
        find(["-", "a.txt", "-"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text")))
    find(["-"])
    with pytest.raises(CorpusError, match="standard input has been read, and cannot be read again"):
        find(["-"])
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        (source,) = find(["-"])
    assert contents(source) == b"", "the null device is no device without an end"


@pytest.mark.parametrize(
    ("name", "packing", "form"),
    [
        ("b c.tar", "", tarfile.GNU_FORMAT),
        ("b.txt", "", tarfile.PAX_FORMAT),
        ("b.tar.gz", "gz", tarfile.USTAR_FORMAT),
        ("b.tgz", "gz", tarfile.GNU_FORMAT),
        ("b.gz", "gz", tarfile.PAX_FORMAT),
        ("b.tar.xz", "xz", tarfile.GNU_FORMAT),
        ("b.TXZ", "xz", tarfile.PAX_FORMAT),
    ],
)
def test_archives_are_refused(tmp_path: Path, name: str, packing: str, form: int) -> None:
    """A tar archive, packed or not and whatever its name, is no text; the command that unpacks it works."""
    file = tmp_path / name
    plant(tmp_path, "texts/a.txt")
    with tarfile.open(file, f"w:{packing}", format=form) as archive:  # type: ignore[call-overload]
        archive.add(tmp_path / "texts", "texts")
    with pytest.raises(CorpusError, match="is a tar archive, not a text") as caught:
        list(TextPipeline().pieces([Source(str(file))]))
    command = str(caught.value).split("directory, ")[1].split(", and")[0].replace("DIR", "there")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)  # noqa: S602 -- printed to be pasted
    assert (tmp_path / "there/texts/a.txt").read_text() == "texts/a.txt"
    # the bytes of any file can be modelled
    assert len(list(TextPipeline(Units("byte")).pieces([Source(str(file))]))) == 1


def test_all_of_a_packed_file_is_hashed(tmp_path: Path) -> None:
    """What follows the packed contents is no part of the text, and of the file it is."""
    data = lzma.compress(b"a text") + b"x" * (3 * sources.BLOCK)
    (tmp_path / "text.xz").write_bytes(data)
    source = Source(str(tmp_path / "text.xz"))
    assert contents(source) == b"a text"
    assert source.sha256 == hashlib.sha256(data).hexdigest()
