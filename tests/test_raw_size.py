from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_reader import NASTY, files
from test_units import texts

from charlm.data import sources
from charlm.data.corpus import SPLITS, Corpus, read_corpus
from charlm.data.raw_size import RawSize, scored_raw_size
from charlm.data.reader import TextPipeline
from charlm.data.units import Units

ALL_UNITS = [
    Units(),
    Units("char", newlines="lf"),
    Units("char", "nfc"),
    Units("char", "nfd", newlines="lf"),
    Units("char", "nfkc", True),
    Units("char", "nfkd", True, "lf"),
    Units("byte"),
    Units("byte", newlines="lf"),
]
LF_UNITS = [units for units in ALL_UNITS if units.newlines == "lf"]
BLOCKS = (1, 3, 8, 1 << 20)
shares = st.tuples(*[st.integers(0, 10)] * 3).filter(any)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for files that every example overwrites."""
    return tmp_path_factory.mktemp("texts")


def count(text: str | bytes) -> RawSize:
    """Count characters and bytes, one after the other; a byte that continues one is no character."""
    if isinstance(text, bytes):
        return RawSize(sum(not 0x80 <= byte < 0xC0 for byte in text), len(text))
    return RawSize(len(text), len(text.encode()))


def offset_of(text: str | bytes, edge: int, units: Units) -> int:
    """Return how many characters make `edge` units, with following ones that add none."""
    made = [len(units.codes(text[:offset])) for offset in range(len(text) + 1)]
    found = next((offset for offset, number in enumerate(made) if number >= edge), len(text))
    while found < len(text) and made[found + 1] <= made[found]:
        found += 1
    return found


def scored(
    corpus: Corpus, directory: Path, pipeline: TextPipeline, split: str | None, block: int = 1 << 20
) -> RawSize:
    """Return what is scored of the files in the directory, read in such blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK", block)
        return scored_raw_size(corpus, sources.find([str(directory)]), pipeline, split)


@pytest.mark.parametrize(
    ("text", "characters", "size"),
    [("", 0, 0), ("aé가😀", 4, 10), ("e\u0301\r\n", 4, 5), ("\udce9", 1, 3)],
)
def test_a_text_is_counted(text: str, characters: int, size: int) -> None:
    """A character is a code point, its bytes those of UTF-8."""
    assert RawSize.of(text) == RawSize(characters, size)
    assert RawSize.of(text.encode("utf-8", "surrogatepass")) == RawSize(characters, size)


@given(units=st.sampled_from(ALL_UNITS), text=texts, split=shares, block=st.sampled_from(BLOCKS))
@example(units=Units("char", "nfd", newlines="lf"), text=NASTY, split=(3, 3, 4), block=8)
@example(units=Units("char", "nfc"), text=NASTY, split=(3, 3, 4), block=8)
@example(units=Units("char", "nfkd", True, "lf"), text="xe\u0301", split=(1, 0, 0), block=1 << 20)
@example(units=Units("byte", newlines="lf"), text="ab\r\ncd\r\n", split=(1, 1, 1), block=1)
@settings(max_examples=4 * settings().max_examples)
def test_parts_are_counted_as_they_stood_in_the_file(
    directory: Path, units: Units, text: str, split: tuple[int, int, int], block: int
) -> None:
    """What is scored of a part is the text between its edges but for its first unit, however it is read.

    So the whole is what is scored of the parts, and the first units of all but the first part.
    """
    text = "ab" + text
    (source,) = files(directory, text.encode())
    pipeline = TextPipeline(units)
    corpus = read_corpus([source], pipeline, [share / sum(split) for share in split])
    original = text.encode() if units.is_byte else text

    def between(start: int, stop: int) -> RawSize:
        return count(original[offset_of(original, start, units) : offset_of(original, stop, units)])

    whole = scored(corpus, directory, pipeline, None, block)
    assert whole == between(1, len(corpus.ids)) == count(original[offset_of(original, 1, units) :])
    total = RawSize(0, 0)
    for name in SPLITS:
        start, stop = corpus.edges(name)
        part = scored(corpus, directory, pipeline, name, block)
        assert part == between(start + 1, stop), name
        total += part
        if 0 < start < stop:
            total += between(start, start + 1)
    assert total == whole


def test_separators_and_unknown_characters_count_and_marks_do_not(tmp_path: Path) -> None:
    """What is scored is counted: separators, what became `<unk>`; not the marks that were left out."""
    pipeline = TextPipeline(separator="--", min_count=3)
    found = files(tmp_path, "\ufeffaaa가".encode(), "éaaa".encode())
    corpus = read_corpus(found, pipeline, (1.0, 0.0, 0.0))
    assert corpus.vocabulary.codes.tolist() == [ord("a")]
    assert scored_raw_size(corpus, found, pipeline, None) == RawSize(9, 12)
    # a file in another encoding is counted as its text would be in UTF-8; bytes as they are
    found = files(tmp_path, "가나다".encode("utf-16"))
    for units, size in ((Units(), 6), (Units("char", "nfc"), 6), (Units("byte"), 7)):
        pipeline = TextPipeline(units, encoding="utf-16")
        corpus = read_corpus(found, pipeline, (1.0, 0.0, 0.0))
        assert scored_raw_size(corpus, found, pipeline, None).size == size


@given(units=st.sampled_from(LF_UNITS), text=texts, split=shares, block=st.sampled_from(BLOCKS))
@example(units=Units(newlines="lf"), text="하나\r\n둘\n\n\r\n셋 넷\n다섯", split=(1, 1, 1), block=1)
@settings(max_examples=4 * settings().max_examples)
def test_lines_of_all_parts_are_the_whole(
    directory: Path, units: Units, text: str, split: tuple[int, int, int], block: int
) -> None:
    """Every line is counted in its own part with one line break, however it ended and is read."""
    text = "ab\n" + text
    (source,) = files(directory, text.encode())
    pipeline = TextPipeline(units, by_line=True)
    corpus = read_corpus([source], pipeline, [share / sum(split) for share in split])
    lines = [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line]
    counts = [count((line + "\n").encode() if units.is_byte else line + "\n") for line in lines]
    whole = scored(corpus, directory, pipeline, None, block)
    assert whole == sum(counts, RawSize(0, 0))
    total = RawSize(0, 0)
    for name in SPLITS:
        chosen = np.isin(corpus.whole.starts, corpus.part(name).starts)  # type: ignore[union-attr]
        part = scored(corpus, directory, pipeline, name, block)
        assert part == sum((one for one, kept in zip(counts, chosen, strict=True) if kept), RawSize(0, 0)), (
            name
        )
        total += part
    assert total == whole


@pytest.mark.parametrize("by_line", [False, True])
@pytest.mark.parametrize("units", LF_UNITS, ids=str)
def test_texts_of_their_own_are_counted_by_themselves(tmp_path: Path, units: Units, by_line: bool) -> None:
    """What is scored of a separate text is all of it, and nothing of the other text; of a rest, its own."""
    pipeline = TextPipeline(units, by_line=by_line)
    text, own = NASTY.removeprefix("\ufeff"), "ab\r\n가e\u0301\ncd\r\n"
    main, other = files(tmp_path, (text + own).encode(), own.encode())
    whole = read_corpus([other], pipeline, (1.0, 0.0, 0.0))
    corpus = read_corpus([main], pipeline, (0.5, 0.2, 0.3), separate={"validation": [other]})
    plain = read_corpus([main], pipeline, (0.7, 0.0, 0.3))
    assert scored_raw_size(corpus, [other], pipeline, "validation") == scored_raw_size(
        whole, [other], pipeline, None
    )
    for name in ("train", "test", None):
        wanted = scored_raw_size(plain, [main], pipeline, name)
        assert scored_raw_size(corpus, [main], pipeline, name) == wanted
