"""One update divided over workers: whoever computes the shards, the bits are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TEXT, Run, make_trainer

from charlm.training.data_parallel import reduce_shards


def _without_times(value: Any) -> Any:
    """JSON without what is measured, and without the number of workers and the directory."""
    measured = ("seconds", "chars_per_s", "log_bytes", "threads", "dir", "sha256")
    if isinstance(value, dict):
        return {name: _without_times(item) for name, item in value.items() if name not in measured}
    return value


def _contents(run: Path) -> dict[str, Any]:
    """Both checkpoints and the log, to the last bit, times apart."""
    found: dict[str, Any] = {
        "log": [_without_times(json.loads(line)) for line in (run / "metrics.jsonl").read_text().splitlines()]
    }
    for name in ("best.npz", "last.npz"):
        with np.load(run / name, allow_pickle=False) as arrays:
            for key, array in arrays.items():
                value = array.tobytes()
                found[f"{name} {key}"] = _without_times(json.loads(value)) if key == "metadata" else value
    return found


def test_1_2_and_4_workers_end_in_equal_bytes(process: Run, tmp_path: Path) -> None:
    """With the same shards, any number of workers writes the same checkpoints and the same log."""
    (tmp_path / "text.txt").write_text(TEXT * 4)
    settings = {
        "model.cell": "gru",
        "model.hidden": 24,
        "model.dropout": 0.2,
        "model.weight_drop": 0.3,
        "train.average": 0.9,
        "train.reset_state": 0.1,
        "train.batch": 16,
        "train.seq_len": 8,
        "train.epochs": 2,
        "train.shards": 4,
        "run.sample_every": 0,
        "run.log_every": 3,
    }
    (tmp_path / "run.yaml").write_text("corpus:\n  path: text.txt\n")
    sets = [f"--set={key}={value}" for key, value in settings.items()]
    for workers in (1, 2, 4):
        process("train", "--config", "run.yaml", *sets, f"--set=run.threads={workers}", f"--out={workers}")
    one, two, four = (_contents(tmp_path / str(workers)) for workers in (1, 2, 4))
    assert one == two == four
    assert len(one["log"]) > 6


def test_shards_are_summed_in_their_order() -> None:
    """The sum of a span is that of the shards from the first to the last, in float32 to the bit."""
    rng = np.random.default_rng(0)
    grads = [rng.standard_normal(1000).astype(np.float32) for _ in range(4)]
    first, second, third, fourth = (shard[100:900].copy() for shard in grads)
    untouched = grads[0][:100].copy()
    total = reduce_shards(grads, slice(100, 900))
    np.testing.assert_array_equal(total, ((first + second) + third) + fourth)
    assert np.shares_memory(total, grads[0])
    np.testing.assert_array_equal(grads[0][:100], untouched)


def test_the_norm_is_clipped_after_the_values(tmp_path: Path) -> None:
    """Where both limits apply, the update of all shards together is exactly as long as the norm's."""
    trainer = make_trainer(
        tmp_path,
        dtype=np.float64,
        train__optimizer="sgd",
        train__clip_value=0.01,
        train__clip_norm=0.02,
        train__shards=2,
    )
    before = trainer.parameters.flat.copy()
    update = trainer.update()
    assert np.linalg.norm(trainer.parameters.flat - before) == pytest.approx(0.02 * update.lr)
    assert update.norm > 0.02
