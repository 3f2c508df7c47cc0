from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_units import texts

from charlm.data import sources
from charlm.data.reader import TextPipeline, remarks
from charlm.data.sources import Source
from charlm.data.units import Units
from charlm.system.errors import CorpusError

ALL_UNITS = [
    *(
        Units("char", *rest)
        for rest in product(("none", "nfc", "nfd", "nfkc", "nfkd"), (False, True), ("keep", "lf"))
    ),
    Units("byte"),
    Units("byte", newlines="lf"),
]
BLOCKS = (1, 2, 3, 5, 7, 1 << 20)
"""Bytes that are read at a time."""

NASTY = (
    "ΑΣ\r\nΑΣ.Α 'Σ' Σ\u0301Σ\xadΑ\r\r\nİı\u0307ẞ하\u11a8각ᄀ\u1161\u11a8ﾊ\uff9e\uff9f\uffa1\uffc2"
    "e\u0323\u0301\u0f73\u0344\u0f71\u0f72ﬁ½㍿👩\u200d👧\ufe0f\ufeff\u0b92\u0bd7\u0bc6\u0bbe\U0001d157\U0001d165\n\r"
)


def label(units: Units) -> str:
    """Name a parametrised case."""
    letters = "small" if units.lowercase else "as they are"
    return f"{units.unit} {units.normalize} {letters} {units.newlines}"


class Blocks(Source):
    """A file that is read in these blocks."""

    def __init__(self, *blocks: bytes) -> None:
        super().__init__("text.txt")
        self.given = blocks

    def blocks(self, *_: object) -> Iterator[bytes]:
        """The blocks."""
        yield from filter(None, self.given)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for files that every example overwrites."""
    return tmp_path_factory.mktemp("texts")


def files(directory: Path, *contents: bytes) -> list[Source]:
    """Write contents into files."""
    paths = [directory / f"{number}.txt" for number in range(len(contents))]
    for path, data in zip(paths, contents, strict=True):
        path.write_bytes(data)
    return [Source(str(path)) for path in paths]


def read(pipeline: TextPipeline, found: list[Source], block: int = 1 << 20) -> list[int]:
    """Return the codes of a text that is read in such blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK", block)
        return [int(code) for codes in pipeline.codes(found) for code in codes]


def naive(units: Units, text: str) -> list[int]:
    """Return the codes of a text that is looked at as a whole."""
    if units.newlines == "lf":
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if units.is_byte:
        return list(text.encode())
    if units.lowercase:
        text = text.lower()
    if units.normalize != "none":
        text = unicodedata.normalize(units.normalize.upper(), text)  # type: ignore[arg-type]
    return [ord(character) for character in text]


def complaint(pipeline: TextPipeline, found: list[Source], block: int = 1 << 20) -> str:
    """Return the message with which a text is refused."""
    with pytest.raises(CorpusError) as caught:
        read(pipeline, found, block)
    return str(caught.value)


@given(units=st.sampled_from(ALL_UNITS), text=texts, block=st.sampled_from(BLOCKS))
@settings(max_examples=4 * settings().max_examples)
def test_pieces_of_any_size_make_the_same_text(directory: Path, units: Units, text: str, block: int) -> None:
    """However few bytes are read at a time, the codes are those of the whole text."""
    text = text.removeprefix("\ufeff")
    assert read(TextPipeline(units), files(directory, text.encode()), block) == naive(units, text)


@pytest.mark.parametrize("units", ALL_UNITS, ids=label)
def test_a_text_may_be_cut_anywhere(units: Units) -> None:
    """Wherever reading pauses once, also inside a character, nothing changes."""
    data = NASTY.encode()
    whole = naive(units, NASTY)
    for position in range(len(data) + 1):
        assert read(TextPipeline(units), [Blocks(data[:position], data[position:])]) == whole, position


@pytest.mark.parametrize("units", ALL_UNITS, ids=label)
def test_pieces_are_the_original_text_and_its_codes(units: Units, directory: Path) -> None:
    """The originals of the pieces are the whole file, cut at blanks at least; each has its own codes."""
    text = NASTY + "+-<>[]. --\n" * 9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK", 3)
        pieces = list(TextPipeline(units).pieces(files(directory, text.encode())))
    empty: str | bytes = b"" if units.is_byte else ""
    assert empty.join(piece.original for piece in pieces) == (text.encode() if units.is_byte else text)  # type: ignore[arg-type]
    assert all(0 < len(piece.original) < 80 for piece in pieces)
    assert [int(code) for piece in pieces for code in piece.codes] == naive(units, text)
    for piece in pieces:
        assert piece.codes.tolist() == units.codes(piece.original).tolist()


@pytest.mark.parametrize("separator", ["", "\n", "\u0301", "\r", "<|가|>", "Σ"])
@pytest.mark.parametrize("units", [Units(), Units("char", "nfc", True, "lf"), Units("byte")], ids=label)
def test_files_are_joined_by_the_separator(directory: Path, units: Units, separator: str) -> None:
    """Several files are one text, the separator between each two of them and nowhere else."""
    contents = ["Αe", "", "\nΣ\r", "\u0301가"]
    found = files(directory, *(text.encode() for text in contents))
    for block in BLOCKS:
        assert read(TextPipeline(units, separator=separator), found, block) == naive(
            units, separator.join(contents)
        )


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", NASTY),
        ("utf-16", "\n\r\n가각é😀Ā\u0a0a\u0d0a\n"),
        ("utf-16-le", "\n\r\n가각é😀Ā\u0a0a\u0d0a\n"),
        ("utf-16-be", "\n\r\n가각é😀Ā\u0a0a\u0d0a\n"),
        ("utf-32", "\n\r\n가각é😀Ā\n"),
        ("cp949", "가각\r\n똠방각하 abc\n"),
        ("shift_jis", "表示ソ\r\nｱｲｳ abc能\n"),
        ("iso2022_jp", "表示\nabc 能\n"),
        ("latin-1", "".join(map(chr, range(256)))),
        ("cp1252", "€“quoted”\r\nœé\n"),
        ("ascii", "abc\n"),
    ],
)
def test_every_encoding_is_read(directory: Path, encoding: str, text: str) -> None:
    """A text comes back from its encoding, characters of several bytes cut anywhere."""
    found = files(directory, text.encode(encoding), text.encode(encoding))
    for block in BLOCKS:
        assert read(TextPipeline(encoding=encoding, separator="|"), found, block) == naive(
            Units(), f"{text}|{text}"
        )


@pytest.mark.parametrize(
    ("encoding", "data", "byte", "value", "line"),
    [
        ("utf-8", b"\xff", 0, "0xff", 1),
        ("utf-8", b"ab\ncd\n\xe9t\xe9\n", 6, "0xe9", 3),
        ("utf-8", b"ab\r\ncd\r\n\x80", 8, "0x80", 3),
        ("utf-8", "é\n가\n".encode() + b"\xea\xb0", 7, "0xea", 3),
        ("utf-8", b"\n\n\xed\xa0\x80", 2, "0xed", 3),
        ("utf-8", b"\xc0\xaf", 0, "0xc0", 1),
        ("utf-8", b"\xef\xbb\xbf\n\xff", 4, "0xff", 2),
        ("utf-8", "가".encode()[:1], 0, "0xea", 1),
        ("utf-8", "😀\n".encode() + b"\xf0\x9f\x98\n", 5, "0xf0", 2),
        ("utf-16", b"\xff\xfe\n\0a\0\n\0\0\xdca\0", 8, "0x00", 3),
        ("utf-16", b"\xfe\xff\0\n\0a\0\n\xdc\0\0a", 8, "0xdc", 3),
        ("utf-16-le", b"\n\0a", 2, "0x61", 2),
        ("utf-32-le", b"\n\0\0\0\n\0\0\0\0\0\xff\0", 8, "0x00", 3),
        ("cp949", b"\xb0\xa1\n\xb0\xa1\xff\n", 5, "0xff", 2),
        ("shift_jis", b"\x83\x5c\n\n\xfd", 4, "0xfd", 3),
        ("ascii", b"a\n\x80", 2, "0x80", 2),
        ("cp1252", b"a\n\x81", 2, "0x81", 2),
    ],
    ids=[
        "first", "latin-1", "crlf", "cut off", "surrogate", "overlong", "after a mark", "half", "cut short",
        "utf-16 little", "utf-16 big", "half a unit", "utf-32", "cp949", "shift_jis", "ascii", "cp1252",
    ],
)  # fmt: skip
def test_a_file_of_another_encoding_is_refused(
    directory: Path, encoding: str, data: bytes, byte: int, value: str, line: int
) -> None:
    """The error names the file, the first wrong byte, its value and its line."""
    good, bad, rest = files(directory, "fine\n".encode(encoding), data, "가".encode()[1:])
    for block in BLOCKS:
        assert complaint(TextPipeline(encoding=encoding, separator=""), [good, bad, rest], block).startswith(
            f"text {bad.name} is not {encoding.upper()}: byte {byte} ({value}, line {line}); "
        )


LETTER = "나룻배가 강을 건너왔다. 사공은 말이 없었다.\n"


@pytest.mark.parametrize("role", ["text", "prime"])
@pytest.mark.parametrize(
    ("encoding", "data", "words"),
    [
        ("utf-8", LETTER.encode("cp949"),
         "it can be read as cp949 (나룻배가 강을 건너왔다. 사공은 말이 없었다): {cp949}, or convert it"),
        ("cp949", LETTER.encode(),
         "it can be read as utf-8 (나룻배가 강을 건너왔다. 사공은 말이 없었다): {utf-8}, or convert it"),
        ("ascii", "It cost £5 in all.\n".encode("cp1252"),
         "it can be read as cp1252 (It cost £5 in all.) or cp850 (It cost ú5 in all.) or cp1250 (It cost Ł5 "
         "in all.): {cp1252}, or convert it"),
        ("utf-8", LETTER.encode("utf-16"),
         "is UTF-16, not UTF-8, by its first bytes: {utf-16}, or convert it"),
        ("cp1252", LETTER.encode("utf-8-sig"),
         "is UTF-8, not CP1252, by its first bytes: {utf-8}, or convert it"),
        ("utf-16", "abcd\nefgh".encode("utf-16-le"),
         "is UTF-16-LE, not UTF-16, by its first bytes: {utf-16-le}, or convert it"),
        ("utf-16", "가나 나\n".encode("utf-16-le"),
         "is not UTF-16: UTF-16 stream does not start with BOM; it can be read as utf-16-le (가나 나): "
         "{utf-16-le}, or convert it"),
        ("utf-8", LETTER.encode()[:49], "iconv -c -f utf-8 -t utf-8 leaves out such bytes"),
        ("utf-8", b"\1\2\xff", "no usual encoding fits: {NAME}{otherwise}"),
        ("utf-8", b"%PDF-1.4\n", "is a PDF document, not plain text: extract its text{otherwise}"),
        ("latin-1", b"\xff\xd8\xff\xe0", "is a JPEG image, not plain text: extract its text{otherwise}"),
    ],
)  # fmt: skip
def test_a_refused_file_is_named_for_what_it_is(
    directory: Path, role: str, encoding: str, data: bytes, words: str
) -> None:
    """The error says what the file seems to be, and what can be typed to read it."""
    files(directory, data)
    source = Source(str(directory / "0.txt"), role)
    otherwise = (
        ", leave it out (a pattern such as 'books/*.txt' names only texts), or learn its bytes with "
        "`corpus.unit=byte`"
    )
    use = "use `corpus.encoding={0}`, or `encoding={0}` outside training"
    if role == "prime":
        otherwise, use = "", "use `encoding={0}`"
    for name in ("cp949", "utf-8", "cp1252", "utf-16", "utf-16-le", "NAME"):
        words = words.replace(f"{{{name}}}", use.format(name))
    message = complaint(TextPipeline(encoding=encoding), [source])
    assert message.startswith(f"{role} {directory / '0.txt'} is ")
    assert message.endswith(words.format(otherwise=otherwise))
    assert read(TextPipeline(Units("byte")), [source]) == list(data), "any file can be learned byte by byte"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_one_mark_is_left_out_at_the_start_of_each_file(directory: Path, encoding: str) -> None:
    """Of the byte-order marks only the first of a file is dropped: others are characters."""
    found = files(
        directory, *(text.encode(encoding) for text in ("\ufeffa\ufeff", "b\ufeff", "\ufeff\ufeffc"))
    )
    wanted = [ord(character) for character in "a\ufeff|b\ufeff|\ufeffc"]
    for block in BLOCKS:
        assert read(TextPipeline(encoding=encoding, separator="|"), found, block) == wanted
        bytewise = read(TextPipeline(Units("byte"), separator="|"), found[:1], block)
        assert bytewise == list("\ufeffa\ufeff".encode(encoding)), "bytes keep the mark"


@pytest.mark.parametrize(
    ("encoding", "data", "marked"),
    [
        ("utf-8", b"\xef\xbb\xbfa", True),
        ("utf-8", b"\xef\xbb\xbf", True),
        ("utf-8", b"a\xef\xbb\xbf", False),
        ("utf-8", b"", False),
        ("utf-8", b"\xef\xbb", False),
        ("utf-8", b"\xff\xfe", False),
        ("utf-8", "éé가가가".encode(), False),
        ("utf-16-le", b"\xff\xfea\0", True),
        ("utf-16-be", b"\xff\xfea\0", False),
        ("utf-32-le", b"\xff\xfe\0\0a\0\0\0", True),
        ("utf-16", b"\xff\xfea\0", True),
        ("utf-16", b"\xfe\xff\0a", True),
        ("utf-32", b"\xff\xfe\0\0a\0\0\0", True),
        ("latin-1", b"\xef\xbb\xbfa", False),
        ("cp949", b"\xef\xbb\xbfa", False),
    ],
)
def test_a_mark_is_noticed(directory: Path, encoding: str, data: bytes, marked: bool) -> None:
    """A mark is what reading removes, in the decoder or after it."""
    (found,) = files(directory, data)
    remark = f"text {found.name} begins with a byte-order mark, which is removed"
    assert (remark in remarks(found, encoding)) == marked


@pytest.mark.parametrize(
    ("encoding", "data", "is_remarked"),
    [
        ("cp1252", "café".encode(), True),
        ("cp1252", LETTER.encode(), True),
        ("cp1252", b"caf\xe9 noir", False),
        ("cp1252", b"plain", False),
        ("utf-8", "café".encode(), False),
        ("cp949", LETTER.encode("cp949"), False),
    ],
)
def test_utf8_that_is_read_in_another_encoding_is_noticed(
    directory: Path, encoding: str, data: bytes, is_remarked: bool
) -> None:
    """A text in UTF-8 that another encoding decodes too is probably not meant so, and said to be UTF-8."""
    (found,) = files(directory, data)
    remark = f"text {found.name} is valid UTF-8, but is read as {encoding.upper()}: is that its encoding?"
    assert list(remarks(found, encoding)) == [remark] * is_remarked


@pytest.mark.parametrize(
    ("contents", "wanted"),
    [
        (["a\nb\n"], "\na\nb\n"),
        (["a\nb"], "\na\nb\n"),
        (["\n\na\n\n\nb\n\n"], "\na\nb\n"),
        (["a\r\nb\r\n\r\n\rc\r"], "\na\nb\nc\n"),
        (["a", "b"], "\na\nb\n"),
        (["a\n", "\n", "", "b"], "\na\nb\n"),
        (["a\r", "\nb"], "\na\nb\n"),
        (["", ""], "\n"),
        (["\n\r\n"], "\n"),
        (["\ufeffa\n", "\ufeffb"], "\na\nb\n"),
        (["가\n 각 \n\n"], "\n가\n 각 \n"),
    ],
)
@pytest.mark.parametrize("unit", ["char", "byte"])
def test_lines_are_framed_by_line_breaks(
    directory: Path, unit: str, contents: list[str], wanted: str
) -> None:
    """By line, the text is a line break and every line with its own: none empty, none run together."""
    if unit == "byte":
        contents = [text.removeprefix("\ufeff") for text in contents]
    pipeline = TextPipeline(Units(unit, newlines="lf"), separator="no matter", by_line=True)
    found = files(directory, *(text.encode() for text in contents))
    for block in BLOCKS:
        assert read(pipeline, found, block) == (
            list(wanted.encode()) if unit == "byte" else [ord(character) for character in wanted]
        )


@given(
    units=st.sampled_from([units for units in ALL_UNITS if units.newlines == "lf"]),
    contents=st.lists(texts, max_size=3),
    block=st.sampled_from(BLOCKS),
)
@settings(max_examples=4 * settings().max_examples)
def test_lines_are_those_of_each_file(directory: Path, units: Units, contents: list[str], block: int) -> None:
    """By line, any files are the lines of each that hold something, in their order."""
    contents = [text.removeprefix("\ufeff") for text in contents]
    lines = "\n".join(contents).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    wanted = "\n" + "".join(line + "\n" for line in lines if line)
    found = files(directory, *(text.encode() for text in contents))
    assert read(TextPipeline(units, by_line=True), found, block) == naive(units, wanted)


def test_progress_sums_up_to_the_files(directory: Path) -> None:
    """Progress sums to the bytes of all files, block by block."""
    found = files(directory, b"abcdefghi", b"", b"jk")
    for block in [1, 4, 1 << 20]:
        seen: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sources, "BLOCK", block)
            list(TextPipeline().codes(found, seen.append))
        assert sum(seen) == 11
        assert max(seen) <= max(block, 1)
