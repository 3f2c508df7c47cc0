"""Signs: every character is seen, by itself, and changes nothing around it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.web.signs import standing_alone, without_effect


@pytest.mark.parametrize(
    ("character", "sign"),
    [
        ("a", "a"),
        (" ", " "),
        ("<", "<"),
        ("각", "각"),
        ("א", "א"),
        ("\n", "↵"),
        ("\t", "⇥"),
        ("\x1b", "␛"),
        ("\x7f", "␡"),
        ("\r", "␍"),
        ("\x85", "<U+0085>"),
        ("\u0301", "◌\u0301"),
        ("\u200d", "<U+200D>"),
        ("\u202e", "<U+202E>"),
        ("\u2028", "<U+2028>"),
        ("\ufeff", "<U+FEFF>"),
        ("\u3164", "<U+3164>"),
        ("\ue000", "<U+E000>"),
        ("\u0378", "<U+0378>"),
        ("\udcff", "<U+DCFF>"),
        ("\u1102", "ㄴ"),
        ("\u1161", "ㅏ"),
        ("\u11aa", "ㄳ"),
        ("\ua960", "\ua960"),
        ("\ud7cb", "◌\ud7cb"),
    ],
)
def test_signs(character: str, sign: str) -> None:
    """Blanks and letters stay; marks stand on a circle; jamo are letters; the rest has a picture or code."""
    assert standing_alone(character) == sign


def test_every_jamo_of_a_modern_syllable_is_a_letter() -> None:
    """All parts that Korean syllables are made of are shown as the letters that are taught."""
    modern = {*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}
    assert {0x3131 <= ord(standing_alone(chr(code))) <= 0x3163 for code in modern} == {True}


@given(st.characters())
def test_a_sign_has_no_effect(character: str) -> None:
    """No sign holds a control character, a change of direction, or a mark that stands on nothing."""
    sign = standing_alone(character)
    assert sign
    assert without_effect(character)
    for before, part in zip(["", *sign], sign, strict=False):
        kind = unicodedata.category(part)
        assert kind not in ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co")
        assert not kind.startswith("M") or before == "◌"
