"""The size of the raw text that units of a corpus were made from.

Scores of models with different units are compared per character, and per byte of UTF-8, of the raw
text in the files. Normalisation, lowercase, line-break conversion and `<unk>` lose this size; then the
files are read again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Self

import numpy as np

from charlm.data.corpus import Corpus
from charlm.data.reader import TextPipeline
from charlm.data.sources import Source
from charlm.data.units import Units, folded


@dataclass(frozen=True)
class RawSize:
    """The size of a text: its characters, and its bytes in UTF-8."""

    characters: int
    size: int

    @classmethod
    def of(cls, text: str | bytes) -> Self:
        """The size of a text; in bytes, each byte that is not a UTF-8 continuation byte is a character."""
        if isinstance(text, bytes):
            values = np.frombuffer(text, np.uint8)
            return cls(int(np.count_nonzero(values & 0xC0 != 0x80)), len(text))
        return cls(len(text), len(text.encode("utf-8", "surrogatepass")))

    def __add__(self, other: Self) -> Self:
        return type(self)(self.characters + other.characters, self.size + other.size)


def scored_raw_size(
    corpus: Corpus, sources: Sequence[Source], pipeline: TextPipeline, split: str | None
) -> RawSize:
    """Raw size of the targets of a split, or of the whole text if `split` is None.

    `sources` are the files with these targets: for a split with a separate text, its files. They are
    read again if the units do not tell the size; raises `CorpusError` if that fails.
    """
    if split and split in corpus.separate:
        corpus, split = corpus.separate[split], None
    scored, units = corpus.part(split), corpus.vocabulary.units
    if units.is_raw(pipeline.by_line) and not corpus.vocabulary.has_unknown:
        texts = (units.plain(corpus.vocabulary.codes[block]) for block in scored.target_blocks())
        return sum(map(RawSize.of, texts), RawSize(0, 0))
    if pipeline.by_line:
        is_scored = np.isin(corpus.whole.examples()[0], scored.examples()[0])
        lines = compress(_lines(sources, pipeline), is_scored)
        return sum((RawSize.of(line) + RawSize(1, 1) for line in lines), RawSize(0, 0))
    start, stop = corpus.edges(split) if split else (0, len(corpus.ids))
    return _of_units(sources, pipeline, start + 1, stop)


def _of_units(sources: Sequence[Source], pipeline: TextPipeline, start: int, stop: int) -> RawSize:
    """Raw size of units `start` to `stop`; a character across an edge counts before the edge."""
    total, before = RawSize(0, 0), 0
    for piece in pipeline.pieces(sources):
        text, units = piece.original, len(piece.codes)
        if start <= before and before + units <= stop:
            total += RawSize.of(text)
        elif before < stop and start < before + units:
            first, last = (_index(text, edge - before, pipeline.units) for edge in (start, stop))
            total += RawSize.of(text[first:last])
        before += units
    return total


def _index(text: str | bytes, edge: int, units: Units) -> int:
    """Length of the shortest start of `text` with `edge` units, and what follows without adding any."""

    def unit_count(stop: int) -> int:
        return len(units.codes(text[:stop]))

    fewest = bisect_left(range(len(text)), edge, key=unit_count)
    return bisect_right(range(len(text) + 1), unit_count(fewest), key=unit_count) - 1


def _lines(sources: Sequence[Source], pipeline: TextPipeline) -> Iterator[str | bytes]:
    """Every line of the files that is not empty, without its line break."""
    held: Any = b"" if pipeline.units.is_byte else ""
    for piece in pipeline.pieces(sources):
        *lines, held = (held + folded(piece.original)).split(b"\n" if pipeline.units.is_byte else "\n")
        yield from filter(None, lines)
    if held:
        yield held
