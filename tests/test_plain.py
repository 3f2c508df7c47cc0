"""The trainer on one screen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ENVIRONMENT, FORMS, ROOT, TEXT

from charlm import plain
from charlm.arrays import Array, Ids
from charlm.config.build import build_pipeline
from charlm.config.reading import resolve
from charlm.data.corpus import read_corpus
from charlm.data.sources import Source
from charlm.training.job import Job
from charlm.training.trainer import Trainer

CLIP_NORMS = dict(zip(FORMS, (0.425, 0.26, 0.303, 0.301), strict=True))
"""About the median norm of the gradients, so that some are clipped and some are not."""


@pytest.mark.parametrize("form", FORMS)
def test_it_is_the_trainer_update_by_update(form: str, tmp_path: Path) -> None:
    """Over an epoch and into the next one, losses and parameters are those of `Trainer`, to 1e-10.

    What the network then expects after a text, drawn units included, is what the other one expects.
    """
    (tmp_path / "text.txt").write_text(TEXT[:700])
    name, _, reset = form.partition(" ")
    settings = {
        "corpus.path": str(tmp_path / "text.txt"),
        "corpus.split": (1.0, 0.0, 0.0),
        "model.cell": name,
        "model.gru_reset": reset or "after",
        "model.hidden": 9,
        "model.layers": 1,
        "train.batch": 6,
        "train.seq_len": 13,
        "train.lr": 0.01,
        "train.clip_norm": CLIP_NORMS[form],
        "train.shards": 1,
        "run.kernel": "textbook",
    }
    config = resolve(settings, name="plain", where="test")
    corpus = read_corpus(
        [Source(settings["corpus.path"])], build_pipeline(config.corpus), config.corpus.split
    )
    with Trainer(Job(config, corpus), dtype=np.float64) as trainer:
        names = {"Wy": "output.W", "by": "output.b"}
        cell, rng = trainer.model.cell, np.random.default_rng(np.random.SeedSequence(1, spawn_key=(0,)))
        params = plain.initial(cell, trainer.model.vocab, 9, rng, np.float64)
        losses = plain.train(cell, params, corpus.ids, B=6, T=13, lr=0.01, clip_norm=CLIP_NORMS[form])
        clipped = []
        for _ in range(trainer.steps_per_epoch + 3):
            update = trainer.update()
            assert next(losses) == pytest.approx(update.loss, abs=1e-10)
            clipped.append(update.clipped)
            for own, array in params.items():
                theirs = trainer.parameters[names.get(own, f"layers.0.{own}")]
                np.testing.assert_allclose(array, theirs, rtol=0, atol=1e-10, err_msg=own)
        assert 0 < sum(clipped) < len(clipped)
        drawer = _Drawer(corpus.ids[2:7])
        assert list(plain.sample(cell, params, corpus.ids[:2], 5, drawer)) == drawer.ids  # type: ignore[arg-type]
        step = trainer.model.decoder(trainer.parameters, trainer.model.zero_state(1, np.float64))
        expected = [plain.softmax(step(int(unit))) for unit in corpus.ids[:6]]
        np.testing.assert_allclose(drawer.seen, expected[1:], rtol=0, atol=1e-9)


class _Drawer:
    """Draws these ids, whatever is expected, and keeps that."""

    def __init__(self, ids: Ids) -> None:
        self.ids, self.seen = ids.tolist(), list[Array]()

    def choice(self, count: int, p: Array) -> int:
        """The next one."""
        self.seen.append(p)
        return int(self.ids[len(self.seen) - 1])


def test_it_trains_and_writes(tmp_path: Path) -> None:
    """The command prints falling losses, then text in the characters of the file."""
    (tmp_path / "text.txt").write_text(TEXT)
    done = subprocess.run(
        [sys.executable, "-m", "charlm.plain", "text.txt", "--cell", "rnn", "--updates", "51"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    first, last, *written = done.stdout.split("\n", 2)
    assert float(last.split()[2]) < float(first.split()[2]) - 0.5
    assert len(written[0]) == 302
    assert set(written[0]) <= set(TEXT) | {"\n"}


def test_it_fits_on_a_screen() -> None:
    """At most 150 lines, and nothing of charlm but the cells."""
    source = (ROOT / "charlm" / "plain.py").read_text()
    assert len(source.splitlines()) <= 150
    imported = [line.split()[1] for line in source.splitlines() if line.startswith("from charlm")]
    assert all(module.startswith("charlm.nn.cells") for module in imported)
