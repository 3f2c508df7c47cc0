from __future__ import annotations

import gzip
import hashlib
import json
import multiprocessing
import os
import struct
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charlm.data.cache import Cache, Encoded, user_cache
from charlm.data.corpus import Corpus, read_corpus
from charlm.data.reader import TextPipeline
from charlm.data.sources import Source
from charlm.data.units import Units
from charlm.errors import CorpusError

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
    """Return an entry with this description, its digest right if it is a mapping."""
    if isinstance(about, dict):
        said = json.dumps(about, sort_keys=True).encode()
        about = json.dumps({**about, "sha256": hashlib.sha256(ids + said).hexdigest()})
    text = about if isinstance(about, bytes) else about.encode()
    return ids + text + struct.pack("<Q8s", len(text) if length is None else length, b"charlm\0\1")


TRUE: dict[str, Any] = {
    "key": KEY, "names": NAMES, "settings": SETTINGS, "codes": CODES, "type": "u1", "units": 3,
}  # fmt: skip


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("pieces", [[], [[]], [[5]], [[], [1, 2], [], [255, 0], []], [range(100), range(50)]])
def test_ids_come_back(tmp_path: Path, kind: npt.DTypeLike, pieces: list[Any]) -> None:
    """Ids of every type, in pieces of any length, are the same afterwards, and so are the codes."""
    cache = Cache(tmp_path / "new" / "cache")
    arrays = [np.array(piece, kind) for piece in pieces]
    store(cache, *arrays)
    found = cache.load(KEY)
    assert found is not None
    if arrays:
        np.testing.assert_array_equal(found.ids, np.concatenate(arrays), strict=True)
    assert len(found.ids) == sum(map(len, arrays))
    assert found.codes == CODES


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


def test_a_piece_that_is_no_whole_array_is_kept(tmp_path: Path) -> None:
    """Every other id of an array is stored as such, not what lies between."""
    store(Cache(tmp_path), np.arange(10, dtype=np.uint16)[::2])
    found = Cache(tmp_path).load(KEY)
    assert found is not None
    assert found.ids.tolist() == [0, 2, 4, 6, 8]


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    """No directory, no entry, or a directory of its name: nothing is found, and that is no error."""
    cache = Cache(tmp_path / "missing")
    assert cache.load(KEY) is None
    assert list(cache.entries()) == []
    assert cache.clear() == (0, 0)
    (tmp_path / f"{KEY}.ids").mkdir()
    assert Cache(tmp_path).load(KEY) is None
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


def test_a_forged_entry_is_possible(tmp_path: Path) -> None:
    """The entry that the next test changes is valid, so that each change is what is refused."""
    (tmp_path / f"{KEY}.ids").write_bytes(forged(TRUE))
    found = Cache(tmp_path).load(KEY)
    assert found is not None
    assert found.ids.tobytes() == b"abc"


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
        forged(json.dumps(TRUE)),
        forged(json.dumps({**TRUE, "sha256": 5})),
        *(forged({name: value for name, value in TRUE.items() if name != left}) for left in TRUE),
        *(
            forged({**TRUE, name: value})
            for name, value in [
                ("key", "other"), ("key", None), ("type", "u8"), ("type", "O"), ("type", ["u1"]),
                ("type", None), ("units", -3), ("units", 3.0), ("units", True), ("units", "3"),
                ("units", 2), ("units", 4), ("units", 2**70), ("codes", "abc"), ("codes", None),
                ("codes", [1.5]), ("codes", ["a"]), ("codes", [[1]]), ("names", 5), ("names", "a"),
                ("names", [1]), ("settings", None), ("settings", []),
            ]
        ),
    ],
    ids=lambda data: f"{len(data)} bytes",
)  # fmt: skip
def test_a_foreign_file_is_not_used(tmp_path: Path, data: bytes) -> None:
    """A file with the name of an entry, even with a right digest, is ignored, and later overwritten."""
    cache = Cache(tmp_path)
    (tmp_path / f"{KEY}.ids").write_bytes(data)
    assert cache.load(KEY) is None
    store(cache, np.zeros(1, np.uint8), key="other")
    assert [found.units for found in cache.entries() if found.path.name == "other.ids"] == [1]
    store(cache, np.zeros(2, np.uint8))
    assert cache.load(KEY) is not None


def test_a_key_opens_its_own_entry_only(tmp_path: Path) -> None:
    """An entry under another entry's name is not taken for it."""
    cache = Cache(tmp_path)
    store(cache, np.zeros(3, np.uint8))
    entry(cache).rename(tmp_path / "other.ids")
    assert cache.load("other") is None


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


@pytest.mark.parametrize("place", ["file", "below a file", "refused"])
def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be kept the text is read all the same, and a warning says why."""
    text = tmp_path / "text"
    text.write_text("abcab")
    directory, spool = tmp_path / "cache", Cache.spool
    cause = "file exists"
    if place == "refused":
        monkeypatch.setattr(
            Cache, "spool", lambda self: spool(self) if self.directory != directory else _refuse()
        )
        cause = "permission denied"
    else:
        directory.write_text("in the way")
    if place == "below a file":
        directory, cause = directory / "charlm", "not a directory"
    corpus = read(Cache(directory), text)
    assert corpus.ids.tolist() == [0, 1, 2, 0, 1]
    assert corpus.warnings == (f"text {text} cannot be stored in the cache {directory}: {cause}",)


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_an_error_while_encoding_leaves_no_file(tmp_path: Path) -> None:
    """If the text cannot be read to its end, no entry and no temporary file is left."""
    cache = Cache(tmp_path / "cache")

    def pieces() -> Any:
        yield np.zeros(3, np.uint8)
        raise CorpusError("gone")

    with pytest.raises(CorpusError, match="gone"):
        cache.store(KEY, NAMES, SETTINGS, CODES, pieces())
    assert list(cache.directory.iterdir()) == []


def test_leftovers_of_the_dead_are_removed(tmp_path: Path) -> None:
    """What a killed writer left is removed by the next one; what a living one is writing stays."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = [
        f".x.ids.{os.getpid()}.tmp",
        f".x.ids.{os.getppid()}.tmp",
        ".x.ids.².tmp",
        ".x.ids.a.tmp",
        ".x.tmp",
    ]
    for name in [*kept, f".x.ids.{dead.pid}.tmp", f".x.ids.{'9' * 40}.tmp"]:
        (tmp_path / name).write_bytes(b"")
    store(Cache(tmp_path), np.zeros(3, np.uint8))
    assert {path.name for path in tmp_path.iterdir()} == {*kept, f"{KEY}.ids"}


def test_the_directory_is_the_users_own(tmp_path: Path) -> None:
    """A directory made for the cache is closed to others; one that was there stays as it was."""
    store(Cache(tmp_path / "cache" / "charlm"), np.zeros(3, np.uint8))
    assert (tmp_path / "cache" / "charlm").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    store(Cache(tmp_path / "open"), np.zeros(3, np.uint8))
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o755


def test_the_place_of_the_cache_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CACHE_HOME says where the cache is; empty or not set, it is below the user's directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache().directory == tmp_path / "charlm"
    monkeypatch.setenv("HOME", str(tmp_path))
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("XDG_CACHE_HOME")
        else:
            monkeypatch.setenv("XDG_CACHE_HOME", unset)
        if sys.platform == "linux":
            assert user_cache().directory == tmp_path / ".cache" / "charlm"


def _write_over_and_over(directory: Path, times: int) -> None:
    cache = Cache(directory)
    for number in range(times):
        store(cache, *(np.full(3000, number % 200, np.uint16) for _ in range(20)))


def _watch(directory: Path, running: Callable[[], bool]) -> int:
    """Look at an entry while it is being replaced; returns how often it was there."""
    met = 0
    while running():
        found = Cache(directory).load(KEY)
        if found is not None:
            assert_whole(found)
            met += 1
    return met


def assert_whole(found: Encoded) -> None:
    """Fail if ids come from more than one writing."""
    assert found.ids.shape == (60_000,)
    assert found.ids.min() == found.ids.max()
    assert found.codes == CODES


def test_readers_meet_whole_entries_only(tmp_path: Path) -> None:
    """While two processes store an entry over and over, what is found is always one of theirs, whole."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_over_and_over, args=(tmp_path, 50)) for _ in range(2)]
    for writer in writers:
        writer.start()
    met = _watch(tmp_path, lambda: any(writer.is_alive() for writer in writers))
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert met > 0
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEY}.ids"]


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no home directory there is no cache, and no error; a relative one is ignored."""
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert user_cache() is None
    monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", "/home/me"))
    kept = user_cache()
    assert kept is not None
    assert kept.directory.is_absolute()
