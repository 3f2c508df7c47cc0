"""Checkpoints: what comes back is what was saved, and nothing else is taken for one."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, make_trainer

from charlm.config.build import build_model
from charlm.config.keys import Config
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.runs import checkpoint
from charlm.system.errors import CheckpointError


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint of a small run that has done a few updates."""
    trainer = make_trainer(tmp_path)
    for _ in range(3):
        trainer.update()
    file = tmp_path / "small.npz"
    checkpoint.save(file, trainer.snapshot())
    return file


def _members(file: Path) -> dict[str, Any]:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _rewrite(file: Path, **changed: Any) -> None:
    np.savez(file, **{**_members(file), **changed})


def _metadata(file: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads(_members(file)["metadata"].tobytes())
    return metadata


def test_everything_comes_back(tmp_path: Path, saved: Path) -> None:
    """Configuration, vocabulary, parameters, progress and training arrays are as they were saved."""
    trainer = make_trainer(tmp_path)
    for _ in range(3):
        trainer.update()
    expected, loaded = trainer.snapshot(), checkpoint.load(saved)
    assert loaded.config == expected.config
    np.testing.assert_array_equal(loaded.vocabulary.codes, expected.vocabulary.codes)
    assert loaded.vocabulary.units == expected.vocabulary.units
    np.testing.assert_array_equal(loaded.parameters.flat, expected.parameters.flat)
    assert loaded.corpus == expected.corpus
    # seconds are measured, all else must be equal
    for progress in (loaded.progress, expected.progress):
        for name in ("since_log", "since_validation", "total"):
            progress[name].pop("seconds")
    assert loaded.progress == expected.progress
    assert loaded.training.keys() == expected.training.keys()
    for name, array in loaded.training.items():
        np.testing.assert_array_equal(array, expected.training[name])
    textbook = loaded.config.replace({"run.kernel": "textbook"})
    assert dataclasses.replace(loaded, config=textbook).model.kernel == "textbook"


@pytest.mark.parametrize(
    ("values", "unknown"),
    [
        ({}, False),
        ({"corpus__min_count": 12}, True),
        ({"corpus__unit": "byte"}, False),
        ({"corpus__normalize": "nfd", "corpus__lowercase": True, "corpus__newlines": "lf"}, False),
    ],
)
def test_how_a_text_becomes_units_comes_back(tmp_path: Path, values: dict[str, Any], unknown: bool) -> None:
    """The vocabulary reads another text as the one of the training was read, `<unk>` included."""
    trainer = make_trainer(tmp_path, **values)
    checkpoint.save(tmp_path / "units.npz", trainer.snapshot())
    vocabulary = checkpoint.load(tmp_path / "units.npz").vocabulary
    assert vocabulary == trainer.corpus.vocabulary
    assert vocabulary.has_unknown is unknown


def test_the_file_is_plain(saved: Path) -> None:
    """NumPy alone opens a checkpoint without pickle: parameters by name, metadata as JSON."""
    members = _members(saved)
    assert members["parameters/layers.0.Wh"].shape == (4, 6, 6)
    metadata = _metadata(saved)
    assert metadata["format"] == checkpoint.FORMAT
    assert metadata["config"]["model"]["hidden"] == 6
    assert {"vocabulary", "corpus", "progress", "sha256", "charlm"} <= metadata.keys()


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    place = data.index(_members(file)["parameters/layers.0.Wh"].tobytes()) + 5
    data[place] ^= 1
    file.write_bytes(data)


def _flip_unseen_by_zip(file: Path) -> None:
    members = _members(file)
    members["parameters/layers.0.Wh"].flat[3] += 1e-3
    _rewrite(file, **members)


def _of_format(file: Path, version: int) -> None:
    metadata = _metadata(file) | {"format": version}
    _rewrite(file, metadata=np.frombuffer(json.dumps(metadata).encode(), np.uint8))


def _with_pickle(file: Path) -> None:
    _rewrite(file, extra=np.array([{"object": 1}], dtype=object))


def _without_metadata(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if name != "metadata.npy"}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in kept.items():
            archive.writestr(name, data)


def _array(file: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    file.write_bytes(stream.getvalue())


def _directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "not a charlm checkpoint, or is truncated"),
        (_flip, "damaged"),
        (_flip_unseen_by_zip, "damaged: its contents do not match"),
        (lambda file: _of_format(file, 999), "format 999"),
        (lambda file: _of_format(file, 0), "format 0; this charlm reads 1 to"),
        (_with_pickle, "extra is an array of an unsupported type"),
        (_without_metadata, "not a charlm checkpoint"),
        (_array, "not a charlm checkpoint"),
        (_directory, "is a directory"),
        (lambda file: file.write_bytes(b""), "not a charlm checkpoint"),
        (lambda file: file.write_text("hello"), "not a charlm checkpoint"),
        (lambda file: file.unlink(), "no such file"),
    ],
)
def test_what_is_not_a_whole_checkpoint_is_refused(saved: Path, damage: Any, message: str) -> None:
    """Damaged, foreign and missing files are a `CheckpointError` that names file and reason."""
    damage(saved)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(saved)
    assert saved.name in str(caught.value)


@pytest.mark.parametrize("shape", ["parameters", "configuration"])
def test_contents_that_disagree_are_refused(saved: Path, shape: str) -> None:
    """A parameter of another shape than the configuration asks for is refused, even if signed."""
    members = _members(saved)
    metadata = _metadata(saved)
    if shape == "parameters":
        members["parameters/layers.0.Wh"] = members["parameters/layers.0.Wh"][..., :-1]
    else:
        metadata["config"]["model"]["hidden"] = 7
    metadata.pop("sha256")
    members.pop("metadata")
    metadata["sha256"] = checkpoint._digest(metadata, members)
    members["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    np.savez(saved, **members)
    with pytest.raises(CheckpointError, match="of shape"):
        checkpoint.load(saved)


@pytest.mark.parametrize(("version", "losses"), [(1, [3.3366, 3.368, 3.3349]), (2, [3.3366, 3.368, 3.3349])])
def test_old_formats_stay_readable(tmp_path: Path, version: int, losses: list[float]) -> None:
    """A checkpoint of every format there has been loads, and its training goes on as it would have then."""
    assert version <= checkpoint.FORMAT
    old = checkpoint.load(ROOT / "tests" / "values" / f"format-{version}.npz")
    trainer = make_trainer(tmp_path, model__cell="gru", model__dropout=0.1, train__optimizer="adamw")
    trainer.restore(old, "the run")
    assert (old.format, trainer.tally.step) == (version, 5)
    assert [trainer.update().loss for _ in losses] == pytest.approx(losses, abs=1e-4)


@pytest.mark.parametrize("size", [100_001, 0x110000])
def test_any_vocabulary_is_kept(tmp_path: Path, size: int) -> None:
    """A vocabulary of any size, up to all of Unicode and with gaps in it, comes back as it was."""
    codes = [code for code in range(size) if code % 10_000 != 7 and not 0xD800 <= code < 0xE000]
    trainer = make_trainer(tmp_path, model__hidden=1, model__layers=1)
    vocabulary = Vocabulary(codes, Units())
    parameters = build_model(trainer.config.model, len(vocabulary)).initialise(
        np.random.default_rng(0), "uniform"
    )
    made = dataclasses.replace(trainer.snapshot(), vocabulary=vocabulary, parameters=parameters, training={})
    checkpoint.save(tmp_path / "large.npz", made)
    assert checkpoint.load(tmp_path / "large.npz").vocabulary == vocabulary


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([97, 256], "byte"),
        ([[97, 256]], "byte"),
        ([0x110000], "char"),
        ([-1], "char"),
        ([97, 97], "char"),
        ([[98, 97]], "char"),
        ([[97, 99], 99], "char"),
        ([True], "char"),
        ([97.0], "char"),
        ({"a": 97}, "char"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(values: Any, unit: str) -> None:
    """Codes are whole numbers in ascending order, none of them beyond its unit."""
    with pytest.raises(CheckpointError, match="holds a vocabulary that is not one"):
        checkpoint.unlisted(values, unit)
    assert list(checkpoint.unlisted([[0, 254], 255], unit)) == list(range(256))


def test_migrated_metadata_is_checked_as_it_was_written(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of an old file is that of its own metadata, whatever a migration makes of it."""
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)

    def migrate(metadata: dict[str, Any]) -> dict[str, Any]:
        metadata["progress"]["step"] += 1000
        return metadata

    monkeypatch.setitem(checkpoint._MIGRATIONS, checkpoint.FORMAT - 1, migrate)
    assert checkpoint.load(saved).progress["step"] == 1003
    _flip_unseen_by_zip(saved)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(saved)


def test_there_is_a_file_of_every_format() -> None:
    """The files of old formats are kept, none is missing, and each but the newest has its migration."""
    kept = sorted(file.name for file in (ROOT / "tests" / "values").glob("format-*.npz"))
    assert kept == [f"format-{version}.npz" for version in range(1, checkpoint.FORMAT + 1)]
    assert set(checkpoint._MIGRATIONS) == set(range(1, checkpoint.FORMAT))


def test_a_reduced_learning_rate_outlives_its_format() -> None:
    """What format 2 calls otherwise, the sums of losses and the plateau's factor, keeps its values."""
    names = ("since_log", "since_validation", "total")
    means = {name: {"nats": float(number)} for number, name in enumerate(names)}
    plateau = {"best": 2.0, "waited": 1, "share": 0.25}
    migrated = checkpoint._MIGRATIONS[2]({"progress": {**means, "plateau": plateau}})["progress"]
    assert [migrated[name] for name in names] == [{"loss_sum": 0.0}, {"loss_sum": 1.0}, {"loss_sum": 2.0}]
    assert migrated["plateau"] == {"best": 2.0, "waited": 1, "factor": 0.25}


@pytest.mark.parametrize(
    ("split", "separate", "train", "best_of"),
    [
        ((0.7, 0.2, 0.1), {}, 7, "validation"),
        ((0.8, 0.1, 0.1), {}, 8, "training"),  # one unit: there is nothing to predict
        ((0.7, 0.2, 0.1), {"corpus.test": "other.txt"}, 8, "validation"),
        ((0.9, 0.1, 0.0), {"corpus.validation": "other.txt"}, 10, "validation"),
    ],
)
def test_what_older_versions_did_not_record_follows_from_the_split(
    split: tuple[float, float, float], separate: dict[str, str], train: int, best_of: str
) -> None:
    """The size of the training split, and whether the validation split of a text of 10 can be scored."""
    corpus: dict[str, Any] = {"digest": "", "characters": 10}
    progress = {name: value for name, value in checkpoint.NOT_TRAINED.items() if name != "best_of"}
    checkpoint.complete(corpus, progress, Config().replace({"corpus.split": split, **separate}))
    assert (corpus["train"], progress["best_of"]) == (train, best_of)
