from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_reader import ALL_UNITS, files, naive
from test_units import texts

from charlm.data import corpus as corpora
from charlm.data.cache import Cache
from charlm.data.corpus import SPLITS, Corpus
from charlm.data.reader import TextPipeline
from charlm.data.sources import Source
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.system.errors import ChangedError, CorpusError, VocabularyError

WHOLE = (1.0, 0.0, 0.0)


def read_corpus(
    path: Path, units: Units, split: Sequence[float], vocabulary: Vocabulary | None = None
) -> Corpus:
    """Read one file, without a cache."""
    return corpora.read_corpus([Source(str(path))], TextPipeline(units), split, vocabulary)


@st.composite
def thousandths(draw: st.DrawFn) -> tuple[int, int, int]:
    """Three shares, in thousandths."""
    train = draw(st.integers(1, 1000))
    validation = draw(st.integers(0, 1000 - train))
    return train, validation, 1000 - train - validation


def of(size: int, shares: tuple[int, int, int]) -> Corpus:
    """Return a corpus of `size` different ids, its shares given in thousandths."""
    train, validation, test = (share / 1000 for share in shares)
    return Corpus(np.arange(size), Vocabulary([0], Units()), (train, validation, test), "")


@given(size=st.integers(2, 3_000_000), shares=thousandths())
@example(size=1_115_394, shares=(900, 100, 0))  # Tiny Shakespeare, split as in the literature
@example(size=10, shares=(700, 100, 200))
@example(size=100, shares=(290, 290, 420))
def test_boundaries_are_the_shares_rounded_down(size: int, shares: tuple[int, int, int]) -> None:
    """A part ends at the whole text's share of it and those before, computed without rounding errors."""
    corpus = of(size, shares)
    first, second = size * shares[0] // 1000, size * (shares[0] + shares[1]) // 1000
    parts = [corpus.part(name).ids for name in SPLITS]
    assert [len(part) for part in parts] == [first, second - first, size - second]
    assert [int(part[0]) for part in parts if len(part)] == [
        start for start, stop in pairwise((0, first, second, size)) if start < stop
    ]


@pytest.mark.parametrize(
    ("size", "shares", "usable"),
    [
        (2, (1000, 0, 0), [True, False, False]),
        (4, (500, 500, 0), [True, True, False]),
        (4, (500, 250, 250), [True, False, False]),
        (3, (500, 0, 500), [False, False, True]),
        (1_115_394, (900, 100, 0), [True, True, False]),
        (1_115_394, (500, 0, 500), [True, False, True]),
    ],
)
def test_a_part_is_usable_from_two_units_on(
    size: int, shares: tuple[int, int, int], usable: list[bool]
) -> None:
    """A part of one unit has nothing to predict, one of two has."""
    assert [of(size, shares).usable(name) for name in SPLITS] == usable


@pytest.mark.parametrize("form", ["none", "nfc", "nfd"])
@pytest.mark.parametrize("contents", ["ab\r\ncd\r\n", "ab\n\n", "ab\ufeff\t", "ab\x00\x85\u2028\r"])
def test_a_text_is_read_unchanged(tmp_path: Path, form: str, contents: str) -> None:
    """Line ends, marks and controls are characters like others: CRLF stays CRLF. The digest is the file's."""
    path = tmp_path / "text.txt"
    path.write_bytes(contents.encode())
    corpus = read_corpus(path, Units("char", form), WHOLE)
    assert "".join(chr(code) for code in corpus.vocabulary.codes[corpus.ids]) == contents
    assert corpus.digest == hashlib.sha256(contents.encode()).hexdigest()


def test_the_vocabulary_covers_every_part(tmp_path: Path) -> None:
    """A character that only the last part holds is in the vocabulary all the same."""
    path = tmp_path / "text.txt"
    path.write_bytes(b"aaaaaaaabz")
    corpus = read_corpus(path, Units(), (0.8, 0.1, 0.1))
    assert corpus.vocabulary.codes.tolist() == [ord("a"), ord("b"), ord("z")]
    assert corpus.part("test").ids.tolist() == [2]
    assert corpus.split == (0.8, 0.1, 0.1)


@pytest.mark.parametrize(
    ("contents", "unit", "cause"),
    [
        (None, "char", " cannot be read: no such file or directory"),
        (b"", "char", " is empty"),
        (b"", "byte", " is empty"),
        ("가".encode(), "char",
         " holds one character; it takes at least two"),
        (b"a", "byte", " holds one byte; it takes at least two"),
        (b"ab\nc\xff", "char",
         " is not UTF-8: byte 4 (0xff, line 2); no usual encoding fits: use `corpus.encoding=NAME`, or "
         "`encoding=NAME` outside training, leave it out (a pattern such as 'books/*.txt' names only texts), "
         "or learn its bytes with `corpus.unit=byte`"),
    ],
    ids=["missing", "empty", "no bytes", "one character", "one byte", "not UTF-8"],
)  # fmt: skip
def test_an_unusable_file_is_refused(tmp_path: Path, contents: bytes | None, unit: str, cause: str) -> None:
    """A file that nothing can be learnt from, or predicted in, is an error that names it and the cause."""
    path = tmp_path / "text.txt"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(CorpusError) as caught:
        read_corpus(path, Units(unit), WHOLE)
    assert str(caught.value) == f"text {path}{cause}"
    if contents is not None:
        with pytest.raises(CorpusError) as caught:
            separately(tmp_path, {"train": b"ab\nab\n", "test": contents}, TextPipeline(Units(unit)))
        assert str(caught.value) == f"text {tmp_path / 'test'}{cause}"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for files that every example overwrites."""
    return tmp_path_factory.mktemp("texts")


@given(units=st.sampled_from(ALL_UNITS), contents=st.lists(texts, min_size=1, max_size=3))
@settings(max_examples=4 * settings().max_examples)
def test_texts_come_back_through_files_and_the_cache(
    directory: Path, units: Units, contents: list[str]
) -> None:
    """The ids of any files are those of their text: without a cache, stored in it, and loaded from it."""
    contents = ["ab" + text for text in contents]
    found = files(directory, *(text.encode() for text in contents))
    text, cache = naive(units, "\n".join(contents)), Cache(directory / "cache")
    read = [
        corpora.read_corpus(found, TextPipeline(units), WHOLE, cache=each) for each in (None, cache, cache)
    ]
    for corpus in read:
        assert corpus.vocabulary.codes[corpus.ids].tolist() == text
        assert corpus.vocabulary == Vocabulary(text, units)
        np.testing.assert_array_equal(corpus.ids, read[0].ids, strict=True)
        assert corpus.digest == read[0].digest


def test_a_second_reading_does_not_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached text is not decoded again, whatever its file is called; with other settings it is."""
    cache = Cache(tmp_path / "cache")
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_text("ΑΒΑ αβ\n")
    pipeline = TextPipeline(min_count=1)
    first = corpora.read_corpus([Source(str(one))], pipeline, WHOLE, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(TextPipeline, "codes", None)
        second = corpora.read_corpus([Source(str(other))], pipeline, (0.5, 0.5, 0.0), cache=cache)
    np.testing.assert_array_equal(first.ids, second.ids, strict=True)
    for rest in (
        {"min_count": 2},
        {"by_line": True},
        {"units": Units(lowercase=True)},
        {"units": Units("byte")},
    ):
        again = corpora.read_corpus([Source(str(one))], TextPipeline(**rest), WHOLE, cache=cache)  # type: ignore[arg-type]
        assert not np.array_equal(again.ids, first.ids), rest


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("unknown", [False, True])
def test_a_given_vocabulary_encodes_what_the_cache_has(tmp_path: Path, cached: bool, unknown: bool) -> None:
    """With a model's vocabulary, a cached text and a new one have the same ids: its own."""
    path = tmp_path / "text"
    path.write_text("cabbage" + "z" * unknown)
    cache = Cache(tmp_path / "cache") if cached else None
    vocabulary = Vocabulary(map(ord, "abcdefgh"), Units(), unknown)
    for _ in range(2):
        corpus = corpora.read_corpus([Source(str(path))], TextPipeline(), WHOLE, vocabulary, cache)
        assert corpus.vocabulary is vocabulary
        assert corpus.ids.tolist() == [2, 0, 1, 1, 0, 6, 4, *[8] * unknown]
        assert corpus.ids.dtype == np.uint8


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("contents", ["abcdxyx", "abxdc", "xyz"])
def test_rare_units_that_a_model_knows_are_known(tmp_path: Path, contents: str, cached: bool) -> None:
    """A unit of a given vocabulary is known, however rare it is in this text; otherwise it is `<unk>`."""
    path = tmp_path / "text"
    path.write_text(contents)
    cache = Cache(tmp_path / "cache") if cached else None
    vocabulary = Vocabulary(map(ord, "abcd"), Units(), has_unknown=True)
    for min_count in (2, 5):
        for _ in range(2):
            pipeline = TextPipeline(min_count=min_count)
            corpus = corpora.read_corpus([Source(str(path))], pipeline, WHOLE, vocabulary, cache)
            assert corpus.ids.tolist() == ["abcd".find(letter) % 5 for letter in contents]
    path.write_text("aabbbcd")
    corpus = corpora.read_corpus([Source(str(path))], TextPipeline(min_count=2), WHOLE, cache=cache)
    assert corpus.vocabulary == Vocabulary(map(ord, "ab"), Units(), has_unknown=True)
    assert corpus.ids.tolist() == [0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("contents", "by_line"), [("abcabc", False), ("ab\ncd\n", True), ("a\nb\nc\nd", True)]
)
def test_a_text_in_which_everything_is_rare_is_refused(tmp_path: Path, contents: str, by_line: bool) -> None:
    """Where nothing occurs often enough there is nothing to learn, cached or not."""
    path = tmp_path / "text"
    path.write_text(contents)
    pipeline = TextPipeline(Units(newlines="lf"), by_line=by_line, min_count=3)
    for _ in range(2):
        with pytest.raises(CorpusError) as caught:
            corpora.read_corpus([Source(str(path))], pipeline, WHOLE, cache=Cache(tmp_path / "cache"))
        assert str(caught.value) == f"text {path}: nothing occurs 3 times: lower corpus.min_count"
    if by_line:  # the line break is known however rare it is
        path.write_text("aaaaa")
        assert corpora.read_corpus([Source(str(path))], pipeline, WHOLE).ids.tolist() == [0, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("name", ["train", "test"])
@pytest.mark.parametrize(
    ("moment", "cached"), [("reading", False), ("reading", True), ("looking at", False), ("looking at", True)]
)
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, name: str, moment: str, cached: bool
) -> None:
    """A file of any text that is written to meanwhile is an error, also if it comes from the cache."""
    cache, contents = Cache(tmp_path / "cache") if cached else None, {"train": b"abcabc", "test": b"cbacba"}
    digest = separately(tmp_path, contents, cache=cache).digest
    if cache and moment == "reading":
        cache.clear()

    moments: list[str] = []

    def meddle(what: str, size: int) -> None:
        moments.append(what)
        if what == moment and moments.count(moment) == 2:  # both texts have been read
            (tmp_path / name).write_text("bacbac")
            os.utime(tmp_path / name, ns=(1, 1))

    expected = digest if moment == "looking at" else None
    with pytest.raises(CorpusError) as caught:
        separately(tmp_path, contents, cache=cache, progress=meddle, expected=expected)
    assert str(caught.value) == f"text {tmp_path / name} changed while it was being read"


def test_a_text_is_read_once(tmp_path: Path) -> None:
    """A new text is read once, with its digest; one that is cached is read only for its digest."""
    path, cache = tmp_path / "text", Cache(tmp_path / "cache")
    path.write_text("abcabc")
    for wanted in (["reading"], ["looking at"]):
        read: list[str] = []
        corpora.read_corpus(
            [Source(str(path))],
            TextPipeline(),
            WHOLE,
            None,
            cache,
            lambda what, size: read.append(what),  # noqa: B023
        )
        assert list(dict.fromkeys(read)) == wanted


def test_several_files_are_one_text(tmp_path: Path) -> None:
    """Files are joined in their order; messages give their number, or name the one."""
    found, pipeline = files(tmp_path, "\ufeffab".encode(), b"", b"cd"), TextPipeline(separator="|")
    corpus = corpora.read_corpus(found, pipeline, WHOLE)
    assert corpus.vocabulary.text(corpus.ids) == "ab||cd"
    assert corpus.warnings == (f"text {found[0].name} begins with a byte-order mark, which is removed",)
    with pytest.raises(VocabularyError, match=r"^the text of 3 files: .*'\|' \(U\+007C\) 2 times"):
        corpora.read_corpus(found, pipeline, WHOLE, Vocabulary(map(ord, "abcd"), Units()))
    lines = TextPipeline(Units(newlines="lf"), separator="", by_line=True)
    for contents, how, message in (
        ((b"a", b"c\xff"), pipeline, f"text {found[1].name} is not UTF-8: byte 1"),
        ((b"", b""), TextPipeline(separator=""), "the text of 2 files is empty"),
        ((b"\n", b"\r\n"), lines, "the text of 2 files contains no lines"),
    ):
        with pytest.raises(CorpusError) as caught:
            corpora.read_corpus(files(tmp_path, *contents), how, WHOLE)
        assert str(caught.value).startswith(message)


def separately(
    directory: Path,
    contents: dict[str, bytes],
    pipeline: TextPipeline | None = None,
    split: Sequence[float] = (0.5, 0.25, 0.25),
    **rest: Any,
) -> Corpus:
    """Read files of these contents: the text `train`, and the texts of other splits."""
    found = {}
    for name, data in contents.items():
        (directory / name).write_bytes(data)
        found[name] = [Source(str(directory / name))]
    train = found.pop("train")
    return corpora.read_corpus(train, pipeline or TextPipeline(), split, separate=found, **rest)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(
    ("names", "train", "validation", "test"),
    [
        ([], "abcdefgh", "ijkl", "mnop"),
        (["validation"], "abcdefghijkl", "cab", "mnop"),
        (["test"], "abcdefghijkl", "mnop", "dad"),
        (["validation", "test"], "abcdefghijklmnop", "cab", "dad"),
        (["test", "validation"], "abcdefghijklmnop", "cab", "dad"),
    ],
)
def test_a_split_may_be_a_text_of_its_own(
    tmp_path: Path, cached: bool, names: list[str], train: str, validation: str, test: str
) -> None:
    """Such a split is the whole of its text, and its fraction of the other text is trained on."""
    own = {"validation": b"cab", "test": b"dad"}
    contents = {"train": b"abcdefghijklmnop", **{name: own[name] for name in names}}
    cache = Cache(tmp_path / "cache") if cached else None
    for _ in range(2):
        corpus = separately(tmp_path, contents, cache=cache)
        parts = [corpus.vocabulary.text(corpus.part(name).ids) for name in SPLITS]
        assert parts == [train, validation, test]
        assert corpus.vocabulary.text(corpus.whole.ids) == "abcdefghijklmnop"
        assert len(corpus.vocabulary) == 16


def test_lines_may_be_validated_on_a_text_of_their_own(tmp_path: Path) -> None:
    """By line, such a split holds every line of its text, and the other lines are trained on or tested."""
    pipeline = TextPipeline(Units(newlines="lf"), by_line=True)
    lines = "".join(f"{number}\n" for number in range(100))
    plain = separately(tmp_path, {"train": lines.encode()}, pipeline)
    corpus = separately(tmp_path, {"train": lines.encode(), "validation": b"12\r\n\n3"}, pipeline)

    def shown(corpus: Corpus, name: str) -> list[str]:
        text = "".join(corpus.vocabulary.text(block) for block in corpus.part(name).blocks())
        return text.splitlines()

    assert shown(corpus, "validation") == ["12", "3"]
    assert shown(corpus, "test") == shown(plain, "test")
    assert sorted(shown(corpus, "train")) == sorted(shown(plain, "train") + shown(plain, "validation"))
    assert [len(corpus.part(name)) for name in SPLITS] == [75, 2, 25]


@pytest.mark.parametrize("cached", [False, True])
def test_lines_that_are_trained_on_too_are_counted(tmp_path: Path, cached: bool) -> None:
    """Whole lines of the validation and of the test split, wherever these come from; of streams none."""
    pipeline = TextPipeline(Units(newlines="lf"), by_line=True)
    contents = {"train": b"ada\nbo\nbo\ncy\n", "validation": b"da\nbo\nada\nbo\nad\n", "test": b"b\no\ny\n"}
    cache = Cache(tmp_path / "cache") if cached else None  # from which the ids are mapped into memory
    assert separately(tmp_path, contents, pipeline, cache=cache).repeated_lines() == {"validation": 3}
    assert separately(tmp_path, contents).repeated_lines() == {}
    one = {"train": b"ada\n" * 8}
    assert separately(tmp_path, one, pipeline, cache=cache).repeated_lines() == {"validation": 2, "test": 2}


@pytest.mark.parametrize("name", ["validation", "test"])
def test_what_only_a_separate_text_holds_is_unknown(tmp_path: Path, name: str) -> None:
    """It is an error that names it and the file, or `<unk>`; what is rare there but known keeps its id."""
    contents = {"train": b"aabbccd", name: b"abxc"}
    with pytest.raises(VocabularyError) as caught:
        separately(tmp_path, contents)
    assert str(caught.value) == (
        f"text {tmp_path / name}: characters that the model's vocabulary of 4 lacks: 'x' (U+0078) once"
    )
    corpus = separately(tmp_path, contents, TextPipeline(min_count=2))
    assert corpus.vocabulary == Vocabulary(map(ord, "abc"), Units(), has_unknown=True)
    assert corpus.part(name).ids.tolist() == [0, 1, 3, 2]


def test_the_digest_covers_texts_of_their_own(tmp_path: Path) -> None:
    """Other contents of any text, or the same for another split, have another digest, which is refused."""
    texts = [
        {"train": b"abab"},
        {"train": b"abab", "validation": b"ab"},
        {"train": b"abab", "validation": b"ba"},
        {"train": b"abba", "validation": b"ab"},
        {"train": b"abab", "test": b"ab"},
        {"train": b"abab", "test": b"ab", "validation": b"ba"},
        {"train": b"abab", "test": b"ba", "validation": b"ab"},
    ]
    digests = [separately(tmp_path, contents).digest for contents in texts]
    assert digests[0] == hashlib.sha256(b"abab").hexdigest()
    assert len(set(digests)) == len(texts)
    assert separately(tmp_path, dict(reversed(texts[5].items()))).digest == digests[5]
    for contents, digest in zip(texts, digests, strict=True):
        assert separately(tmp_path, contents, expected=digest).digest == digest
    # a text that has changed is said to have, even if it holds what is unknown now
    vocabulary = Vocabulary(map(ord, "ab"), Units())
    with pytest.raises(ChangedError) as caught:
        separately(tmp_path, {**texts[1], "validation": b"xyz"}, vocabulary=vocabulary, expected=digests[1])
    named = f"text {tmp_path / 'train'} or text {tmp_path / 'validation'}"
    assert str(caught.value) == f"{named} has changed since the model was trained on it"


def test_warnings_of_every_text_are_kept(tmp_path: Path) -> None:
    """A byte-order mark is mentioned for each file that begins with one."""
    mark = "\ufeff".encode()
    corpus = separately(tmp_path, {"train": mark + b"ab", "validation": b"ab", "test": mark + b"ba"})
    assert [warning.split(" begins")[0] for warning in corpus.warnings] == [
        f"text {tmp_path / 'train'}", f"text {tmp_path / 'test'}"
    ]  # fmt: skip
    both = [Source(str(tmp_path / name)) for name in ("validation", "test")]
    corpus = corpora.read_corpus(both, TextPipeline(), (1.0, 0.0, 0.0))
    assert corpus.warnings == (f"{both[1]} begins with a byte-order mark, which is removed",)
    corpus = corpora.read_corpus(both, TextPipeline(Units("byte")), (1.0, 0.0, 0.0))
    assert corpus.warnings == (), "of bytes it stays"
