"""Characters as readers see them, and the units that stand for them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.alignment import NOWHERE, aligned
from charlm.data.characters import code_points, is_space, limits
from charlm.data.units import Units

WHOLE = [
    "a",
    "\r\n",
    "e\u0301",
    "e\u0301\u0323",
    "한",
    "\u1112\u1161\u11ab",
    "\u1112\u1161",
    "\ud558\u11ab",
    "🇰🇷",
    "👍🏽",
    "👨\u200d👩\u200d👧\u200d👦",
    "❤\ufe0f",
    "🏴\U000e0067\U000e0062\U000e007f",
    "กำ",
    "क्षि",
    "क\u0323्\u0301ष",
    "👩\u200d↔",
    "\U000111c2a",
    " \u0301",
    "\u0600\u0661",
    "あ",
]
"""Characters of one or several code points."""


def _pieces(text: str) -> list[str]:
    return [text[start:stop] for start, stop in pairwise(limits(text).tolist())]


@pytest.mark.parametrize("character", WHOLE)
def test_a_character_is_whole(character: str) -> None:
    """No code point of it stands apart, alone, beside others, or twice."""
    assert _pieces(character) == [character]
    assert _pieces(f"x{character}y") == ["x", character, "y"]
    assert _pieces(f"{character}\n{character}") == [character, "\n", character]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("\n\r", ["\n", "\r"]),
        ("\n\u0301", ["\n", "\u0301"]),
        ("🇰🇷🇯🇵🇩", ["🇰🇷", "🇯🇵", "🇩"]),
        ("x🇰🇷🇯", ["x", "🇰🇷", "🇯"]),
        ("한국", ["한", "국"]),
        ("\u11ab\u1112", ["\u11ab", "\u1112"]),
        ("\ud558\u1161", ["\ud558\u1161"]),
        ("\ud55c\u1161", ["\ud55c", "\u1161"]),
        ("👍👍", ["👍", "👍"]),
        ("ab", ["a", "b"]),
        ("", []),
    ],
)
def test_characters_stand_apart(text: str, pieces: list[str]) -> None:
    """What does not belong together is divided."""
    assert _pieces(text) == pieces


@given(st.text())
def test_characters_are_the_text(text: str) -> None:
    """The pieces are the text, none is empty, and no mark begins one after a letter."""
    assert "".join(_pieces(text)) == text
    assert all(_pieces(text))


def test_white_space_is_that_of_unicode() -> None:
    """The property White_Space: not the separators that `str.isspace` also takes."""
    spaces = [chr(point) for point in range(0x3001) if is_space(code_points(chr(point)))[0]]
    assert set(spaces) == {c for c in map(chr, range(0x3001)) if c.isspace()} - set("\x1c\x1d\x1e\x1f")


UNITS = [
    Units(),
    Units(newlines="lf"),
    Units("byte"),
    Units("byte", newlines="lf"),
    *(Units(normalize=form) for form in ("nfc", "nfd", "nfkc", "nfkd")),
    Units(normalize="nfd", lowercase=True, newlines="lf"),
    Units(lowercase=True),
]


@pytest.mark.parametrize("units", UNITS, ids=str)
@given(st.lists(st.sampled_from([*WHOLE, "Σ", "ΑΣ", " ", "\r", "\n", "ǅ", "ﬁ", "İ", "\u0301"])))
def test_units_are_aligned(units: Units, parts: list[str]) -> None:
    """The codes are those of the whole text, and those between two limits are those of the characters."""
    text = "".join(parts)
    edges = limits(text)
    codes, places = aligned(units, text, edges)
    data = text.encode() if units.is_byte else text
    np.testing.assert_array_equal(codes, units.codes(data))
    assert (places[0], places[-1]) == (0, len(codes))
    kept = np.flatnonzero(places != NOWHERE)
    for one, other in pairwise(kept.tolist()):
        piece = text[edges[one] : edges[other]]
        alone = units.codes(piece.encode() if units.is_byte else piece)
        assert len(alone) == places[other] - places[one] > 0
        same = codes[places[one] : places[other]] == alone
        assert same.all() or set(np.append(codes[places[one] : places[other]][~same], 0)) <= {0, 0x3C2, 0x3C3}


def test_what_composes_across_characters_stays_together() -> None:
    """Where a normal form joins two characters there is no limit between them; others keep theirs."""
    text = "ab \u0e33c d"
    for form in ("nfkc", "nfc"):
        codes, places = aligned(Units(normalize=form), text, np.arange(len(text) + 1))
        assert places[-1] == len(codes)
    text = "x e\u0301y z"  # cut between the letter and its mark, as no reader would
    codes, places = aligned(Units(normalize="nfc"), text, np.arange(len(text) + 1))
    assert places.tolist() == [0, 1, 2, NOWHERE, 3, 4, 5, 6]
    assert len(codes) == 6
    # marks in another order than that of the normal form
    codes, places = aligned(Units(normalize="nfd"), "a\u0301\u0323 b", np.arange(6))
    assert places.tolist() == [0, 1, NOWHERE, 3, 4, 5]
    codes, places = aligned(Units(newlines="lf"), "a\r\nb", np.arange(5))
    assert places.tolist() == [0, 1, 1, 2, 3]
