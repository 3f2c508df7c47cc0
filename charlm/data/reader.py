"""Reading a text in pieces: bytes of files in, codes out. The codes do not depend on the pieces."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from charlm.arrays import Ids
from charlm.data.encodings import START, format_of, is_damaged_utf8, marked, readings
from charlm.data.sources import Source
from charlm.data.units import LINE_BREAK, Units
from charlm.errors import EncodingError

Progress = Callable[[int], None]
"""Called with the number of bytes just processed."""

_BOM = "\ufeff"

_DECODER_MARKS = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
"""Byte-order marks that the decoders of Python remove themselves."""


@dataclass(frozen=True)
class TextPipeline:
    """How the contents of files become the codes of one text.

    Attributes
    ----------
    encoding
        Encoding of the files; ignored if units are bytes.
    separator
        Text inserted between two files.
    by_line
        Each line is a separate example: the text is a line break, then every line that is not
        empty, with its line break.
    min_count
        Least number of occurrences of a code in the vocabulary; rarer codes become `<unk>`.
    """

    units: Units = field(default_factory=Units)
    encoding: str = "utf-8"
    separator: str = "\n"
    by_line: bool = False
    min_count: int = 1

    def pieces(self, sources: Sequence[Source], progress: Progress | None = None) -> Iterator[Piece]:
        """The text in pieces of about a megabyte.

        `progress` is called with the bytes of the files that each block used. Raises `EncodingError`
        with the file, the byte and line that cannot be decoded, and what the file seems to be; and
        `CorpusError` if it cannot be read.
        """
        held: str | bytes = b"" if self.units.is_byte else ""
        for text in self._texts(sources, progress):
            held += text  # type: ignore[operator]  # both are str, or both bytes
            cut = self.units.cut(held)
            if cut:
                yield Piece(held[:cut], self.units.codes(held[:cut]))
                held = held[cut:]
        if held:
            yield Piece(held, self.units.codes(held))

    def codes(self, sources: Sequence[Source], progress: Progress | None = None) -> Iterator[Ids]:
        """The codes of the text, a piece at a time; with `by_line`, those of its lines."""
        yield from self._lines_only(piece.codes for piece in self.pieces(sources, progress))

    def codes_of_text(self, text: str) -> Ids:
        """The codes `[N]` of a text that does not come from a file; with `by_line`, of its lines."""
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

    def _texts(self, sources: Sequence[Source], progress: Progress | None) -> Iterator[str] | Iterator[bytes]:
        """The contents of the files with the separators, unchanged except for byte-order marks."""
        separator = "\n" if self.by_line else self.separator
        for number, source in enumerate(sources):
            if number and separator:
                yield separator.encode() if self.units.is_byte else separator
            blocks = _contents(source, progress)
            if self.units.is_byte:
                yield from blocks
            else:
                self._refuse(source)
                yield from self._decoded(source, blocks)

    def _decoded(self, source: Source, blocks: Iterator[bytes]) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        before, lines, begun = 0, 1, False  # bytes read, lines begun, and whether any text was decoded
        for block in blocks:
            if not before:
                source.refuse_archive(block)
            text = self._decode(decoder, block, source, before, lines)
            before += len(block)
            lines += text.count("\n")
            if text and not begun:
                begun, text = True, text.removeprefix(_BOM)
            yield text
        yield self._decode(decoder, b"", source, before, lines)

    def _decode(
        self, decoder: codecs.IncrementalDecoder, block: bytes, source: Source, before: int, lines: int
    ) -> str:
        """Decode one block, empty at the end; it begins at byte `before`, in line `lines`."""
        state = decoder.getstate()
        pending = state[0]
        try:
            return decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            data = pending + block
            position = before - len(pending) + error.start
            again = codecs.getincrementaldecoder(self.encoding)("strict")
            again.setstate(state)
            line = lines + again.decode(block[: max(0, error.start - len(pending))]).count("\n")
            raise EncodingError(
                f"{source} is not {self.encoding.upper()}: byte {position} (0x{data[error.start]:02x}, "
                f"line {line}); {self._advice(source)}"
            ) from error
        except UnicodeError as error:  # without a position, such as UTF-16 without its byte-order mark
            raise EncodingError(
                f"{source} is not {self.encoding.upper()}: {error}; {self._advice(source)}"
            ) from error

    def _refuse(self, source: Source) -> None:
        """Raise `EncodingError` if a file's first bytes show that it is not text in this encoding."""
        start = _start(source)
        kind = format_of(start)
        if kind:
            raise EncodingError(
                f"{source} is {kind}, not plain text: extract its text{_OTHERWISE[source.role]}"
            )
        shown = marked(start, self.encoding)
        if shown:
            raise EncodingError(
                f"{source} is {shown.upper()}, not {self.encoding.upper()}, by its first bytes: "
                f"{_NAMING[source.role].format(shown)}, or convert it"
            )

    def _advice(self, source: Source) -> str:
        """What to do about a file that cannot be decoded."""
        if self.encoding == "utf-8" and is_damaged_utf8(_contents(source)):
            return (
                "most of it is UTF-8, so it is damaged or cut off there: "
                "iconv -c -f utf-8 -t utf-8 leaves out such bytes"
            )
        named = readings(_contents(source), marked(_start(source)))
        if named:
            shown = " or ".join(f"{one.encoding} ({one.excerpt or 'ASCII'})" for one in named)
            use = _NAMING[source.role].format(named[0].encoding)
            return f"it can be read as {shown}: {use}, or convert it"
        return f"no usual encoding fits: {_NAMING[source.role].format('NAME')}{_OTHERWISE[source.role]}"


_NAMING = {
    "text": "use `corpus.encoding={0}`, or `encoding={0}` outside training",
    "prime": "use `encoding={0}`",
}
"""How to name an encoding, by the role of the source."""

_OTHERWISE = {
    "text": ", leave it out (a pattern such as 'books/*.txt' names only texts), or learn its bytes with "
    "`corpus.unit=byte`",
    "prime": "",
}
"""What else to do about a file that may be no text at all."""


@dataclass(frozen=True)
class Piece:
    """A piece of a text: as in the file, and its codes."""

    original: str | bytes
    codes: Ids


def remarks(source: Source, encoding: str) -> Iterator[str]:
    """What the user should know about how a file is read in this encoding, by its first bytes."""
    start = _start(source)
    if _begins_with_mark(start, encoding):
        yield f"{source} begins with a byte-order mark, which is removed"
    if encoding != "utf-8" and not start.isascii():
        with contextlib.suppress(UnicodeError):
            codecs.getincrementaldecoder("utf-8")().decode(start)
            yield f"{source} is valid UTF-8, but is read as {encoding.upper()}: is that its encoding?"


def _begins_with_mark(start: bytes, encoding: str) -> bool:
    """Whether a file with these first bytes begins with a mark that `TextPipeline` removes."""
    if start.startswith(_DECODER_MARKS.get(encoding, ())):
        return True
    try:
        return codecs.getincrementaldecoder(encoding)("ignore").decode(start[:8]).startswith(_BOM)
    except UnicodeError:  # reported when the file is read
        return False


def _start(source: Source) -> bytes:
    """The first bytes of a file."""
    start = b""
    for block in _contents(source):
        start += block
        if len(start) >= START:
            break
    return start


def _contents(source: Source, progress: Progress | None = None) -> Iterator[bytes]:
    before = 0
    for block, position in source.blocks():
        if progress:
            progress(position - before)
        before = position
        yield block
