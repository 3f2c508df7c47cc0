"""Untrusted checkpoints: refused for a reason, without a traceback and without much memory."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_trainer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlm.runs import checkpoint
from charlm.system.errors import CheckpointError

Members = dict[str, Any]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """As small a checkpoint as there is."""
    trainer = make_trainer(tmp_path, model__hidden=1, model__layers=1, model__cell="rnn", train__batch=1)
    trainer.update()
    file = tmp_path / "small.npz"
    checkpoint.save(file, trainer.snapshot())
    return file


def _same(one: checkpoint.Checkpoint, other: checkpoint.Checkpoint) -> bool:
    arrays = [{"parameters": c.parameters.flat, **c.training} for c in (one, other)]
    return (
        (one.config, one.corpus, one.progress) == (other.config, other.corpus, other.progress)
        and one.vocabulary.codes.tolist() == other.vocabulary.codes.tolist()
        and arrays[0].keys() == arrays[1].keys()
        and all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])
    )


def _try(file: Path, data: bytes, original: checkpoint.Checkpoint) -> bool:
    """Whether damaged contents are read; if they are, nothing that matters may have changed."""
    file.write_bytes(data)
    try:
        loaded = checkpoint.load(file)
    except CheckpointError:
        return False
    assert _same(loaded, original)
    return True


def _damage(data: bytes, rng: np.random.Generator) -> bytes:
    """A bit flipped, or a piece of the file copied over another, removed, or put in."""
    damaged = bytearray(data)
    position, other = sorted(rng.integers(len(data), size=2).tolist())
    length = int(rng.choice([1, 2, 4, 16, 100]))
    kind = rng.integers(4)
    if kind == 0:
        damaged[position] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        damaged[position : position + length] = data[other : other + length]
    elif kind == 2:
        del damaged[position : position + length]
    else:
        damaged[position:position] = data[other : other + length]
    return bytes(damaged)


@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.slow)])
def test_cut_off(saved: Path, step: int) -> None:
    """A file that ends too soon, after any number of bytes (or one length in 17), is refused."""
    data, original = saved.read_bytes(), checkpoint.load(saved)
    assert not any(_try(saved, data[:length], original) for length in range(0, len(data), step))


@pytest.mark.parametrize("times", [300, pytest.param(100_000, marks=pytest.mark.slow)])
def test_damaged(saved: Path, times: int) -> None:
    """Random flips and splices are found, or changed nothing that matters."""
    data, original, rng = saved.read_bytes(), checkpoint.load(saved), np.random.default_rng(0)
    read = sum(_try(saved, _damage(data, rng), original) for _ in range(times))
    assert read < times / 4  # fields of the zip file that are not read


_EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 8), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=_EDITS)
def test_edited(saved: Path, edits: list[tuple[float, int, bytes]]) -> None:
    """Whatever hypothesis writes into a checkpoint is found, or changed nothing that matters."""
    data = saved.read_bytes()
    original, edited = checkpoint.load(saved), bytearray(data)
    for position, length, piece in edits:
        start = int(position * len(edited))
        edited[start : start + length] = piece
    _try(saved, bytes(edited), original)
    saved.write_bytes(data)


def _members(file: Path) -> Members:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _sign(file: Path, members: Members, metadata: dict[str, Any]) -> None:
    """Write what an attacker who knows the format would: with the right digest."""
    arrays = {name: array for name, array in members.items() if name != "metadata"}
    metadata.pop("sha256", None)
    metadata["sha256"] = checkpoint._digest(metadata, arrays)
    text = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    np.savez(file, allow_pickle=True, **arrays, metadata=text)


def _signed(change: Callable[[Members, dict[str, Any]], object]) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        members = _members(file)
        metadata = json.loads(members["metadata"].tobytes())
        change(members, metadata)
        _sign(file, members, metadata)

    return write


def _raw(change: Callable[[dict[str, bytes]], object]) -> Callable[[Path], None]:
    """Rewrite the zip file member by member, as bytes."""

    def write(file: Path) -> None:
        with zipfile.ZipFile(file) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change(members)
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)

    return write


def _metadata_of(text: bytes) -> Callable[[Path], None]:
    def change(members: dict[str, bytes]) -> None:
        stream = io.BytesIO()
        np.save(stream, np.frombuffer(text, np.uint8))
        members["metadata.npy"] = stream.getvalue()

    return _raw(change)


def _described(header: str) -> Callable[[Path], None]:
    def change(members: dict[str, bytes]) -> None:
        text = header.encode() + b"\n"
        members["parameters/output.b.npy"] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text

    return _raw(change)


def _bomb(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.npy", bytes(1 << 27))


def _compressed(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.npy", np.random.default_rng(0).bytes(1000))


def _twice(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("metadata.npy", archive.read("metadata.npy"))


def _named(name: str) -> Callable[[Path], None]:
    return _raw(lambda members: members.update({name: members["metadata.npy"]}))


def _directory_claims(file: Path) -> None:
    data = bytearray(file.read_bytes())
    struct.pack_into("<L", data, len(data) - 10, 0xFFFFFFF0)
    file.write_bytes(data)


def _many_members(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(18_000):
            archive.writestr(f"parameters/{number}.npy", b"")


def _member_claims(file: Path) -> None:
    """Every size of a member, as the table of contents has it, becomes 4 GB less a few bytes."""
    data = bytearray(file.read_bytes())
    position = data.index(b"PK\x01\x02")
    struct.pack_into("<LL", data, position + 20, 0xFFFFFF00, 0xFFFFFF00)
    file.write_bytes(data)


def _array_claims(file: Path) -> None:
    """An array of 2 GB that is described alike everywhere, and is not there."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (536870912,)}\n"
    beginning = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    _raw(lambda members: members.update({"training/x.npy": beginning}))(file)
    data = bytearray(file.read_bytes())
    position = data.index(b"training/x.npy", data.index(b"PK\x01\x02")) - 46
    struct.pack_into("<LL", data, position + 20, *[len(beginning) + (1 << 31)] * 2)
    file.write_bytes(data)


def _set(path: str, value: Any) -> Callable[[Path], None]:
    def change(_: Members, metadata: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        inner = metadata
        for name in parents:
            inner = inner[name]
        inner[last] = value

    return _signed(change)


HOSTILE = {
    "a zip bomb": (_bomb, "its members are larger than the file"),
    "a compressed member": (_compressed, "compressed"),
    "a name twice": (_twice, "twice"),
    "an absolute name": (_named("/etc/passwd.npy"), "a file that is not an array"),
    "a name that climbs": (_named("a/../../b.npy"), "a file that is not an array"),
    "a name of 60,000 characters": (_named("x" * 60_000 + ".npy"), "a file that is not an array"),
    "another kind of file": (_named("readme.txt"), "a file that is not an array"),
    "a name that moves the cursor": (_named("\x1b[2J.npy"), "a file that is not an array"),
    "a large table of contents": (_many_members, "table of contents too large"),
    "a table of contents that is not there": (_directory_claims, "table of contents too large"),
    "a member of 4 GB": (_member_claims, "not a charlm checkpoint|damaged"),
    "an array of 2 GB": (_array_claims, "its members are larger than the file"),
    "a shape of exabytes": (
        _described("{'descr': '<f4', 'fortran_order': False, 'shape': (2305843009213693952,)}"),
        "does not match its shape",
    ),
    "a shape below nothing": (
        _described("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
        "an unsupported type",
    ),
    "objects": (_described("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), "an unsupported type"),
    "a description that is a program": (_described("__import__('os').abort()"), "description is invalid"),
    "a deep description": (_described("(" * 3000 + ")" * 3000), "description"),
    "deep metadata": (_metadata_of(b"[" * 900_000), "not a charlm checkpoint"),
    "large metadata": (_metadata_of(b'"' + b"x" * 3_000_000 + b'"'), "bytes of metadata"),
    "dense metadata": (_metadata_of(b"[" + b"{}," * 600_000 + b"{}]"), "not an object"),
    "metadata with NaN": (_metadata_of(b'{"format": NaN}'), "NaN in its metadata"),
    "a number of a million digits": (_metadata_of(b'{"format": ' + b"9" * 1_000_000 + b"}"), "not a charlm"),
    "a format from the future": (_set("format", 2**40), "has format"),
    "a format that is no number": (_set("format", True), "has format"),
    "no configuration": (_set("config", None), "not a charlm checkpoint"),
    "a thousand layers": (_set("config.model.layers", 1000), "lacks parameters"),
    "a million layers": (_set("config.model.layers", 10**6), "model.layers"),
    "ten million units": (_set("config.model.hidden", 10**7), "its configuration asks for"),
    "a vocabulary of four billion": (_set("vocabulary", [2**32 - 1]), "vocabulary"),
    "a vocabulary out of order": (_set("vocabulary", [98, 97]), "vocabulary"),
    "a vocabulary of a range too far": (_set("vocabulary", [[0, 2**32]]), "vocabulary"),
    "a vocabulary of overlapping ranges": (_set("vocabulary", [[0, 9], [9, 12]]), "vocabulary"),
    "a vocabulary of ranges that go backwards": (_set("vocabulary", [[9, 2]]), "vocabulary"),
    "a vocabulary of all that there is": (_set("vocabulary", [[0, 0x10FFFF]]), "shape"),
    "a vocabulary of words": (_set("vocabulary", ["a"]), "vocabulary"),
    "progress that is a list": (_set("progress", []), "not a charlm checkpoint"),
    "a step that is a text": (_set("progress.step", "\x1b[2J" * 10_000), "step is"),
    "a loss of another split": (_set("progress.best_of", "\x1b[2J"), "best_of is"),
    "a corpus without a digest": (_set("corpus", {"characters": 3}), "digest"),
    "weights that are not numbers": (
        _signed(lambda members, _: members["parameters/output.b"].fill(np.nan)),
        "not finite in parameters/output.b",
    ),
    "weights that are infinite": (
        _signed(lambda members, _: members["parameters/output.b"].fill(np.inf)),
        "not finite in parameters/output.b",
    ),
    "another shape": (
        _signed(lambda members, _: members.update({"parameters/output.b": np.zeros(1, np.float32)})),
        "output.b of shape",
    ),
    "a parameter less": (
        _signed(lambda members, _: members.pop("parameters/output.b")),
        "lacks the parameter",
    ),
    "pickled objects": (
        _signed(lambda members, _: members.update({"training/x": np.array([{}], object)})),
        "an unsupported type",
    ),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_checkpoints(saved: Path, kind: str) -> None:
    """Each is refused for its own reason, in one line that names the file, within 64 MB of memory."""
    write, reason = HOSTILE[kind]
    write(saved)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=reason) as caught:
            checkpoint.load(saved)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64_000_000
    message = str(caught.value)
    assert message.startswith(f"checkpoint {saved} ")
    assert len(message) < 600
    assert "\x1b" not in message


def test_training_state_of_other_shapes_is_refused(saved: Path, tmp_path: Path) -> None:
    """Arrays that would only fit by repeating themselves are not training state."""
    trainer = make_trainer(tmp_path, model__hidden=1, model__layers=1, model__cell="rnn", train__batch=1)
    members = _members(saved)
    members["training/optimizer/m"] = members["training/optimizer/m"][:1]
    _sign(saved, members, json.loads(members["metadata"].tobytes()))
    before = trainer.parameters.flat.copy()
    with pytest.raises(CheckpointError, match="lacks the training state"):
        trainer.restore(checkpoint.load(saved), "the run")
    np.testing.assert_array_equal(trainer.parameters.flat, before)
