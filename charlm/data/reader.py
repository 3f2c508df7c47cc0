"""Reading a text in pieces: bytes of files in, codes out. The codes do not depend on the pieces."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from charlm.arrays import Ids
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

        `progress` is called with the bytes of the files that each block used. Raises `CorpusError`
        with the file, and the byte and line that cannot be decoded.
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
            yield from blocks if self.units.is_byte else self._decoded(source, blocks)

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
                f"line {line}); {_HINTS[source.role]}"
            ) from error
        except UnicodeError as error:  # without a position, such as UTF-16 without its byte-order mark
            raise EncodingError(f"{source} is not {self.encoding.upper()}: {error}") from error


_HINTS = {
    "text": "convert it, name its encoding (corpus.encoding, or --encoding), or use corpus.unit: byte",
    "prime": "convert it, or name its encoding with --encoding",
}
"""Advice for each role of a source."""


@dataclass(frozen=True)
class Piece:
    """A piece of a text: as in the file, and its codes."""

    original: str | bytes
    codes: Ids


def begins_with_mark(source: Source, encoding: str) -> bool:
    """Whether a file begins with a byte-order mark, which `TextPipeline` removes."""
    start = next(source.blocks(), (b"", 0))[0][:8]
    if start.startswith(_DECODER_MARKS.get(encoding, ())):
        return True
    try:
        return codecs.getincrementaldecoder(encoding)("ignore").decode(start).startswith(_BOM)
    except UnicodeError:  # reported when the file is read
        return False


def _contents(source: Source, progress: Progress | None) -> Iterator[bytes]:
    before = 0
    for block, position in source.blocks():
        if progress:
            progress(position - before)
        before = position
        yield block
