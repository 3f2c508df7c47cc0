from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.data.units import Units
from charlm.data.vocabulary import Numbering, Vocabulary
from charlm.system.errors import VocabularyError

CHARACTERS = Units()
BYTES = Units("byte")

code_points = st.integers(0, 0x10FFFF)


def of(text: str) -> Vocabulary:
    """Return the vocabulary of the characters of a text."""
    return Vocabulary(CHARACTERS.of_text(text), CHARACTERS)


def complaint(vocabulary: Vocabulary, text: str) -> str:
    """Return the message with which the vocabulary refuses a text."""
    with pytest.raises(VocabularyError) as caught:
        vocabulary.encode(vocabulary.units.of_text(text), "--prime")
    return str(caught.value)


@given(codes=st.one_of(st.lists(code_points), st.binary()), data=st.data())
def test_encoding_is_inverted_by_the_codes(codes: list[int] | bytes, data: st.DataObject) -> None:
    """`codes[encode(x)]` is `x`, for any text; order and frequency of its codes do not matter."""
    units, kind = (BYTES, np.uint8) if isinstance(codes, bytes) else (CHARACTERS, np.uint32)
    text = np.array(list(codes), kind)
    vocabulary = Vocabulary(text, units)
    assert vocabulary.codes.tolist() == sorted(set(codes))
    np.testing.assert_array_equal(vocabulary.codes[vocabulary.encode(text, "text")], text)
    assert Vocabulary(data.draw(st.permutations([*codes, *codes[:3]])), units) == vocabulary


@pytest.mark.parametrize("has_unknown", [False, True])
@pytest.mark.parametrize(
    ("size", "kind"),
    [(1, np.uint8), (256, np.uint8), (257, np.uint16), (65_536, np.uint16), (65_537, np.uint32)],
)
def test_ids_are_of_the_smallest_type(size: int, kind: npt.DTypeLike, has_unknown: bool) -> None:
    """Ids count from 0 without gaps, `<unk>` last, in the smallest unsigned type that holds them all."""
    codes = np.arange(100, 100 + size, dtype=np.uint32)
    vocabulary = Vocabulary(codes[: size - has_unknown], CHARACTERS, has_unknown)
    assert (len(vocabulary), vocabulary.unknown) == (size, size - 1 if has_unknown else None)
    np.testing.assert_array_equal(vocabulary.encode(codes, "text"), np.arange(size, dtype=kind), strict=True)


@given(known=st.lists(code_points), codes=st.lists(code_points), small=st.booleans())
def test_unknown_codes_are_mapped(known: list[int], codes: list[int], small: bool) -> None:
    """With `<unk>` no text is refused: known codes have their ids, all others that of `<unk>`."""
    if small:  # bytes are looked up in another way
        known, codes = [code % 256 for code in known], [code % 256 for code in codes]
    codes += known[:3]
    vocabulary = Vocabulary(known, CHARACTERS, has_unknown=True)
    ids = vocabulary.encode(np.array(codes, np.uint8 if small else np.uint32), "text")
    indices = {code: index for index, code in enumerate(sorted(set(known)))}
    assert ids.tolist() == [indices.get(code, len(indices)) for code in codes]
    shown = "".join(chr(code) if code in indices else "\ufffd" for code in codes)
    assert vocabulary.text(ids) == shown


def test_only_a_vocabulary_with_the_unknown_unit_equals_one() -> None:
    """Whether there is `<unk>` is part of what a vocabulary is."""
    assert Vocabulary([1, 2], CHARACTERS) == Vocabulary([2, 1, 2], CHARACTERS)
    assert Vocabulary([1, 2], CHARACTERS) != Vocabulary([1, 2], CHARACTERS, has_unknown=True)
    assert Vocabulary([1, 2], CHARACTERS) != Vocabulary([1, 2], BYTES)
    assert Vocabulary([1], CHARACTERS).unknown is None


@given(text=st.lists(code_points, min_size=1), more=st.lists(code_points), unknown=st.booleans())
def test_recoding_is_encoding_again(text: list[int], more: list[int], unknown: bool) -> None:
    """Ids of another vocabulary become those that the text itself would have, or the same refusal."""
    codes = np.array(text, np.uint32)
    own = Vocabulary(codes, CHARACTERS)
    for known in (text + more, more):
        other = Vocabulary(known, CHARACTERS, unknown)
        if unknown or set(text) <= set(known):
            recoded = other.recode(own.encode(codes, "text"), own.codes, "text")
            np.testing.assert_array_equal(recoded, other.encode(codes, "text"), strict=True)
            continue
        with pytest.raises(VocabularyError) as caught:
            other.recode(own.encode(codes, "text"), own.codes, "text")
        with pytest.raises(VocabularyError) as wanted:
            other.encode(codes, "text")
        assert str(caught.value) == str(wanted.value)


@given(pieces=st.lists(st.one_of(st.binary(), st.lists(code_points, max_size=20))))
@example(pieces=[bytes(range(255)), b"\xff", [255, 256], b"a", [0x10FFFF], []])
def test_codes_are_numbered_piece_by_piece(pieces: list[bytes | list[int]]) -> None:
    """Pieces of bytes and of wider codes, in any order, have the numbers and the counts of the whole text."""
    whole = [code for piece in pieces for code in piece]
    numbering = Numbering()
    numbers = [
        numbering.add(np.array(list(piece), np.uint8 if isinstance(piece, bytes) else np.uint32))
        for piece in pieces
    ]
    codes = numbering.codes.tolist()
    assert [codes[number] for piece in numbers for number in piece.tolist()] == whole
    assert dict(zip(codes, numbering.counts.tolist(), strict=True)) == Counter(whole)


@pytest.mark.parametrize(
    ("text", "index"), [("\nab", 0), ("\tab\n", 1), ("abc", None), ("\t", None), ("", None)]
)
def test_the_line_break_is_found(text: str, index: int | None) -> None:
    """The id of the line break is known, and that there is none."""
    assert Vocabulary(map(ord, text), CHARACTERS).line_break == index


@pytest.mark.parametrize(
    ("known", "text", "named"),
    [
        ("ac", "abc", "'b' (U+0062) once"),
        ("bc", "abc", "'a' (U+0061) once"),
        ("ab", "abc", "'c' (U+0063) once"),
        ("ab", "a가b가", "'가' (U+AC00) 2 times"),
        ("ab", "\U0010ffff", r"'\U0010ffff' (U+10FFFF) once"),
        ("abz", "xéxyx\udce9é", r"'x' (U+0078) 3 times, 'é' (U+00E9) 2 times, "
         r"'y' (U+0079) once, '\udce9' (U+DCE9) once"),
    ],
    ids=["between", "below", "just beyond", "far beyond", "last of all", "several"],
)  # fmt: skip
def test_unknown_characters_are_named(known: str, text: str, named: str) -> None:
    """The error says where, which characters or bytes are unknown, and how often each occurs, most first."""
    size = len(set(known))
    assert complaint(of(known), text) == (
        f"--prime: characters that the model's vocabulary of {size} lacks: {named}"
    )
    assert complaint(Vocabulary(b"abc", BYTES), "aé\udce9") == (
        "--prime: bytes that the model's vocabulary of 3 lacks: "
        "byte 0xa9 once, byte 0xc3 once, byte 0xe9 once"
    )


@pytest.mark.parametrize(("kinds", "more"), [(10, ""), (11, ", and 1 more"), (26, ", and 16 more")])
def test_only_ten_unknown_characters_are_named(kinds: int, more: str) -> None:
    """The ten most frequent unknown characters are named, and the others counted."""
    letters = "abcdefghijklmnopqrstuvwxyz"[:kinds]
    # the last letters occur most often, so that the first are the ones not named
    text = "".join(letter * (index + 2) for index, letter in enumerate(letters))
    named = ", ".join(
        f"'{letter}' (U+{ord(letter):04X}) {text.count(letter)} times" for letter in letters[:-11:-1]
    )
    assert complaint(of("0123"), text) == (
        f"--prime: characters that the model's vocabulary of 4 lacks: {named}{more}"
    )


KOREAN = "각각 값을\n"
JAMO = unicodedata.normalize("NFD", KOREAN)


@pytest.mark.parametrize(
    ("units", "known", "text", "differs", "keys"),
    [
        (CHARACTERS, "a\nb", "a\r\nb\r", "line ends", "corpus.newlines=lf"),
        (BYTES, "a\nb", "a\r\nb\r", "line ends", "corpus.newlines=lf"),
        (CHARACTERS, "café", "cafe\u0301", "Unicode normal form", "corpus.normalize=nfc"),
        (CHARACTERS, KOREAN, JAMO, "Unicode normal form", "corpus.normalize=nfc"),
        (CHARACTERS, JAMO, KOREAN, "Unicode normal form", "corpus.normalize=nfd"),
        (CHARACTERS, "find it", "ﬁnd", "Unicode normal form", "corpus.normalize=nfkc"),
        (CHARACTERS, "é\n", "e\u0301\r\n", "line ends and Unicode normal form",
         "corpus.newlines=lf and corpus.normalize=nfc"),
        (Units("char", "nfd"), "é\n", "é\r\n", "line ends", "corpus.newlines=lf"),
        (CHARACTERS, KOREAN, "강", "", ""),
        (Units("char", "nfc"), "find it", "ﬁnd", "", ""),
        (CHARACTERS, "ab", "a\r\nb", "", ""),
        (CHARACTERS, "a\n", "a\r\nb", "", ""),
    ],
)  # fmt: skip
def test_the_way_out_is_named(units: Units, known: str, text: str, differs: str, keys: str) -> None:
    """Where only line ends or the normal form differ, the error names what to change; elsewhere nothing."""
    vocabulary = Vocabulary(units.of_text(known), units)
    advice = (
        f"; it differs only in {differs}: convert the text, or train a new model with {keys}" if keys else ""
    )
    message = complaint(vocabulary, text)
    assert message.endswith(advice)
    assert ("differs only" in message) == bool(keys)
    codes = units.of_text(text)
    own = Vocabulary(codes, units)
    with pytest.raises(VocabularyError) as caught:
        vocabulary.recode(own.encode(codes, "text"), own.codes, "--prime")
    assert str(caught.value) == message


def test_bytes_are_named_by_what_can_be_seen() -> None:
    """Characters of ASCII stand for themselves, all other bytes for their numbers."""
    names = Vocabulary([0x0A, 0x20, 0x7E, 0x7F, 0xE9], BYTES, has_unknown=True).names()
    assert names == ["0x0a", " ", "~", "0x7f", "0xe9", "<unk>"]


def test_the_way_out_is_for_the_whole_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text whose end holds what no setting makes known is not said to differ only in its line ends."""
    monkeypatch.setattr("charlm.data.vocabulary._BLOCK", 4)
    vocabulary = of("ab\n")
    assert "differs only in line ends" in complaint(vocabulary, "a\r\nb\r\nab")
    own = Vocabulary(CHARACTERS.of_text(text := "a\r\nb\r\nabc"), CHARACTERS)
    with pytest.raises(VocabularyError, match=r"'\\r' \(U\+000D\) 2 times, 'c' \(U\+0063\) once$"):
        vocabulary.recode(own.encode(CHARACTERS.of_text(text), "text"), own.codes, "text")
