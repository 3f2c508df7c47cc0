"""A corpus: files read, encoded, and split into training, validation and test."""

from __future__ import annotations

import functools
import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from charlm.arrays import Ids
from charlm.data.cache import Cache, Encoded
from charlm.data.lines import Lines, StreamText, Text, boundaries
from charlm.data.reader import TextPipeline, begins_with_mark
from charlm.data.sources import Source, digest
from charlm.data.units import LINE_BREAK
from charlm.data.vocabulary import Counter, Vocabulary
from charlm.errors import ChangedError, CorpusError
from charlm.system.files import reason

SPLITS = ("train", "validation", "test")
"""The splits of a corpus, in text order."""

Progress = Callable[[str, int], None]
"""Called with the current activity and the number of bytes, or units, just processed."""


@dataclass(frozen=True)
class Corpus:
    """An encoded text with its splits."""

    ids: Ids
    """`[N]`, the whole text."""
    vocabulary: Vocabulary
    split: tuple[float, float, float]
    """Fractions for training, validation and test."""
    digest: str
    """SHA-256 of the files, in hexadecimal; see `sources.digest`."""
    by_line: bool = False
    """Whether each line is a separate example; `whole` and `part` are then `Lines`."""
    warnings: tuple[str, ...] = ()
    """Warnings from reading the files."""

    @functools.cached_property
    def whole(self) -> Text:
        """The whole text."""
        return text_of(self.ids, self.by_line)

    def part(self, name: str) -> Text:
        """The split `train`, `validation` or `test`.

        The splits of a stream are contiguous, in this order, and complete. Each line is in exactly
        one split.
        """
        return self._parts[SPLITS.index(name)]

    def edges(self, name: str) -> tuple[int, int]:
        """Begin and end of a split of a stream, as indices into `ids`."""
        number = SPLITS.index(name)
        edges = boundaries(len(self.ids), self.split)
        return edges[number], edges[number + 1]

    def usable(self, name: str) -> bool:
        """Whether a split has something to predict: a line, or at least two units."""
        return self.part(name).targets > 0

    @functools.cached_property
    def _parts(self) -> tuple[Text, Text, Text]:
        return self.whole.split(self.split)


def text_of(ids: Ids, by_line: bool) -> Text:
    """The units `[N]` of a text as one stream, or as lines; lines must begin with a line break."""
    return Lines.of(ids, int(ids[0])) if by_line else StreamText(ids)


def nothing(what: str, size: int) -> None:
    """Show no progress."""


def read_corpus(
    sources: Sequence[Source],
    pipeline: TextPipeline,
    split: Sequence[float],
    vocabulary: Vocabulary | None = None,
    cache: Cache | None = None,
    progress: Progress = nothing,
    expected: str | None = None,
) -> Corpus:
    """Read a corpus; unless `vocabulary` is given, it is built from all files.

    The vocabulary covers all splits, so no split holds an unknown unit, except units rarer than
    `min_count` of the pipeline. With a cache, the encoded text is stored there if it is missing,
    and mapped into memory.

    Raises `CorpusError` if a file cannot be read or decoded, changes while it is read, or is too
    short to learn from; `ChangedError` if the digest is not `expected`; and `VocabularyError` if
    the given vocabulary lacks a unit and has no `<unk>`.
    """
    stamps = [source.stamp() for source in sources]
    sha256 = digest(sources, lambda size: progress("looking at", size))
    encoder = _Encoder(sources, pipeline, sha256, cache, progress)
    if expected not in (None, sha256):
        raise ChangedError(f"{encoder.where} has changed since the model was trained on it")
    encoded = encoder.encoded()
    if vocabulary is None:
        if set(encoded.codes) <= ({LINE_BREAK} if pipeline.by_line else set()):
            raise CorpusError(
                f"{encoder.where}: nothing occurs {pipeline.min_count} times: lower corpus.min_count"
            )
        vocabulary = encoder.vocabulary(encoded)
    elif vocabulary != encoder.vocabulary(encoded):
        if pipeline.min_count > 1:  # the given vocabulary may hold units that are rare in this text
            encoder = _Encoder(sources, replace(pipeline, min_count=1), sha256, cache, progress)
            encoded = encoder.encoded()
        codes = np.array(encoded.codes, np.uint32)
        encoded = Encoded(vocabulary.recode(encoded.ids, codes, encoder.where), encoded.codes)
    if stamps != [source.stamp() for source in sources]:
        raise CorpusError(f"{encoder.where} changed while it was being read")
    train, validation, test = split
    return Corpus(
        encoded.ids, vocabulary, (train, validation, test), sha256, pipeline.by_line, tuple(encoder.warnings)
    )


class _Encoder:
    """Turns files into ids, or takes the ids from the cache."""

    def __init__(
        self,
        sources: Sequence[Source],
        pipeline: TextPipeline,
        sha256: str,
        cache: Cache | None,
        progress: Progress,
    ) -> None:
        self.sources, self.pipeline, self.sha256 = sources, pipeline, sha256
        self.cache, self.progress = cache, progress
        self.where = str(sources[0]) if len(sources) == 1 else f"the text of {len(sources)} files"
        self.warnings: list[str] = []
        if not pipeline.units.is_byte:
            self.warnings += [
                f"{source} begins with a byte-order mark, which is removed"
                for source in sources
                if begins_with_mark(source, pipeline.encoding)
            ]

    def vocabulary(self, encoded: Encoded) -> Vocabulary:
        return Vocabulary(encoded.codes, self.pipeline.units, self.pipeline.min_count > 1)

    def encoded(self) -> Encoded:
        """The text, encoded with its own vocabulary."""
        names, settings = [source.name for source in self.sources], asdict(self.pipeline)
        # the same bytes may be packed or plain; normal forms depend on the version of Unicode
        packings = [source.packing for source in self.sources]
        identity = [self.sha256, packings, settings, unicodedata.unidata_version]
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode("ascii")).hexdigest()
        found = self.cache.load(key) if self.cache else None
        if found:
            return found
        counter = Counter(counting=self.pipeline.min_count > 1)
        for codes in self._codes("reading"):
            counter.add(codes)
        self._check(counter.units)
        kept = {int(code) for code in counter.codes(self.pipeline.min_count)}
        if self.pipeline.by_line:
            kept.add(LINE_BREAK)
        codes_kept = sorted(kept)
        vocabulary = Vocabulary(codes_kept, self.pipeline.units, self.pipeline.min_count > 1)
        if self.cache:
            try:
                self.cache.store(key, names, settings, codes_kept, self._ids(vocabulary))
                found = self.cache.load(key)
            except OSError as error:
                self.warnings.append(
                    f"{self.where} cannot be stored in the cache {self.cache.directory}: {reason(error)}"
                )
        if found:
            return found
        ids: Ids = np.empty(counter.units, vocabulary.dtype)
        filled = 0
        for piece in self._ids(vocabulary):
            ids[filled : filled + len(piece)] = piece
            filled += len(piece)
        return Encoded(ids, codes_kept)

    def _codes(self, what: str) -> Iterator[Ids]:
        return self.pipeline.codes(self.sources, lambda size: self.progress(what, size))

    def _ids(self, vocabulary: Vocabulary) -> Iterator[Ids]:
        return (vocabulary.encode(codes, self.where) for codes in self._codes("encoding"))

    def _check(self, units: int) -> None:
        """Raise `CorpusError` for a text that is too short to learn from."""
        what = "byte" if self.pipeline.units.is_byte else "character"
        if self.pipeline.by_line and units < 2:
            raise CorpusError(f"{self.where} contains no lines")
        if units == 0:
            raise CorpusError(f"{self.where} is empty")
        if units == 1:
            raise CorpusError(f"{self.where} holds one {what}; training needs at least two")
