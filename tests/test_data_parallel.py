"""One update divided over workers: whoever computes the shards, the bits are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import TEXT, Run, contents, make_trainer

from charlm.arrays import Array
from charlm.system.team import Team
from charlm.training.data_parallel import additions, left_to_add, reduce_shards


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
    one, two, four = (contents(tmp_path / str(workers)) for workers in (1, 2, 4))
    assert one == two == four
    assert len(one["log"]) > 6


def test_shards_are_summed_as_a_tree() -> None:
    """The sum of a span is that of neighbours, then of their sums, in float32 to the bit."""
    grads = _gradients(7)
    a, b, c, d, e, f, g = (shard[100:900].copy() for shard in grads)
    untouched = grads[0][:100].copy()
    total = reduce_shards(grads, slice(100, 900), additions(7))
    np.testing.assert_array_equal(total, ((a + b) + (c + d)) + ((e + f) + g))
    assert np.shares_memory(total, grads[0])
    np.testing.assert_array_equal(grads[0][:100], untouched)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("shards", [1, 2, 3, 4, 6, 8, 12, 13])
def test_sums_of_ranks_are_parts_of_the_tree(shards: int, ranks: int) -> None:
    """What each rank adds before the others is a part of the one order; the rest needs what is left only."""
    whole = _gradients(shards)
    everything = slice(0, whole[0].size)
    expected = reduce_shards(whole, everything, additions(shards)).copy()
    divided, left, done = _gradients(shards), [], set()
    for own in Team(size=ranks).divide(shards):
        reduce_shards(divided, everything, additions(shards, own))
        done |= {*additions(shards, own)}
        left += left_to_add(shards, own)
    for shard in {*range(shards)} - {*left}:
        divided[shard][...] = np.nan  # nobody has sent it
    rest = [pair for pair in additions(shards) if pair not in done]
    np.testing.assert_array_equal(reduce_shards(divided, everything, rest), expected)
    if shards % ranks == 0 and shards // ranks in (1, 2, 4, 8):
        assert len(left) == ranks


def _gradients(shards: int) -> list[Array]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(1000).astype(np.float32) for _ in range(shards)]


@pytest.mark.parametrize("mask", ["window", "step"])
def test_every_mask_is_drawn_by_itself(mask: str, tmp_path: Path) -> None:
    """No layer has the masks of another, of its units or of its weights, and no window those of another."""
    trainer = make_trainer(
        tmp_path, model__layers=3, model__dropout=0.5, model__dropout_mask=mask, model__weight_drop=0.5
    )
    drawn = []
    for _ in range(2):
        trainer.update()
        drawn += [noise.tobytes() for noise in trainer.data_parallel._noise.values()]
    assert len(set(drawn)) == len(drawn) == 2 * (3 + 3)


def test_the_norm_is_clipped_after_the_values(tmp_path: Path) -> None:
    """Where both limits apply, the update of all shards together is exactly as long as the norm's."""
    values = {"dtype": np.float64, "train__optimizer": "sgd", "train__shards": 2}
    trainer = make_trainer(tmp_path, train__clip_value=0.01, train__clip_norm=0.02, **values)
    before = trainer.parameters.flat.copy()
    unclipped = make_trainer(tmp_path, train__clip_value=0.0, train__clip_norm=0.0, **values).update()
    update = trainer.update()
    assert np.linalg.norm(trainer.parameters.flat - before) == pytest.approx(0.02 * update.lr)
    assert update.norm == unclipped.norm > 0.02
