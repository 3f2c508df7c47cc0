"""A corpus: files read, encoded, and split into training, validation and test."""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from charlm.arrays import Ids
from charlm.data.cache import Cache, Encoded
from charlm.data.reader import TextPipeline, remarks
from charlm.data.sources import Source, digest
from charlm.data.texts import Lines, Text, boundaries, text_of
from charlm.data.units import LINE_BREAK
from charlm.data.vocabulary import Numbering, Vocabulary, translated
from charlm.system.errors import ChangedError, CorpusError
from charlm.system.files import os_errors_as, reason

SPLITS = ("train", "validation", "test")
"""The splits of a corpus, in text order."""

Progress = Callable[[str, int], None]
"""Called with the current activity and the number of bytes, or units, just processed."""


@dataclass(frozen=True)
class Corpus:
    """An encoded text with its splits; the validation and the test split may be separate texts."""

    ids: Ids
    """`[N]`, the whole text, without separate texts."""
    vocabulary: Vocabulary
    split: tuple[float, float, float]
    """Fractions of `ids` for training, validation and test; 0 for a split with a separate text."""
    digest: str
    """SHA-256 in hexadecimal of all files, including the separate texts (see `sources.digest`)."""
    by_line: bool = False
    """Whether each line is a separate example; `whole` and `part` are then `Lines`."""
    warnings: tuple[str, ...] = ()
    """Warnings from reading the files."""
    separate: Mapping[str, Corpus] = field(default_factory=dict)
    """The separate texts, in the same vocabulary, by the name of the split."""

    @functools.cached_property
    def whole(self) -> Text:
        """The whole text."""
        return text_of(self.ids, self.by_line)

    def part(self, name: str | None) -> Text:
        """The split `train`, `validation` or `test`, or the whole text if `name` is None.

        The splits of a stream are contiguous, in this order, and complete. Each line is in exactly
        one split. A split with a separate text is the whole of that text.
        """
        if name is None:
            return self.whole
        if name in self.separate:
            return self.separate[name].whole
        return self._parts[SPLITS.index(name)]

    def edges(self, name: str) -> tuple[int, int]:
        """Begin and end of a split of a stream, as indices into `ids`; no units if its text is separate."""
        number = SPLITS.index(name)
        edges = boundaries(len(self.ids), self.split)
        return edges[number], edges[number + 1]

    def with_split(self, split: Sequence[float]) -> Corpus:
        """The same texts with other fractions; the fraction of a separate text goes to training."""
        return replace(self, split=own_shares(split, self.separate))

    def usable(self, name: str) -> bool:
        """Whether a split has something to predict: a line, or at least two units."""
        return self.part(name).targets > 0

    def repeated_lines(self) -> dict[str, int]:
        """Number of lines that are also in the training split, for each other split with any."""
        parts = {name: part for name in SPLITS if isinstance(part := self.part(name), Lines)}
        hashes = {name: part.hashes() for name, part in parts.items()}
        counts = {name: int(np.isin(hashes[name], hashes["train"]).sum()) for name in hashes}
        return {name: count for name, count in counts.items() if count and name != "train"}

    def __reduce__(self) -> tuple[type[Corpus], tuple[Any, ...]]:
        """A copy, pickled or not, has the text once: its splits are made again."""
        return Corpus, tuple(vars(self)[part.name] for part in fields(self))

    @functools.cached_property
    def _parts(self) -> list[Text]:
        return self.whole.split(self.split)


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
    separate: Mapping[str, Sequence[Source]] | None = None,
) -> Corpus:
    """Read a corpus; unless `vocabulary` is given, it is built from all of `sources`.

    The vocabulary covers all splits of `sources`, so none of these holds an unknown unit, except
    units rarer than `min_count` of the pipeline. With a cache, the encoded text is stored there if
    it is missing, and mapped into memory. `separate` has the files of each split that is a separate
    text; the fraction of such a split goes to training.

    Raises `CorpusError` if a file cannot be read or decoded, changes while it is read, or is too
    short to learn from or to score; `ChangedError` if the digest is not `expected`; and
    `VocabularyError` if the vocabulary that is given, or is built, lacks a unit of a text and has
    no `<unk>`.
    """
    reading = _Reading(sources, pipeline, cache, progress)
    others = {
        name: _Reading(files, pipeline, cache, progress, f"{name} text")
        for name, files in (separate or {}).items()
    }
    readings = (reading, *others.values())
    if expected is not None:
        for each in readings:
            each.examine()
        if _digest_with(reading, others) != expected:
            where = " or ".join(each.where for each in readings)
            raise ChangedError(f"{where} has changed since the model was trained on it")
    if vocabulary is None:
        encoded = reading.encoded(pipeline.min_count)
        if set(encoded.codes) <= ({LINE_BREAK} if pipeline.by_line else set()):
            raise CorpusError(
                f"{reading.where}: nothing occurs {pipeline.min_count} times: lower corpus.min_count"
            )
        ids, vocabulary = encoded.ids, pipeline.vocabulary(encoded.codes)
    else:
        ids = reading.ids_in(vocabulary)
    texts = {
        name: Corpus(other.ids_in(vocabulary), vocabulary, (1.0, 0.0, 0.0), other.sha256, pipeline.by_line)
        for name, other in others.items()
    }
    for each in readings:
        each.check_unchanged()
    warnings = dict.fromkeys(warning for each in readings for warning in each.warnings)
    shares, sha256 = own_shares(split, texts), _digest_with(reading, others)
    return Corpus(ids, vocabulary, shares, sha256, pipeline.by_line, tuple(warnings), texts)


def _digest_with(reading: _Reading, others: Mapping[str, _Reading]) -> str:
    """The digest of a text, or of it and the separate texts by their names."""
    return digest([reading.sha256, *(f"{name} {others[name].sha256}" for name in sorted(others))])


def own_shares(split: Sequence[float], separate: Iterable[str]) -> tuple[float, float, float]:
    """The fractions of a text; training takes the fractions of splits that are `separate` texts."""
    shares = dict(zip(SPLITS, split, strict=True))
    for name in separate:
        shares["train"] += shares[name]
        shares[name] = 0.0
    return shares["train"], shares["validation"], shares["test"]


class _Reading:
    """One text on its way from the files, or from the cache, to ids."""

    def __init__(
        self,
        sources: Sequence[Source],
        pipeline: TextPipeline,
        cache: Cache | None,
        progress: Progress,
        name: str = "text",
    ) -> None:
        """`name` stands for a text of several files in messages."""
        self.sources, self.pipeline = sources, pipeline
        self.cache, self.progress = cache, progress
        self.stamps = [source.stamp() for source in sources]
        self.sha256 = ""
        """The digest of the files, once they have been read."""
        self.where = str(sources[0]) if len(sources) == 1 else f"the {name} of {len(sources)} files"
        self.warnings: list[str] = []
        if not pipeline.units.is_byte:
            self.warnings += [remark for source in sources for remark in remarks(source, pipeline.encoding)]

    def ids_in(self, vocabulary: Vocabulary) -> Ids:
        """The text `[N]`, encoded with a given vocabulary; raises `VocabularyError` as `recode` does."""
        encoded = self.encoded(self.pipeline.min_count)
        if vocabulary == self.pipeline.vocabulary(encoded.codes):
            return encoded.ids
        if self.pipeline.min_count > 1:  # the given vocabulary may hold units that are rare in this text
            encoded = self.encoded(1)
        return vocabulary.recode(encoded.ids, np.array(encoded.codes, np.uint32), self.where)

    def check_unchanged(self) -> None:
        """Raise `CorpusError` if a file has changed since reading began."""
        if self.stamps != [source.stamp() for source in self.sources]:
            raise CorpusError(f"{self.where} changed while it was being read")

    def examine(self) -> None:
        """Read the files as they are stored, for their digest."""
        for source in self.sources:
            for _ in source.blocks(lambda size: self.progress("looking at", size), unpacked=False):
                pass
        self.sha256 = self._digest()

    def _digest(self) -> str:
        return digest([source.sha256 for source in self.sources])

    def encoded(self, min_count: int) -> Encoded:
        """The text, encoded with the vocabulary of all that occurs at least `min_count` times.

        The files are read once: as they are stored, for their digest, if the cache may have the text,
        and otherwise to encode them.
        """
        pipeline = replace(self.pipeline, min_count=min_count)
        settings = asdict(pipeline)
        # the same bytes may be packed or plain; normal forms depend on the version of Unicode
        files = [[source.packing, size] for source, (size, _) in zip(self.sources, self.stamps, strict=True)]
        identity = json.dumps([files, settings, unicodedata.unidata_version], sort_keys=True)
        kind = hashlib.sha256(identity.encode("ascii")).hexdigest()[:16]
        if self.cache:
            if self.cache.may_hold(kind):
                if not self.sha256:
                    self.examine()
                if entry := self.cache.load(f"{kind}-{self.sha256}"):
                    return entry
            try:
                return self._encoded(self.cache, kind, pipeline)
            except OSError as error:
                self.warnings.append(
                    f"{self.where} cannot be stored in the cache {self.cache.directory}: {reason(error)}"
                )
        with (
            os_errors_as(CorpusError, f"{self.where} cannot be put into a temporary file"),
            # Windows cannot remove a file that is mapped
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory,
        ):
            return self._encoded(Cache(Path(directory)), kind, pipeline)

    def _encoded(self, cache: Cache, kind: str, pipeline: TextPipeline) -> Encoded:
        """The text, read from its files and stored in a cache.

        Codes are numbered by first occurrence while the files are read; their ids are known when all
        codes are.
        """
        numbering, pieces = Numbering(), []
        with cache.spool() as spool:
            for codes in pipeline.codes(self.sources, lambda size: self.progress("reading", size)):
                numbers = numbering.add(codes)
                spool.write(numbers.data)
                pieces.append((numbers.dtype, numbers.nbytes))
            size = numbering.counts.sum()
            if pipeline.by_line and size < 2:
                raise CorpusError(f"{self.where} contains no lines")
            if size < 2:
                one = f"holds one {'byte' if pipeline.units.is_byte else 'character'}; it takes at least two"
                raise CorpusError(f"{self.where} {one if size else 'is empty'}")
            is_kept = numbering.counts >= pipeline.min_count
            if pipeline.by_line:
                is_kept |= numbering.codes == LINE_BREAK
            vocabulary = pipeline.vocabulary(numbering.codes[is_kept])
            places = vocabulary.places(numbering.codes)
            spool.seek(0)
            ids = (translated(np.frombuffer(spool.read(size), dtype), places) for dtype, size in pieces)
            self.sha256 = self._digest()
            names = [source.name for source in self.sources]
            return cache.store(
                f"{kind}-{self.sha256}", names, asdict(pipeline), vocabulary.codes.tolist(), ids
            )
