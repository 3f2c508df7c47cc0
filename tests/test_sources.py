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
from charlm.errors import CorpusError

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
    """A directory is its files and those below, sorted by name; nothing hidden."""
    plant(tmp_path, "b", "a/z", "a/c/d.gz", "a.txt", ".hidden", "a/.hidden", ".git/config", "B")
    (tmp_path / "empty").mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert names(tmp_path, ".") == ["B", "a.txt", "a/c/d.gz", "a/z", "b"]


def test_a_hidden_directory_that_is_named_is_read(tmp_path: Path) -> None:
    """Hidden is what lies below the directory, not the directory itself."""
    plant(tmp_path, ".texts/a", ".texts/.b")
    assert names(tmp_path, ".texts") == [".texts/a"]


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
def test_a_truncated_file_is_refused(tmp_path: Path, ending: str) -> None:
    """A packed file cut off anywhere is one line that names it, never a shorter text."""
    path = tmp_path / f"text{ending}"
    whole = PACKERS[ending](b"a text that is packed\n" * 3)
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorpusError) as caught:
            contents(Source(str(path)))
        assert str(caught.value).startswith(f"text {path} {DAMAGED}"), length
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", PACKERS)
def test_a_damaged_file_is_refused_or_the_same(tmp_path: Path, ending: str) -> None:
    """A wrong byte anywhere is an error or does not matter (a date, a flag): the text is never another."""
    path = tmp_path / f"text{ending}"
    data = b"a text that is packed\n" * 3
    whole = PACKERS[ending](data)
    refused = 0
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        message = f"text {path} {DAMAGED}"
        try:
            assert contents(Source(str(path))) == data
        except CorpusError as error:
            refused += str(error).startswith(message) or 1000
    assert len(whole) // 2 < refused <= len(whole)


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("data", [b"plain text, not packed", b"\x1f", b"\xfd7zXZ", b"]\0\0\x80\0", b"\n"])
def test_a_file_that_is_not_packed_is_refused(tmp_path: Path, ending: str, data: bytes) -> None:
    """A plain text that is called as if it were packed is one line that names it."""
    path = tmp_path / f"text{ending}"
    path.write_bytes(data)
    with pytest.raises(CorpusError) as caught:
        contents(Source(str(path)))
    assert str(caught.value).startswith(f"text {path} {DAMAGED}")


def test_rubbish_after_a_packed_file_is_refused(tmp_path: Path) -> None:
    """What follows a packed file and is not one is an error, not left out."""
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"text") + b"and more")
    with pytest.raises(CorpusError):
        contents(Source(str(path)))


def test_only_the_ending_says_that_a_file_is_packed(tmp_path: Path) -> None:
    """A packed file under another name is read as the bytes it is."""
    path = tmp_path / "text.gz.bin"
    path.write_bytes(gzip.compress(b"text"))
    assert contents(Source(str(path))) == path.read_bytes()


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
    assert digest([source]) == hashlib.sha256(data).hexdigest()
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


def test_a_pipe_is_read() -> None:
    """A real pipe, which can be read only once, is a text like others."""
    code = (
        "from charlm.data.sources import find; import sys; (s,) = find(['-']);"
        "[sys.stdout.buffer.write(b) for _ in range(2) for b in s.blocks()]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=b"\xff\r\n",
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert done.stdout == b"\xff\r\n\xff\r\n"


def test_the_digest_of_one_file_is_its_sha256(tmp_path: Path) -> None:
    """The digest is of the file as it lies on the disk, packed or not, and progress covers all of it."""
    for name, data in (("text.txt", b"text\n"), ("text.gz", gzip.compress(b"text\n")), ("empty", b"")):
        (tmp_path / name).write_bytes(data)
        seen: list[int] = []
        source = Source(str(tmp_path / name))
        list(source.blocks(seen.append))
        assert digest([source]) == hashlib.sha256(data).hexdigest()
        assert sum(seen) == len(data)


def test_the_digest_of_several_files_depends_on_each(tmp_path: Path) -> None:
    """Other contents, another order or other ends of files make another digest; other names do not."""
    texts = [("ab", "c"), ("c", "ab"), ("a", "bc"), ("ab", "c", ""), ("ab", "C"), ("abc",)]
    digests = []
    for folder in ("one", "other"):
        for number, text in enumerate(texts):
            plant(tmp_path, *(f"{folder}{number}/{position}" for position in range(len(text))))
            for position, part in enumerate(text):
                (tmp_path / f"{folder}{number}" / str(position)).write_text(part)
            found = find([str(tmp_path / f"{folder}{number}")])
            for source in found:
                contents(source)
            digests.append(digest(found))
    assert digests[:6] == digests[6:]
    assert len(set(digests)) == 6
    one, other = (hashlib.sha256(part).hexdigest() for part in (b"ab", b"c"))
    assert digests[0] == hashlib.sha256(f"{one}\n{other}".encode()).hexdigest()


def test_the_stamp_changes_with_the_file(tmp_path: Path) -> None:
    """Another size or another time is another stamp; reading changes nothing."""
    path = tmp_path / "text"
    path.write_bytes(b"text")
    source = Source(str(path))
    first = source.stamp()
    contents(source)
    assert source.stamp() == first == (4, path.stat().st_mtime_ns)
    os.utime(path, ns=(1, 1))
    second = source.stamp()
    assert second == (4, 1)
    path.write_bytes(b"texts")
    os.utime(path, ns=(1, 1))
    assert source.stamp() == (5, 1)


def test_a_pipe_is_kept(tmp_path: Path) -> None:
    """A pipe for a file, such as a shell's <(…), can be read as often as a file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"text" * 100_000,))
    writer.start()
    (source,) = find([str(path)])
    writer.join()
    for _ in range(2):
        assert contents(source) == b"text" * 100_000


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input can be read only once: naming it twice, or finding it again, is refused."""
    with pytest.raises(CorpusError, match="named twice"):
        find(["-", "a.txt", "-"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"text")))
    find(["-"])
    with pytest.raises(CorpusError, match="standard input has been read, and cannot be read again"):
        find(["-"])


def test_walks_have_roots_and_remarks(tmp_path: Path) -> None:
    """A source knows the directory of the walk that came upon it; what is left out is a remark."""
    plant(tmp_path, "a", ".b", "d/c")
    remarks: list[str] = []
    paths = [str(tmp_path), f"{tmp_path}/d/*", f"{tmp_path}/a"]
    found = find(paths, remark=remarks.append)
    assert [source.root for source in found] == [tmp_path, tmp_path, tmp_path / "d", None]
    assert remarks == [f"left out of {tmp_path}: hidden: 1 (.b)"]


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
