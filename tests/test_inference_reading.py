"""The text on which a network is looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXT, make_trainer

from charlm.config.build import build_corpus
from charlm.config.keys import CorpusConfig
from charlm.inference.reading import ReadText, held_out, read_text
from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import CorpusError

HALF = len(TEXT) // 2


def _text(read: ReadText) -> str:
    return "".join(chr(code) for code in read.corpus.vocabulary.codes[read.text.ids])


@pytest.mark.parametrize(
    ("split", "part", "text"),
    [
        ((0.5, 0.25, 0.25), "validation", TEXT[HALF : HALF + HALF // 2]),
        ((0.5, 0.0, 0.5), "test", TEXT[HALF:]),
        ((1.0, 0.0, 0.0), "train", TEXT),
    ],
)
def test_it_is_the_split_that_is_trained_on_least(tmp_path: Path, split: Any, part: str, text: str) -> None:
    """The validation split is taken, else the test split, else the training split, of either."""
    trainer = make_trainer(tmp_path, corpus__split=split)
    config = trainer.config.corpus
    for read in (held_out(build_corpus(config)[0], config), read_text(trainer.snapshot())):
        assert (read.split, _text(read)) == (part, text)
    assert read_text(trainer.snapshot(), split="train").split == "train", "unless one is named"


def _made(directory: Path) -> Checkpoint:
    return make_trainer(directory).snapshot()


def test_all_of_another_text_is_taken(tmp_path: Path) -> None:
    """Another text is read whole, in the vocabulary of the model."""
    made = _made(tmp_path)
    (tmp_path / "other.txt").write_text("a lazy fox")
    read = read_text(made, CorpusConfig(path=str(tmp_path / "other.txt")))
    assert (read.split, _text(read), read.corpus.vocabulary) == (None, "a lazy fox", made.vocabulary)
    assert read.paths == (str(tmp_path / "other.txt"),)


def test_a_split_of_its_own_has_its_own_files(tmp_path: Path) -> None:
    """Text, paths and sources are those of the separate text."""
    file = tmp_path / "other.txt"
    file.write_text("a lazy fox")
    read = read_text(_made(tmp_path), CorpusConfig(path=str(tmp_path / "text.txt"), test=str(file)), "test")
    assert (_text(read), read.paths) == ("a lazy fox", (str(file),))
    assert [source.name for source in read.sources] == [str(file)]


def test_a_text_that_changed_is_named_with_the_option_for_another(tmp_path: Path) -> None:
    """A text that is not the one of the training is refused, and so is one that is not there."""
    made = _made(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT[::-1])
    with pytest.raises(CorpusError, match=r"has changed .*; to use it as it is now, name it with `text`"):
        read_text(made, argument="text")
    gone = replace(made.config.corpus, path=str(tmp_path / "gone.txt"))
    made = replace(made, config=replace(made.config, corpus=gone))
    with pytest.raises(CorpusError, match=r"the model's own text: .*; `text` names another one"):
        read_text(made, argument="text")
