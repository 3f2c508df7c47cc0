from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parent.parent / "data"
TALES = ["tales.txt", "tales-ko.txt"]

# A sentence ends in full stops and the like, with any quotes or brackets that close there, before a
# space or the end of the line. `"Is it?" said Hob.` goes on after the mark, with a small letter; in
# Korean, which has none, speech and the words around it count as sentences of their own.
END = re.compile(r"""(?<=[.!?…])["'”’)\]]*(?:\s+(?![a-z])|$)""")
SPEECH = re.compile(r'"([^"\n]*)"')
WORD = re.compile(r"\w+(?:['’-]\w+)*")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text as their words alone, in lower case."""
    pieces = (piece for line in text.split("\n") for piece in END.split(line))
    return [" ".join(WORD.findall(piece.lower())) for piece in pieces if WORD.search(piece)]


def spoken(text: str) -> list[str]:
    """Return the sentences of what is said in a text, without who says it."""
    return sentences("\n".join(SPEECH.findall(text)))


def repeated(items: list[str]) -> list[str]:
    """Return what stands more than once."""
    return [item for item, times in Counter(items).items() if times > 1]


def read(name: str) -> str:
    """Return a text of the data directory exactly as it stands."""
    return (DATA / name).read_bytes().decode("utf-8")


def test_texts_have_their_sizes() -> None:
    """The example of lectures is five letters, without a line end; tales are long enough to learn from."""
    assert (DATA / "hello.txt").read_bytes() == b"hello"
    assert (DATA / "tales.txt").stat().st_size >= 120_000
    assert (DATA / "tales-ko.txt").stat().st_size >= 30_000


def test_english_tales_are_plain_ascii() -> None:
    """The English text needs no more than printable ASCII and line ends, so its vocabulary is small."""
    odd = {character for character in read("tales.txt") if not " " <= character <= "~"}
    assert odd == {"\n"}


def test_korean_tales_are_korean_and_composed() -> None:
    """The Korean text is in NFC, most of its letters are whole syllables, and no jamo stands alone."""
    text = read("tales-ko.txt")
    assert unicodedata.is_normalized("NFC", text)
    letters = [character for character in text if character.isalpha()]
    assert sum("가" <= letter <= "힣" for letter in letters) > 0.99 * len(letters)
    assert not re.search("[\u1100-\u11ff\ufffd]", text)


@pytest.mark.parametrize("name", TALES)
def test_tales_are_clean(name: str) -> None:
    """Each line ends with a single line feed and no other white space, and no line is repeated."""
    text = read(name)
    assert repeated([line.strip() for line in text.split("\n") if line.strip()]) == []
    assert not re.search(r"[^\S\n ]|[^\S\n]$", text, re.MULTILINE)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize("found", [sentences, spoken])
@pytest.mark.parametrize("name", TALES)
def test_no_sentence_stands_twice(name: str, found: Callable[[str], list[str]]) -> None:
    """No sentence of more than three words occurs twice, told or said, whatever its punctuation."""
    assert repeated([sentence for sentence in found(read(name)) if sentence.count(" ") >= 3]) == []


@pytest.mark.parametrize(
    ("text", "told", "said"),
    [
        ("One day. It's two!  Three?", ["one day", "it's two", "three"], []),
        (
            '"Is it?" said Hob. "It is, I. Am."',
            ["is it said hob", "it is i", "am"],
            ["is it", "it is i", "am"],
        ),
        ("(So he did.) Then he went… Far.", ["so he did", "then he went", "far"], []),
        (
            '"종을 가지러 왔소." 박 서방이 말했다.\n"종?"',
            ["종을 가지러 왔소", "박 서방이 말했다", "종"],
            ["종을 가지러 왔소", "종"],
        ),
    ],
    ids=["marks", "speech", "brackets", "Korean"],
)
def test_sentences_are_told_apart(text: str, told: list[str], said: list[str]) -> None:
    """The splitters that the test above relies on find sentences in speech, in brackets and in Korean."""
    assert (sentences(text), spoken(text)) == (told, said)
