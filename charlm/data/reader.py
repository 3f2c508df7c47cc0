"""Reading a text in pieces: bytes of files in, codes out. The codes do not depend on the pieces."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from charlm.arrays import Ids
from charlm.data.encodings import START, format_of, is_damaged_utf8, marked, readings
from charlm.data.sources import BytesRead, LiveInput, Source
from charlm.data.units import LINE_BREAK, Units
from charlm.data.vocabulary import Vocabulary
from charlm.system.errors import EncodingError

_BOM = "\ufeff"


@dataclass(frozen=True)
class TextPipeline:
    """The conversion of the contents of files to the codes of one text."""

    units: Units = field(default_factory=Units)
    encoding: str = "utf-8"
    """Encoding of the files; ignored if units are bytes."""
    separator: str = "\n"
    """Text inserted between two files."""
    by_line: bool = False
    """Each line is a separate example: the text is a line break, then every nonempty line with its own."""
    min_count: int = 1
    """Least number of occurrences of a code in the vocabulary; rarer codes become `<unk>`."""

    def vocabulary(self, codes: Iterable[int]) -> Vocabulary:
        """The vocabulary with these codes."""
        return Vocabulary(codes, self.units, self.min_count > 1)

    def pieces(self, sources: Sequence[Source], progress: BytesRead = lambda size: None) -> Iterator[Piece]:
        """The text in pieces of about a megabyte.

        `progress` is called with the bytes read from the files. Raises `EncodingError` with the file,
        the byte and the line that cannot be decoded, and the likely kind of file; and `CorpusError` if
        a file cannot be read.
        """
        empty: Any = b"" if self.units.is_byte else ""
        held = [empty]
        for text in self._texts(sources, progress):
            if cut := self.units.cut(text):
                original = empty.join([*held, text[:cut]])
                yield Piece(original, self.units.codes(original))
                held.clear()
            held.append(text[cut:])
        if original := empty.join(held):
            yield Piece(original, self.units.codes(original))

    def codes(self, sources: Sequence[Source], progress: BytesRead = lambda size: None) -> Iterator[Ids]:
        """The codes of the text, a piece at a time; with `by_line`, the codes of its lines."""
        yield from self._lines_only(piece.codes for piece in self.pieces(sources, progress))

    def codes_of_text(self, text: str) -> Ids:
        """The codes `[N]` of a text that is not in a file; with `by_line`, of its lines."""
        return np.concatenate([*self._lines_only([self.units.of_text(text)]), np.zeros(0, np.uint8)])

    def _lines_only(self, pieces: Iterable[Ids]) -> Iterator[Ids]:
        """The codes unchanged; with `by_line`, a line break, then every line that is not empty."""
        before = 0  # the last code
        if self.by_line:
            before = LINE_BREAK
            yield np.array([LINE_BREAK], np.uint8)
        for codes in pieces:
            if not self.by_line or not len(codes):
                yield codes
                continue
            breaks = codes == LINE_BREAK
            follows = np.concatenate([[before == LINE_BREAK], breaks[:-1]])
            before = int(codes[-1])
            yield codes[~(breaks & follows)]
        if self.by_line and before != LINE_BREAK:
            yield np.array([LINE_BREAK], np.uint8)

    def _texts(self, sources: Sequence[Source], progress: BytesRead) -> Iterator[str] | Iterator[bytes]:
        """The contents of the files with the separators, unchanged except for byte-order marks."""
        separator = "\n" if self.by_line else self.separator
        for number, source in enumerate(sources):
            if number and separator:
                yield separator.encode() if self.units.is_byte else separator
            blocks = source.blocks(progress)
            if self.units.is_byte:
                yield from blocks
            else:
                self._refuse(source)
                yield from self._decoded(source, blocks)

    def _decoded(self, source: Source, blocks: Iterator[bytes]) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        before, lines, begun = 0, 1, False  # bytes read, lines begun, and whether any text was decoded
        for block in chain(blocks, [b""]):
            state = decoder.getstate()
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeError as error:
                where = str(error)  # as for UTF-16 without its byte-order mark
                if isinstance(error, UnicodeDecodeError):
                    wrong = error.start - len(state[0])  # index in the block; below 0 in the bytes pending
                    decoder.setstate(state)
                    line = lines + decoder.decode(block[: max(0, wrong)]).count("\n")
                    where = f"byte {before + wrong} (0x{(state[0] + block)[error.start]:02x}, line {line})"
                advice = self._advice(source)
                raise EncodingError(f"{source} is not {self.encoding.upper()}: {where}; {advice}") from error
            before += len(block)
            lines += text.count("\n")
            if text and not begun:
                begun, text = True, text.removeprefix(_BOM)
            yield text

    def _refuse(self, source: Source) -> None:
        """Raise `CorpusError` if a file's first bytes show that it is not text in this encoding."""
        start = _start(source)
        source.refuse_archive(start)
        if kind := format_of(start):
            raise EncodingError(
                f"{source} is {kind}, not plain text: extract its text{_OTHERWISE[source.role]}"
            )
        if shown := marked(start, self.encoding):
            raise EncodingError(
                f"{source} is {shown.upper()}, not {self.encoding.upper()}, by its first bytes: "
                f"{_NAMING[source.role].format(shown)}, or convert it"
            )

    def _advice(self, source: Source) -> str:
        """Advice about a file that cannot be decoded."""
        if self.encoding == "utf-8" and is_damaged_utf8(source.blocks()):
            return (
                "most of it is UTF-8, so it is damaged or cut off there: "
                "iconv -c -f utf-8 -t utf-8 leaves out such bytes"
            )
        if likely := readings(source.blocks(), marked(_start(source))):
            shown = " or ".join(f"{one.encoding} ({one.excerpt or 'ASCII'})" for one in likely)
            use = _NAMING[source.role].format(likely[0].encoding)
            return f"it can be read as {shown}: {use}, or convert it"
        return f"no usual encoding fits: {_NAMING[source.role].format('NAME')}{_OTHERWISE[source.role]}"


def text_of_file(
    source: Source, encoding: str | None, progress: BytesRead = lambda size: None
) -> Iterator[str]:
    """The text of a file in pieces, without a byte-order mark, as it comes from a `LiveInput`.

    Without an encoding it is UTF-8, and bytes that are not stay, as lone surrogates. `progress` is
    called, and `EncodingError` and `CorpusError` are raised, as by `TextPipeline.pieces`.
    """
    every = source.blocks(progress)
    blocks = (block[k : k + _PIECE] for block in every for k in range(0, len(block), _PIECE))
    if encoding is None:
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        for block in chain(blocks, [b""]):
            yield decoder.decode(block, final=not block)
        return
    pipeline = TextPipeline(encoding=encoding)
    if not isinstance(source, LiveInput):
        pipeline._refuse(source)
    yield from pipeline._decoded(source, blocks)


_PIECE = 1 << 16
"""Most bytes of a piece of a text that is scored: a row for each character takes much more memory."""

_NAMING = {
    "text": "use `corpus.encoding={0}`, or `encoding={0}` outside training",
    "prime": "use `encoding={0}`",
}
"""The advice that names an encoding, by the role of the source."""

_OTHERWISE = {
    "text": ", leave it out (a pattern such as 'books/*.txt' names only texts), or learn its bytes with "
    "`corpus.unit=byte`",
    "prime": "",
}
"""Further advice about a file that may not be text at all."""


@dataclass(frozen=True)
class Piece:
    """A piece of a text: as in the file, and its codes."""

    original: str | bytes
    codes: Ids


def remarks(source: Source, encoding: str) -> Iterator[str]:
    """Remarks for the user on reading a file in this encoding, judged by its first bytes."""
    start = _start(source)
    if _begins_with_mark(start, encoding):
        yield f"{source} begins with a byte-order mark, which is removed"
    if encoding != "utf-8" and not start.isascii():
        with contextlib.suppress(UnicodeError):
            codecs.getincrementaldecoder("utf-8")().decode(start)
            yield f"{source} is valid UTF-8, but is read as {encoding.upper()}: is that its encoding?"


def _begins_with_mark(start: bytes, encoding: str) -> bool:
    """Whether a file with these first bytes begins with a mark that is removed."""
    if encoding in ("utf-16", "utf-32"):  # the mark decides the byte order, and the decoder removes it
        return marked(start) == encoding
    return start.decode(encoding, "ignore").startswith(_BOM)


def _start(source: Source) -> bytes:
    """The first bytes of a file."""
    start = b""
    for block in source.blocks():
        start += block
        if len(start) >= START:
            break
    return start
