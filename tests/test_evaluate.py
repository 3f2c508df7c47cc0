"""What is said of a text that was scored: its units, bytes, characters, and what the model does not know."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import make_trainer

from charlm.data.raw_size import RawSize
from charlm.inference.evaluate import Evaluation, evaluate
from charlm.inference.score import Score, score


def test_bits_are_for_each_byte_and_for_each_character() -> None:
    """Bits of the whole score over the bytes in UTF-8, and over the characters, of the original text."""
    scored = Score(nll=60 * math.log(2), characters=30)
    of = Evaluation(scored, RawSize(characters=10, size=20), "test", (), None, None, 0, False, ())
    assert (of.bits_per_byte, of.bits_per_original_char) == pytest.approx((3, 6))
    figures = of.figures()
    assert (figures["bits_per_byte"], figures["bits_per_original_char"]) == pytest.approx((3, 6))
    assert (figures["bits_per_char"], figures["bytes"], figures["original_characters"]) == (2, 20, 10)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_what_is_unknown_is_counted(tmp_path: Path, split: str) -> None:
    """The units of the part that are read as `<unk>`, of those that are predicted; progress adds up."""
    trainer = make_trainer(tmp_path, corpus__min_count=12, corpus__split=(0.5, 0.5, 0.0))
    part, told = trainer.corpus.part(split), {"total": 0, "scoring": 0}
    saved = trainer.snapshot()

    def progress(what: str, size: int) -> None:
        if what in told:
            told[what] = told[what] + size if what == "scoring" else size

    found = evaluate(saved, split=split, progress=progress)
    assert found.unknown == np.count_nonzero(part.ids[1:] == trainer.corpus.vocabulary.unknown) > 0
    assert found.score.nll == pytest.approx(score(saved.model, saved.parameters, part).nll)
    assert told == {"total": part.targets, "scoring": part.targets}
    assert (found.split, found.raw.characters, found.units_are_characters) == (split, part.targets, True)
