from __future__ import annotations

import bz2
import gzip
import lzma

import pytest

from charlm.config.reading import text_encoding
from charlm.data import encodings
from charlm.data.encodings import START, format_of, is_damaged_utf8, marked, readings

TEXTS = {
    "Korean": "나룻배가 강을 건너왔다. 사공은 말없이 노를 저었고, 우리는 저녁 하늘을 보았다.\r\n",
    "Korean, short": "안녕하세요 여러분",
    "Japanese": "渡し船が川を渡ってきた。船頭は黙って櫓をこぎ、私たちは夕方の空を見ていた。\n",
    "Chinese": "渡船从河对岸过来了。船夫默默地摇着橹，我们看着傍晚的天空。\n",
    "Taiwanese": "渡船從河對岸過來了。船夫默默地搖著櫓，我們看著傍晚的天空。\n",
    "English": "The ferry came over at noon. “It’s late,” she said — and he didn’t answer.\n",
    "English, one letter": "We sat in the café and waited for the bell.\n",
    "English, one sign": "It was 20°, and the fare was one pound.\n",
    "French": "Le bac traversa la rivière. « Où êtes-vous né ? » demanda-t-il à l’élève.\n",
    "German": "Die Fähre kam über den Fluß. „Schön ist es hier“, sagte der Mann und grüßte.\n",
    "Spanish": "¿Dónde está el niño? Mañana cruzará el río — dijo él.\n",
    "Polish": "Prom przepłynął rzekę. Przewoźnik milczał, a my patrzyliśmy na niebo.\n",
    "Russian": "Паром пересёк реку. Перевозчик молчал, а мы смотрели на вечернее небо.\n",
    "Greek": "Το πορθμείο διέσχισε το ποτάμι και ο βαρκάρης σώπαινε.\n",
}

NAMED = [
    *((language, "cp949") for language in ("Korean", "Korean, short")),
    *(("Japanese", encoding) for encoding in ("cp932", "euc_jp")),
    ("Chinese", "gb18030"),
    ("Taiwanese", "big5"),
    *((language, "cp1252") for language in TEXTS if language.startswith("English")),
    *((language, "cp1252") for language in ("French", "German", "Spanish")),
    *((language, encoding) for language in ("French", "German") for encoding in ("mac-roman", "cp850")),
    *(("Polish", encoding) for encoding in ("cp1250", "iso8859-2")),
    *(("Russian", encoding) for encoding in ("cp1251", "koi8-r", "cp866")),
    ("Greek", "cp1253"),
    *((language, f"utf-16-{end}") for language in ("Korean", "Chinese", "French") for end in ("le", "be")),
]  # fmt: skip


@pytest.mark.parametrize(("language", "encoding"), NAMED)
def test_the_encoding_of_a_text_is_named_first(language: str, encoding: str) -> None:
    """The likeliest encoding of a sentence is its own, whatever the blocks, with words that show it."""
    text, data = TEXTS[language], TEXTS[language].encode(encoding, "replace")
    for size in (1, 7, 1 << 20):
        blocks = [data[start : start + size] for start in range(0, len(data), size)]
        first, *others = readings(blocks)
        assert first.encoding == encoding
        assert len(others) < 3
    assert first.excerpt
    assert first.excerpt in text


@pytest.mark.parametrize(
    ("text", "encoding", "names"),
    [
        ("Der Fluß ist schön und müde", "latin-1", ["cp1252"]),
        (TEXTS["Korean"], "euc_kr", ["cp949"]),
        (TEXTS["Chinese"], "gbk", ["gb18030"]),
        (TEXTS["English, one letter"], "cp1252", ["cp1252", "mac-roman"]),
        ("가나", "utf-16", ["utf-16"]),
        *((text, "utf-8", ["utf-8"]) for text in ("plain words", *TEXTS.values())),
    ],
)
def test_one_of_several_encodings_that_give_the_same_text_is_named(
    text: str, encoding: str, names: list[str]
) -> None:
    """The encoding that reads more texts is named; a Greek letter is not expected in a Latin word.

    A byte-order mark says more than any letters, and a text in UTF-8 is said to be nothing else.
    """
    data = text.encode(encoding)
    assert [one.encoding for one in readings([data], marked(data))] == names


@pytest.mark.parametrize(
    "data",
    [
        b"a\n\x01b\xff",
        bytes(range(256)),
        b"\0\1\2\xff" * 9,
        b"then \xff\n",
        TEXTS["Korean, short"].encode("cp949")[:-1],
    ],
)
def test_what_no_encoding_makes_text_of_has_none(data: bytes) -> None:
    """Control characters, rare letters and half a character are no text: no encoding is named."""
    assert readings([data]) == []


def test_names_can_be_given_as_they_are() -> None:
    """Every name is the one that `corpus.encoding` knows."""
    names = {name for table in (encodings._LATIN, encodings._OTHERS) for row in table for name in row[0]}
    names |= {name for name, _, _ in encodings._MARKS}
    assert {name: text_encoding(name) for name in names} == {name: name for name in names}


@pytest.mark.parametrize(
    ("data", "encoding", "shown"),
    [
        ("é".encode("utf-16"), "utf-8", "utf-16"),
        ("é".encode("utf-16"), "utf-16-le", ""),
        ("é".encode("utf-16"), "utf-16-be", "utf-16"),
        (b"\xfe\xff\0a", "utf-16-le", "utf-16"),
        (b"\xfe\xff\0a", "utf-16", ""),
        (b"\xfe\xff\0a", "utf-16-be", ""),
        ("é".encode("utf-32"), "utf-8", "utf-32"),
        ("é".encode("utf-32"), "utf-32-le", ""),
        (b"\0\0\xfe\xff\0\0\0a", "cp949", "utf-32"),
        (b"\xef\xbb\xbfa", "cp1252", "utf-8"),
        (b"\xef\xbb\xbfa", "utf-8", ""),
        ("“It is late,” she said.".encode("utf-16-le"), "utf-8", "utf-16-le"),
        ("“It is late,” she said.".encode("utf-16-be"), "utf-8", "utf-16-be"),
        ("“It is late,” she said.".encode("utf-16-le"), "utf-16-le", ""),
        (b"plain words, 20 of them\n", "utf-8", ""),
        (b"", "utf-8", ""),
    ],
)  # fmt: skip
def test_the_first_bytes_show_an_encoding(data: bytes, encoding: str, shown: str) -> None:
    """A byte-order mark, or a NUL beside each letter, shows an encoding other than the expected one."""
    assert marked(data, encoding) == shown


@pytest.mark.parametrize(
    ("data", "is_damaged"),
    [
        (TEXTS["Korean"].encode()[:40], True),
        ("“It’s late,” she said".encode() + b"\xe2\x80", True),
        (TEXTS["German"].encode() + "Ärger".encode("cp1252"), True),
        (TEXTS["German"].encode("cp1252"), False),
        (TEXTS["Korean"].encode("cp949"), False),
        (b"caf\xe9", False),
        ("“".encode() + TEXTS["German"].encode("cp1252"), False),
    ],
)
def test_damaged_utf8_is_told_from_other_encodings(data: bytes, is_damaged: bool) -> None:
    """A few wrong bytes among UTF-8 are damage; the letters of another encoding are not."""
    for blocks in ([data], [data[:3], data[3:]]):
        assert is_damaged_utf8(blocks) == is_damaged


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"PK\3\4\x14\0", "a ZIP archive, as .docx, .odt, .xlsx, .epub and .npz files are"),
        (b"SQLite format 3\0\x10", "an SQLite database"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a WAV sound"),
        (b"\x93NUMPY\1\0", "a NumPy array"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (gzip.compress(b"words", mtime=0), "a gzip file that is not named .gz"),
        (bz2.compress(b"words"), "a bzip2 file"),
        (bz2.compress(b""), "a bzip2 file"),
        (lzma.compress(b"words"), "an xz file that is not named .xz"),
        (b"\x28\xb5\x2f\xfd\x24\x05", "a zstd file"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
        (b"Rar!\x1a\7\1\0", "a RAR archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Word, Excel or PowerPoint file"),
        (b"{\\rtf1\\ansi Words}", "an RTF document"),
        (b"%PDF-1.4\n1 0 obj", "a PDF document"),
        (b"My book".ljust(60, b"\0") + b"BOOKMOBI", "a Kindle book"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
        (b"GIF89a\1\0\1\0", "a GIF image"),
        (b"RIFF\x10\0\n\0WEBPVP8 ", "a WebP image"),
        (b"II*\0\x08\0\0\0", "a TIFF image"),
        (b"ID3\4\0\0\0", "an MP3 sound"),
        (b"\xff\xfb\x90\x64", "an MP3 sound"),
        (b"OggS\0\2", "an Ogg sound"),
        (b"fLaC\0\0\0\x22", "a FLAC sound"),
        (b"\0\0\0\x20ftypheic", "an MP4 film or sound, or a HEIC image"),
        (b"\x7fELF\2\1", "a program"),
        (b"MZ\x90\0\3\0", "a program"),
    ],
)
def test_formats_are_recognised(start: bytes, words: str) -> None:
    """Files that are not plain text are recognised by their first bytes."""
    assert words in format_of(start[:START])


@pytest.mark.parametrize(
    "text",
    [
        *TEXTS.values(), "", "PK was here", "ID3 is a tag", "BZh9 is how it begins", "Rar!", "RIFF",
        "MZ lives", "{\\it words}", "<html><p>Words</p></html>", '{"words": 3}', "OggS", "ftyp", "%!PS",
    ],
)  # fmt: skip
def test_texts_are_not_taken_for_formats(text: str) -> None:
    """A text is plain text whatever its first word, in every usual encoding."""
    assert format_of(text.encode()) == ""
    for encoding in ("utf-16", "cp949", "cp1251", "cp1252"):
        assert format_of(text.encode(encoding, "replace")) == ""
