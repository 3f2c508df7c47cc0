from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.data.units import Units, Writer

CHARACTER_UNITS = [Units("char", form) for form in ("none", "nfc", "nfd", "nfkc", "nfkd")]
ALL_UNITS = [*CHARACTER_UNITS, Units("byte")]

# Characters that meet their neighbours: jamo (leading, vowel, trailing, old ones, for compatibility),
# whole syllables, marks of several classes, vowel signs that are starters and compose all the same
# (Tamil, Bengali, Burmese), composition exclusions, singletons, ligatures, halfwidth voice marks;
# letters whose small ones depend on what is around them, or are several; line breaks of two characters.
SOCIABLE = (
    "ᄀᄂ하ᅵᆨᇂ\u115f\u11a7ㄱㅏ가각힣"
    "aeo \n\u0300\u0301\u0307\u0323\u0327\u0345\u034f\u200d"
    "éṩǖ\u0b92\u0bd7\u0bc6\u0bbe\u09c7\u09be\u1025\u102e\u0958\u0f71\u0f72\u0f73\u0344"
    "\u212bﬁ½㍿\uf900\ufeff😀\U0001d157\U0001d165"
    "ﾊ\uff9e\uff9f\uffa1\uffc2\rΣσAİẞ.'\xadℌ㎒"
)
texts = st.text(st.one_of(st.sampled_from(SOCIABLE), st.characters(exclude_categories=["Cs"])))


def label(units: Units) -> str:
    """Name a parametrised case."""
    return units.unit if units.normalize == "none" else units.normalize


def pieces(units: Units, codes: Iterable[int]) -> Iterator[str]:
    """What a `Writer` shows after each code, and last what `finish` adds."""
    writer = Writer(units)
    for code in codes:
        yield writer.write(int(code))
    yield writer.finish()


def normal(units: Units, text: str) -> str:
    """Return the text as a reader should see it again: normalised, and composed."""
    if units.normalize == "none":
        return text
    form = {"nfc": "NFC", "nfd": "NFC", "nfkc": "NFKC", "nfkd": "NFKC"}[units.normalize]
    return unicodedata.normalize(form, text)  # type: ignore[arg-type]


@given(text=texts)
@pytest.mark.parametrize("units", ALL_UNITS, ids=label)
def test_a_file_and_a_text_give_the_same_codes(units: Units, text: str) -> None:
    """A prime is read exactly like the corpus: as code points of the normalised text, or as UTF-8."""
    codes = units.of_text(text)
    np.testing.assert_array_equal(codes, units.codes(text.encode() if units.is_byte else text))
    if units.unit == "byte":
        assert codes.tolist() == list(text.encode())
    else:
        form = units.normalize.upper()
        wanted = text if form == "NONE" else unicodedata.normalize(form, text)  # type: ignore[arg-type]
        assert codes.tolist() == [ord(character) for character in wanted]


@given(text=texts)
@example(text="각")
@example(text="\u0b92\u0bd7\u0bc6\u0bbe")
@example(text="o\u0327\u0301")  # the first mark stays apart, and the second composes past it
@pytest.mark.parametrize("units", ALL_UNITS, ids=label)
def test_written_codes_are_the_text_again(units: Units, text: str) -> None:
    """A text's codes, written one at a time and finished, are the text, normalised and composed."""
    assert "".join(pieces(units, units.of_text(text))) == normal(units, text)


@pytest.mark.parametrize(
    ("units", "text", "shown"),
    [
        (Units(), "é가\n", ["é", "가", "\n", ""]),
        (Units("char", "nfc"), "é가", ["é", "가", ""]),
        (Units("char", "nfkc"), "ﬁ", ["f", "i", ""]),
        (Units("byte"), "aé가", ["a", "", "é", "", "", "가", ""]),
        (Units("char", "nfd"), "각나a", ["", "", "", "각", "", "나", "a"]),
        (Units("char", "nfd"), "ab", ["", "a", "b"]),
        (Units("char", "nfkd"), "ézz", ["", "", "é", "z", "z"]),
    ],
    ids=["none", "nfc", "nfkc", "byte", "nfd syllables", "nfd letters", "nfkd"],
)
def test_text_is_shown_as_soon_as_it_is_certain(units: Units, text: str, shown: list[str]) -> None:
    """Only what a later code can still change is held back."""
    assert list(pieces(units, units.of_text(text))) == shown


EVERY_WAY = [
    Units(unit, form, lowercase, newlines)
    for unit in ("char", "byte")
    for form in (("none", "nfc", "nfd", "nfkc", "nfkd") if unit == "char" else ("none",))
    for lowercase in ((False, True) if unit == "char" else (False,))
    for newlines in ("keep", "lf")
]


@pytest.mark.parametrize("units", EVERY_WAY, ids=str)
@given(text=texts, after=texts)
@example(text="ab\r", after="\n")
@example(text="ΑΣ", after="Α")
@example(text="ΑΣ.", after="Α")
@example(text=" Σ", after="Α")
@example(text="하", after="\u11a8")
@example(text="ﾊ", after="\uff9e")
@example(text="aㄱㅏ", after="ㄴ")
def test_a_text_can_be_cut_where_it_is_said(units: Units, text: str, after: str) -> None:
    """Cut at that index, both pieces have the codes of the whole, whatever follows."""
    given, after_it = (text.encode(), after.encode()) if units.is_byte else (text, after)
    index = units.cut(given)
    assert 0 <= index <= len(given)
    pieces = np.concatenate([units.codes(given[:index]), units.codes(given[index:] + after_it)])  # type: ignore[operator]
    assert pieces.tolist() == units.codes(given + after_it).tolist()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("units", "text", "index"),
    [
        (Units(), "ab\r", 3),
        (Units(newlines="lf"), "ab\r", 2),
        (Units(newlines="lf"), "ab\r\n", 4),
        (Units("byte"), "a\r", 2),
        (Units("byte", newlines="lf"), "a\r", 1),
        (Units("byte", newlines="lf"), "a\r\n", 3),
        (Units("char", "nfc"), "ab c", 3),
        (Units("char", "nfc"), "ab\ne\u0301", 3),
        (Units("char", "nfkc"), " aㄱㅏ", 1),
        (Units("char", "nfc"), "\u0301\u0301", 0),
        (Units(lowercase=True), "A.Σ", 0),
        (Units(lowercase=True), "A Σ", 2),
        (Units("char", "nfc"), "", 0),
    ],
)
def test_a_text_is_cut_as_late_as_is_safe(units: Units, text: str, index: int) -> None:
    """Little is held back: a line break that may be half, a word that may go on."""
    assert units.cut(text.encode() if units.is_byte else text) == index


@given(codes=st.lists(st.sampled_from([*map(ord, SOCIABLE), *range(256)])))
@example(codes=[*b"a\xc3"])
@example(codes=[*b"\xea\xb0a\xf0\x9f\x98"])
@pytest.mark.parametrize("units", ALL_UNITS, ids=label)
def test_codes_shown_at_once_are_those_shown_one_by_one(units: Units, codes: list[int]) -> None:
    """The text of any codes is what a `Writer` makes of them; bytes that are not UTF-8 become U+FFFD."""
    if units.is_byte:
        codes = [code & 0xFF for code in codes]
        assert "".join(pieces(units, codes)) == bytes(codes).decode("utf-8", "replace")
    assert units.text(np.array(codes, np.uint32)) == "".join(pieces(units, codes))


def test_what_is_converted_does_not_tell_its_size() -> None:
    """Codes are those of the files unless something is converted; line ends of lines always are."""
    assert [Units().is_raw(by_line) for by_line in (False, True)] == [True, True]
    assert [Units(newlines="lf").is_raw(by_line) for by_line in (False, True)] == [False, True]
    for units in (Units(normalize="nfc"), Units(lowercase=True)):
        assert [units.is_raw(by_line) for by_line in (False, True)] == [False, False]


@pytest.mark.parametrize(
    ("form", "text", "small"),
    [
        *((form, "ABCÉ가ß ΟΔΟΣ ΣΑ İẞ\u212a", "abcé가ß οδος σα i\u0307ßk") for form in ("none", "nfc", "nfd")),
        *((form, "ℌH ㎒ MHZ ᴬA", "Hh MHz mhz Aa") for form in ("nfkc", "nfkd")),
    ],
)
def test_capital_letters_become_small(form: str, text: str, small: str) -> None:
    """Letters become small before normalisation: a capital letter that only the normal form makes stays."""
    units = Units("char", form, lowercase=True)
    assert units.text(units.of_text(text)) == normal(units, small)


@pytest.mark.parametrize("unit", ["char", "byte"])
def test_line_breaks_are_folded_or_kept(unit: str) -> None:
    """Every kind of line break becomes one, or none is touched; other separators never are."""
    text = "a\r\nb\rc\n\r\r\nd\x0b\x85\u2028"
    for newlines, wanted in (("keep", text), ("lf", "a\nb\nc\n\n\nd\x0b\x85\u2028")):
        units = Units(unit, newlines=newlines)
        assert units.text(units.of_text(text)) == wanted


@pytest.mark.parametrize(
    ("units", "code", "shown"),
    [
        (Units(), ord("é"), "'é' (U+00E9)"),
        (Units(), ord("가"), "'가' (U+AC00)"),
        (Units(), ord("\n"), r"'\n' (U+000A)"),
        (Units(), 0x200B, r"'\u200b' (U+200B)"),
        (Units(), 0x1F600, "'😀' (U+1F600)"),
        (Units(), int(Units("char", "nfc").of_text("\udce9")[0]), r"'\udce9' (U+DCE9)"),
        (Units("byte"), int(Units("byte").of_text("é\udcff")[2]), "byte 0xff"),
        (Units("byte"), 0xE9, "byte 0xe9"),
        (Units("byte"), 9, "byte 0x09"),
    ],
)
def test_a_message_shows_a_code_readably(units: Units, code: int, shown: str) -> None:
    """A character is shown with its number, in escapes if it would not be seen; a byte in hexadecimal.

    A byte that the command line could not decode is a lone surrogate, or the byte itself.
    """
    assert units.describe(code) == shown
