"""Memory that is known before it is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import make_model, make_trainer

from charlm.config.keys import Config, TrainConfig
from charlm.system.errors import ConfigError
from charlm.system.files import byte_size
from charlm.training import memory
from charlm.training.memory import Need, check_memory, needed


@pytest.mark.parametrize("shards", [1, 3])
def test_parameters_gradients_and_optimiser_by_count(shards: int) -> None:
    """One array of parameters, one of their mean, gradients for each shard, and the optimiser's slots."""
    model = make_model("gru after", layers=2)
    parameters = model.initialise(np.random.default_rng(0), "uniform").flat.nbytes
    adam, sgd, average = (
        TrainConfig(optimizer="adam"),
        TrainConfig(optimizer="sgd"),
        TrainConfig(optimizer="sgd", average=0.5),
    )
    assert needed(model, adam, 4, 7, shards).parameters == (1 + shards + 2) * parameters
    assert needed(model, sgd, 4, 7, shards, itemsize=8).parameters == 2 * (1 + shards) * parameters
    assert needed(model, average, 4, 7, shards).parameters == (2 + shards) * parameters
    three = TrainConfig(optimizer="adam", generations=3, join=True)
    assert needed(model, three, 4, 7, shards).parameters == (1 + shards + 2 + 9) * parameters
    assert needed(model, adam, shards, 7, 9) == needed(model, adam, shards, 7, shards), "one per stream"


def test_a_trainer_needs_what_it_was_configured_for(tmp_path: Path) -> None:
    """Its optimiser, batch, window, shards, type and running mean are counted."""
    values = {"train__optimizer": "sgd", "train__shards": 2, "train__average": 0.9}
    trainer = make_trainer(tmp_path, 1, np.float64, **values)
    streams = trainer.streams
    expected = needed(trainer.model, trainer.config.train, streams.batch, streams.seq_len, 2, 8)
    assert trainer.needed == expected


def test_a_trainer_that_does_not_fit_allocates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this machine does not have is refused before any array is made."""
    need = make_trainer(tmp_path).needed.total
    monkeypatch.setattr(memory, "machine_bytes", lambda: need)
    make_trainer(tmp_path)
    monkeypatch.setattr(memory, "machine_bytes", lambda: need - 1)
    monkeypatch.setattr("charlm.nn.model.Model.initialise", lambda *_: pytest.fail("allocated"))
    with pytest.raises(ConfigError, match="training needs about 1 MB of memory, and this machine has 1 MB"):
        make_trainer(tmp_path)


@pytest.mark.parametrize(
    ("need", "key"), [(Need(2, 1), r"model.hidden \(256\)"), (Need(1, 2), r"train.batch \(50\)")]
)
def test_the_larger_part_is_named(monkeypatch: pytest.MonkeyPatch, need: Need, key: str) -> None:
    """The advice is about what takes most of the memory; without a known limit there is none."""
    monkeypatch.setattr(memory, "machine_bytes", lambda: 2)
    with pytest.raises(ConfigError, match=key):
        check_memory(need, Config())
    monkeypatch.setattr(memory, "machine_bytes", lambda: None)
    check_memory(need, Config())


def test_sizes_are_for_people() -> None:
    """Megabytes are rounded up; larger units have a decimal."""
    assert [byte_size(n) for n in (1, 78_000_001, 10**9, 2_340_000_000, 16 * 10**12)] == [
        "1 MB",
        "79 MB",
        "1.0 GB",
        "2.3 GB",
        "16.0 TB",
    ]
