from __future__ import annotations

import gzip
import hashlib
import json
import multiprocessing
import os
import struct
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charlm.data import cache as cache_module
from charlm.data.cache import Cache, user_cache
from charlm.data.corpus import Corpus, read_corpus
from charlm.data.reader import TextPipeline
from charlm.data.sources import Source
from charlm.data.units import Units
from charlm.system.errors import CorpusError

KEY = "0123abcd"
NAMES, SETTINGS = ["text.txt"], {"encoding": "utf-8"}
CODES = [10, 97, 0x1F600]


def store(cache: Cache, *pieces: Any, key: str = KEY, names: list[str] = NAMES) -> None:
    """Keep some ids."""
    cache.store(key, names, SETTINGS, CODES, (np.asarray(piece) for piece in pieces))


def entry(cache: Cache) -> Path:
    """Return the only file in the cache."""
    (path,) = cache.directory.iterdir()
    return path


def forged(about: dict[str, Any] | str | bytes, ids: bytes = b"abc", length: int | None = None) -> bytes:
    """Return an entry with this description and its digest."""
    text = json.dumps(about) if isinstance(about, dict) else about
    data = ids + (text if isinstance(text, bytes) else text.encode())
    length = len(data) - len(ids) if length is None else length
    return data + struct.pack("<32sQ8s", hashlib.sha256(data).digest(), length, b"charlm\0\1")


TRUE: dict[str, Any] = {
    "key": KEY, "names": NAMES, "settings": SETTINGS, "codes": CODES, "type": "u1", "units": 3,
}  # fmt: skip


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("pieces", [[], [[]], [[5]], [[], [1, 2], [], [255, 0], []], [range(100), range(50)]])
def test_ids_come_back(tmp_path: Path, kind: npt.DTypeLike, pieces: list[Any]) -> None:
    """Ids of every type, in pieces of any length, contiguous or not, come back, and so do codes."""
    cache = Cache(tmp_path / "new" / "cache")
    arrays = [np.repeat(np.array(piece, kind), 2)[::2] for piece in pieces]
    stored = cache.store(KEY, NAMES, SETTINGS, CODES, iter(arrays))
    for found in (stored, cache.load(KEY)):
        assert found is not None
        np.testing.assert_array_equal(
            found.ids, np.concatenate([np.zeros(0, kind if arrays else np.uint8), *arrays]), strict=True
        )
        assert found.codes == CODES


def test_only_their_owner_can_read_texts(tmp_path: Path) -> None:
    """A new directory is for its owner alone, whether a text is stored in it or is still being read."""
    caches = Cache(tmp_path / "stored"), Cache(tmp_path / "read")
    store(caches[0])
    caches[1].spool().close()
    assert [cache.directory.stat().st_mode & 0o777 for cache in caches] == [0o700, 0o700]


def test_ids_are_mapped_into_memory(tmp_path: Path) -> None:
    """Nothing is copied: ids are those in the file, cannot be written to, and outlive its removal."""
    cache = Cache(tmp_path)
    store(cache, np.arange(5000, dtype=np.uint16))
    found = cache.load(KEY)
    assert found is not None
    assert type(found.ids) is np.ndarray
    assert isinstance(found.ids.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.ids[0] = 1
    cache.clear()
    assert int(found.ids.sum()) == sum(range(5000))


def test_a_missing_entry_is_no_error(tmp_path: Path) -> None:
    """No directory, no entry, a directory or another entry of its name: nothing is found."""
    cache = Cache(tmp_path / "missing")
    assert cache.load(KEY) is None
    assert list(cache.entries()) == []
    assert cache.clear() == (0, 0)
    (tmp_path / f"{KEY}.ids").mkdir()
    assert Cache(tmp_path).load(KEY) is None
    store(Cache(tmp_path / "other"), np.zeros(3, np.uint8))
    entry(Cache(tmp_path / "other")).rename(tmp_path / "other/other.ids")
    assert Cache(tmp_path / "other").load("other") is None
    assert list(Cache(tmp_path).entries()) == []


def test_an_entry_cut_off_anywhere_is_not_used(tmp_path: Path) -> None:
    """An entry that lost its end, however much of it, is as if it were not there."""
    cache = Cache(tmp_path)
    store(cache, np.array([0, 1, 2], np.uint8))
    path = entry(cache)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.load(KEY) is None, length
        list(cache.entries())
    for more in (b"\0", b"x" * 16, whole):
        path.write_bytes(more + whole)
        assert cache.load(KEY) is None
    path.write_bytes(whole)
    assert cache.load(KEY) is not None


@pytest.mark.parametrize("flip", [0x01, 0x20, 0xFF])
def test_an_entry_with_a_wrong_byte_is_not_used(tmp_path: Path, flip: int) -> None:
    """One changed byte, wherever it is, makes an entry invalid."""
    cache = Cache(tmp_path)
    store(cache, np.array([0, 1, 2], np.uint16))
    path = entry(cache)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ flip]) + whole[position + 1 :])
        assert cache.load(KEY) is None, position
        list(cache.entries())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"charlm\0\1",
        bytes(range(256)) * 2,
        forged(TRUE, length=2**64 - 1),
        forged(TRUE, length=2**63),
        forged(TRUE, length=0),
        forged(TRUE, length=1),
        forged("[]"),
        forged("null"),
        forged("7"),
        forged('"text"'),
        forged(b"\xff\xfe"),
        forged(b"[" * 100_000),
        forged(b'{"units": ' + b"9" * 5000 + b"}"),
        forged("{}"),
        b"abd" + forged(TRUE)[3:],
        *(forged({name: value for name, value in TRUE.items() if name != left}) for left in TRUE),
        *(
            forged({**TRUE, name: value})
            for name, values in {
                "key": ["other", None], "type": ["u8", "O", ["u1"], None], "names": [5, "a", [1], ["\0"]],
                "units": [-3, 3.0, True, "3", 2, 4, 2**70], "codes": ["abc", None, [1.5], ["a"], [[1]]],
                "settings": [None, []],
            }.items()
            for value in values
        ),
    ],
    ids=lambda data: f"{len(data)} bytes",
)  # fmt: skip
def test_a_foreign_file_is_not_used(tmp_path: Path, data: bytes) -> None:
    """A file with the name of an entry, even with a right digest, is ignored, and later overwritten."""
    cache = Cache(tmp_path)
    (tmp_path / f"{KEY}.ids").write_bytes(forged(TRUE))
    assert cache.load(KEY) is not None, "the entry that is changed is valid"
    (tmp_path / f"{KEY}.ids").write_bytes(data)
    assert cache.load(KEY) is None
    store(cache, np.zeros(1, np.uint8), key="other")
    assert [found.units for found in cache.entries() if found.path.name == "other.ids"] == [1]
    store(cache, np.zeros(2, np.uint8))
    assert cache.load(KEY) is not None


def test_entries_say_what_they_are(tmp_path: Path) -> None:
    """Of every entry: its files, how they were read, its size and units; what is not one is left out."""
    cache = Cache(tmp_path)
    store(cache, np.zeros(3, np.uint16), key="2", names=["b"])
    store(cache, np.zeros(4, np.uint16), np.zeros(4, np.uint16), key="1", names=["c", "d"])
    store(cache, np.zeros(0, np.uint16), key="3", names=["a"])
    (tmp_path / "x.ids").write_bytes(b"rubbish")
    (tmp_path / "notes.txt").write_bytes(b"foreign")
    found = list(cache.entries())
    assert [(one.names, one.settings, one.units) for one in found] == [
        (["a"], SETTINGS, 0),
        (["b"], SETTINGS, 3),
        (["c", "d"], SETTINGS, 8),
    ]
    assert [one.bytes for one in found] == [one.path.stat().st_size for one in found]


def test_clearing_removes_entries_and_what_was_left_over(tmp_path: Path) -> None:
    """All entries go, readable or not, and temporary files; other files are not touched."""
    cache = Cache(tmp_path)
    store(cache, np.zeros(3, np.uint8))
    (tmp_path / "x.ids").write_bytes(b"12345")
    (tmp_path / f".y.ids.{os.getpid()}.tmp").write_bytes(b"1")
    (tmp_path / "notes.txt").write_bytes(b"foreign")
    size = sum(path.stat().st_size for path in tmp_path.iterdir()) - 7
    assert cache.clear() == (3, size)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def read(cache: Cache | None, *paths: Path, pipeline: TextPipeline | None = None) -> Corpus:
    """Read a text through a cache."""
    return read_corpus(
        [Source(str(path)) for path in paths], pipeline or TextPipeline(), (1.0, 0.0, 0.0), cache=cache
    )


def test_older_states_of_the_same_files_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changed leaves one entry; other files' entries, and those read in other ways, stay.

    Nothing waits for the disk: what a power cut spoils is made again.
    """
    monkeypatch.setattr("os.fsync", lambda _: pytest.fail("flushed"))
    cache = Cache(tmp_path / "cache")
    text, other = tmp_path / "text", tmp_path / "other"
    other.write_text("other")
    for contents in ("first", "second", "third"):
        text.write_text(contents)
        for paths in ([text], [other], [text, other]):
            read(cache, *paths)
        read(cache, text, pipeline=TextPipeline(min_count=1, encoding="latin-1"))
    names = [str(text)], [str(text)], [str(other)], [str(text), str(other)]
    assert sorted(one.names for one in cache.entries()) == sorted(names)
    assert sorted(one.units for one in cache.entries()) == [5, 5, 5, 11]


def test_a_packed_file_is_not_taken_for_its_bytes(tmp_path: Path) -> None:
    """The same bytes under a name that does not say that they are packed are another text."""
    cache, pipeline = Cache(tmp_path / "cache"), TextPipeline(Units("byte"))
    for name in ("text.gz", "text.bin"):
        (tmp_path / name).write_bytes(gzip.compress(b"a text", mtime=0))
    assert len(read(cache, tmp_path / "text.gz", pipeline=pipeline).ids) == 6
    assert (
        len(read(cache, tmp_path / "text.bin", pipeline=pipeline).ids)
        == (tmp_path / "text.bin").stat().st_size
    )


def test_a_text_is_read_again_by_another_unicode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Normal forms depend on the version of Unicode: the entry of one is not that of another."""
    cache, text = Cache(tmp_path / "cache"), tmp_path / "text"
    text.write_text("a text")
    read(cache, text)
    first = entry(cache)
    monkeypatch.setattr(unicodedata, "unidata_version", "1.1.5")
    read(cache, text)
    assert entry(cache) != first


@pytest.mark.parametrize("place", ["file", "below a file", "full"])
def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be kept the text is read all the same, and a warning says why."""
    text, directory, cause = tmp_path / "text", tmp_path / "cache", "file exists"
    text.write_text("abcab")
    if place == "full":
        write, cause = cache_module.write_whole, "no space left on device"

        def refuse(path: Path, *rest: Any, **named: Any) -> None:
            if directory in path.parents:
                raise OSError(28, "No space left on device")
            write(path, *rest, **named)

        monkeypatch.setattr(cache_module, "write_whole", refuse)
    else:
        directory.write_text("in the way")
    if place == "below a file":
        directory, cause = directory / "charlm", "not a directory"
    corpus = read(Cache(directory), text)
    assert corpus.ids.tolist() == [0, 1, 2, 0, 1]
    assert corpus.warnings == (f"text {text} cannot be stored in the cache {directory}: {cause}",)
    assert place != "full" or list(directory.iterdir()) == []


def test_a_text_that_cannot_be_kept_anywhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room for a temporary file the error names the text and the cause."""
    (tmp_path / "text").write_text("abcab")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(CorpusError, match="cannot be put into a temporary file: no such file or directory"):
        read(None, tmp_path / "text")


@pytest.mark.parametrize("cached", [False, True])
def test_a_text_that_cannot_be_read_to_its_end_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    """No entry and no temporary file is left of a text with a wrong byte at its end."""
    (tmp_path / "text").write_bytes(b"ab" * 2_000_000 + b"\xff")
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "cache"))
    with pytest.raises(CorpusError, match="byte 4000000"):
        read(Cache(tmp_path / "cache") if cached else None, tmp_path / "text")
    assert list((tmp_path / "cache").iterdir()) == []


def test_leftovers_of_the_dead_are_removed(tmp_path: Path) -> None:
    """What a killed writer left is removed by the next one; what a living one is writing stays."""
    kept = f".x.ids.{os.getpid()}.tmp"
    for name in (kept, f".x.ids.{'9' * 40}.tmp"):
        (tmp_path / name).write_bytes(b"")
    store(Cache(tmp_path), np.zeros(3, np.uint8))
    assert {path.name for path in tmp_path.iterdir()} == {kept, f"{KEY}.ids"}


def test_the_directory_is_the_users_own(tmp_path: Path) -> None:
    """A directory made for the cache is closed to others; one that was there stays as it was."""
    store(Cache(tmp_path / "cache" / "charlm"), np.zeros(3, np.uint8))
    assert (tmp_path / "cache" / "charlm").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    store(Cache(tmp_path / "open"), np.zeros(3, np.uint8))
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other places")
@pytest.mark.parametrize(
    ("chosen", "home", "place"),
    [
        ("/there", "/home/me", "/there/charlm"),
        ("", "/home/me", "/home/me/.cache/charlm"),
        (None, "/home/me", "/home/me/.cache/charlm"),
        ("somewhere", "/home/me", "/home/me/.cache/charlm"),
        ("somewhere", None, None),
    ],
)
def test_the_place_of_the_cache_can_be_chosen(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, home: str | None, place: str | None
) -> None:
    """XDG_CACHE_HOME is its place, unless relative; otherwise it is below the home, if there is one."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if chosen is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", chosen)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", home or "~"))
    cache = user_cache()
    assert (None if cache is None else str(cache.directory)) == place


def _write_over_and_over(directory: Path, times: int) -> None:
    cache = Cache(directory)
    for number in range(times):
        store(cache, *(np.full(3000, number % 200, np.uint16) for _ in range(20)))


def test_readers_meet_whole_entries_only(tmp_path: Path) -> None:
    """While two processes store an entry over and over, a reader finds one of their entries, whole."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_over_and_over, args=(tmp_path, 50)) for _ in range(2)]
    for writer in writers:
        writer.start()
    shapes = set()
    while any(writer.is_alive() for writer in writers):
        if found := Cache(tmp_path).load(KEY):
            shapes.add((found.ids.shape, found.ids.min() == found.ids.max(), tuple(found.codes)))
    assert shapes == {((60_000,), True, tuple(CODES))}
    assert [(writer.join(), writer.exitcode) for writer in writers] == [(None, 0), (None, 0)]
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEY}.ids"]
