from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import make_trainer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.arrays import Ids
from charlm.data import texts as lines_module
from charlm.data.texts import Lines, Text
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.inference import novelty
from charlm.inference.novelty import (
    Novelty,
    compare,
    known_lines,
    known_stretches,
    shown_pieces,
    stretches_of,
)

few = st.text("ab\n가\0😀", max_size=40)
unhurried = settings(deadline=None)  # other work may share the processor


@st.composite
def cut_texts(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A text, and the same in pieces that are cut anywhere, some of them empty."""
    text = draw(few)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return text, [text[start:stop] for start, stop in pairwise([0, *places, len(text)])]


@pytest.mark.parametrize("alike", [False, True], ids=["numbers", "all numbers alike"])
@given(cut=cut_texts(), made=few, length=st.integers(1, 5))
@example(cut=("", []), made="ab", length=1)
@example(cut=("abab", ["a", "b", "", "a", "b"]), made="bab", length=3)
@example(cut=("\0\0a", ["\0\0a"]), made="\0a", length=2)
@unhurried
def test_a_stretch_is_found_wherever_it_stands(
    alike: bool, cut: tuple[str, list[str]], made: str, length: int
) -> None:
    """Found is what a search of the whole text finds, across any cuts; numbers that agree prove nothing."""
    text, pieces = cut
    stretches = stretches_of(made, length)
    assert [made.find(one, place) for place, one in enumerate(stretches)] == list(range(len(stretches)))
    assert len(stretches) == max(0, len(made) - length + 1)
    wanted = set(stretches)
    with pytest.MonkeyPatch.context() as patch:
        if alike:
            patch.setattr(
                novelty, "_hashes", lambda text, length: np.zeros(max(0, len(text) - length + 1), np.uint64)
            )
        found = known_stretches(pieces, wanted, length)
    assert found == {stretch for stretch in wanted if stretch in text}


@given(text=st.text(max_size=60), made=st.text(max_size=30), piece=st.integers(1, 7))
@example(text="\U0010ffff\ud800a" * 8, made="\ud800a\U0010ffff", piece=2)
@unhurried
def test_any_characters_are_searched(text: str, made: str, piece: int) -> None:
    """Characters of every size are told apart, lone surrogates too."""
    text += made[: len(made) // 2]
    pieces = [text[place : place + piece] for place in range(0, len(text), piece)]
    wanted = set(stretches_of(made, 3))
    assert known_stretches(pieces, wanted, 3) == {stretch for stretch in wanted if stretch in text}


@given(cut=cut_texts(), made=few)
@example(cut=("ab\nba", ["a", "b\nb", "a"]), made="a\nab\nba")
@unhurried
def test_a_line_is_found_if_it_is_one_of_the_text(cut: tuple[str, list[str]], made: str) -> None:
    """Found are the lines that the text has as whole lines, wherever it is cut: part of one is not one."""
    text, pieces = cut
    lines = set(made.split("\n")) - {""}
    assert known_lines(pieces, lines) == lines & set(text.split("\n"))


def shown(text: Ids | Lines, vocabulary: Vocabulary, block: int) -> list[str]:
    """Return the pieces of a text that is looked at in such blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "_BLOCK", block)
        patch.setattr(lines_module, "_GROUP", block)
        return list(shown_pieces(Text(text) if isinstance(text, np.ndarray) else text, vocabulary))


@pytest.mark.parametrize("units", [Units(), Units("char", "nfd"), Units("byte")], ids=["char", "nfd", "byte"])
@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_a_text_is_shown_in_pieces(units: Units, block: int) -> None:
    """The pieces are the text, put together; they end with a line break where there is one in a block."""
    original = "각\n나é다\n\n\n라"
    codes = units.of_text(original)
    vocabulary = Vocabulary(codes, units)
    pieces = shown(vocabulary.encode(codes, "text"), vocabulary, block)
    if units == Units() or block == 100:
        assert "".join(pieces) == original
    if block == 100:
        assert pieces == ["각\n나é다\n\n\n", "라"]


@pytest.mark.parametrize("units", [Units(), Units("char", "nfd"), Units("byte")], ids=["char", "nfd", "byte"])
@pytest.mark.parametrize("block", [1, 2, 100])
def test_lines_are_shown_whole(units: Units, block: int) -> None:
    """Of lines, the pieces are whole lines, those of the part and no others."""
    codes = units.of_text("\n가나\né\nabc\n각각각\n")
    vocabulary = Vocabulary(codes, units)
    ids = vocabulary.encode(codes, "text")
    newline = vocabulary.line_break
    assert newline is not None
    every = Lines.of(ids)
    part = Lines(ids, every.starts[[0, 3]], every.lengths[[0, 3]])
    assert "".join(shown(every, vocabulary, block)) == "가나\né\nabc\n각각각\n"
    assert "".join(shown(part, vocabulary, block)) == "가나\n각각각\n"
    found = known_lines(shown(part, vocabulary, block), {"가나", "é", "abc", "각각각", "각각"})
    assert found == {"가나", "각각각"}


def test_every_line_counts(tmp_path: Path) -> None:
    """A line that was generated twice is two lines; one that was cut off is neither new nor known."""
    (tmp_path / "text.txt").write_text("ab\ncd\n" * 9)
    made = make_trainer(tmp_path, corpus__mode="lines", corpus__split=(1.0, 0.0, 0.0)).snapshot()
    assert compare(made, ["ab\n", "ab\n", "bd\n", "ab"]) == Novelty(count=3, known=2, cut_off=1)


def test_unknown_units_stand_for_no_character() -> None:
    """`<unk>` is shown as the replacement character, so that no stretch is found across it."""
    units = Units()
    vocabulary = Vocabulary(map(ord, "ab"), units, has_unknown=True)
    pieces = shown(vocabulary.encode(units.of_text("abxab"), "text"), vocabulary, 2)
    assert "".join(pieces) == "ab\ufffdab"
    assert known_stretches(pieces, {"abx", "bxa", "ab\ufffd"}, 3) == {"ab\ufffd"}


def test_only_the_training_split_is_searched(tmp_path: Path) -> None:
    """What stands in the validation or the test split, or across the edge of training, is new."""
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 200)))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    made = make_trainer(tmp_path, corpus__split=(0.5, 0.25, 0.25)).snapshot()
    assert compare(made, [text[60:140], text[150:170]]) == Novelty(count=61 + 1, known=21)
