"""The raw size of a text: characters and bytes of the files before any change.

Models with different units are compared by bits per original character and per byte of UTF-8.
Normalisation, changed line breaks and `<unk>` cannot be undone, so the files are read again and
counted.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlm.data.corpus import Corpus
from charlm.data.reader import TextPipeline
from charlm.data.sources import Source
from charlm.data.units import Units, folded


@dataclass(frozen=True)
class RawSize:
    """A number of characters, and of their bytes in UTF-8."""

    characters: int
    size: int

    @classmethod
    def of(cls, text: str | bytes) -> RawSize:
        """Size of a text; of bytes, those that start a character in UTF-8 are counted as characters."""
        if isinstance(text, bytes):
            values = np.frombuffer(text, np.uint8)
            return cls(int(np.count_nonzero(values & 0xC0 != 0x80)), len(text))
        return cls(len(text), len(text.encode("utf-8", "surrogatepass")))

    def __add__(self, other: RawSize) -> RawSize:
        return RawSize(self.characters + other.characters, self.size + other.size)


def scored_raw_size(
    corpus: Corpus, sources: Sequence[Source], pipeline: TextPipeline, split: str | None
) -> RawSize:
    """Raw size of the targets of a part (None: of the whole corpus).

    These are all units of a stream but the first, or all lines.

    Raises `CorpusError` if the files cannot be read again.
    """
    if corpus.whole.lines is not None:
        return _of_lines(corpus, sources, pipeline, split)
    start, stop = corpus.edges(split) if split else (0, len(corpus.ids))
    return _of_units(sources, pipeline, start + 1, stop)


def _of_units(sources: Sequence[Source], pipeline: TextPipeline, start: int, stop: int) -> RawSize:
    """Raw size of units `start` to `stop`; a character across an edge belongs to the units before it."""
    total, before = RawSize(0, 0), 0
    for piece in pipeline.pieces(sources):
        text, units = piece.original, len(piece.codes)
        if start <= before and before + units <= stop:
            total += RawSize.of(text)
        elif before < stop and start < before + units:
            first, last = (_offset(text, edge - before, pipeline.units) for edge in (start, stop))
            total += RawSize.of(text[first:last])
        before += units
    return total


def _offset(text: str | bytes, edge: int, units: Units) -> int:
    """How many characters of `text` make `edge` units, with following marks that add none."""

    def made(offset: int) -> int:
        return len(units.codes(text[:offset]))

    fewest = bisect_left(range(len(text)), edge, key=made)
    return bisect_right(range(len(text) + 1), made(fewest), key=made) - 1


def _of_lines(
    corpus: Corpus, sources: Sequence[Source], pipeline: TextPipeline, split: str | None
) -> RawSize:
    """Raw size of lines, each with one line break."""
    first_inputs, _ = corpus.whole.examples()
    chosen = (
        np.isin(first_inputs, corpus.part(split).examples()[0]) if split else np.ones(len(first_inputs), bool)
    )
    total = RawSize(0, 0)
    for number, line in enumerate(_lines(sources, pipeline)):
        if chosen[number]:
            total += RawSize.of(line) + RawSize(1, 1)
    return total


def _lines(sources: Sequence[Source], pipeline: TextPipeline) -> Iterator[str | bytes]:
    """Every line of the files that is not empty, without its line break."""
    held: Any = b"" if pipeline.units.is_byte else ""
    for piece in pipeline.pieces(sources):
        *lines, held = (held + folded(piece.original)).split(b"\n" if pipeline.units.is_byte else "\n")
        yield from filter(None, lines)
    if held:
        yield held
