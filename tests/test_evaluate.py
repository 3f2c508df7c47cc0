"""What is said of a text that was scored: its units, bytes, characters, and what the model does not know."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_trainer

from charlm.arrays import Array
from charlm.config.keys import CorpusConfig
from charlm.data.raw_size import RawSize
from charlm.data.texts import Text
from charlm.inference import dynamic
from charlm.inference.evaluate import Dynamic, Evaluation, adaptation, evaluate
from charlm.inference.score import Score, score
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.system.team import Team


def test_bits_are_for_each_byte_and_for_each_character() -> None:
    """Bits of the whole score over the bytes in UTF-8, and over the characters, of the original text."""
    scored = Score(nll=60 * math.log(2), characters=30)
    of = Evaluation(scored, RawSize(characters=10, size=20), "test", (), None, None, 0, False, ())
    assert (of.bits_per_byte, of.bits_per_original_char) == pytest.approx((3, 6))
    figures = of.figures()
    assert (figures["bits_per_byte"], figures["bits_per_original_char"]) == pytest.approx((3, 6))
    assert (figures["bits_per_char"], figures["bytes"], figures["original_characters"]) == (2, 20, 10)
    learned = Dynamic(Score(nll=30 * math.log(2), characters=30), dynamic.DEFAULT, None, 1.0)
    figures = replace(of, dynamic=learned).figures()
    names = ("bits_per_char", "bits_per_byte", "bits_per_original_char")
    assert [figures[name] for name in names] == pytest.approx((1, 1.5, 3)), "what was asked for is dynamic"


def test_another_text_is_divided_as_training_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts are the shards of the run, whoever scores; files and what was noticed in them are told."""
    saved, parts = make_trainer(tmp_path, train__shards=3).snapshot(), []

    def scored(*arguments: Any) -> Score:
        parts.append(arguments[4].parts)
        return score(*arguments)

    monkeypatch.setattr("charlm.inference.evaluate.score", scored)
    other = tmp_path / "other.txt"
    other.write_text("\ufeffa lazy fox", encoding="utf-8")
    found = evaluate(saved, CorpusConfig(str(tmp_path / "text.txt"), validation=str(other)), "validation")
    assert parts == [3]
    assert found.paths == (str(other),)
    assert found.warnings == (f"text {other} begins with a byte-order mark, which is removed",)


def test_gradients_are_those_of_the_training_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamic evaluation of another text measures none on what the model was not trained on."""
    trainer, measured = make_trainer(tmp_path), []

    def gradients(model: Model, params: Parameters, text: Text, team: Team) -> Array:
        measured.append(text.ids.tolist())
        return params.flat

    monkeypatch.setattr(dynamic, "rms_gradients", gradients)
    monkeypatch.setattr(dynamic, "choose", lambda *_: None)
    adaptation(trainer.snapshot(), own=False)
    assert measured == [trainer.corpus.part("train").ids.tolist()]


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
