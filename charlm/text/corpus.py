"""A corpus: a file read, encoded, and split into training, validation and test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import CorpusError
from charlm.files import reason
from charlm.nn.parameters import Ids
from charlm.text.units import Units
from charlm.text.vocabulary import Vocabulary

SPLITS = ("train", "validation", "test")
"""The parts of a corpus, in the order in which they lie in it."""


@dataclass(frozen=True)
class Corpus:
    """An encoded text with its parts."""

    ids: Ids
    """`[N]`, the whole text."""
    vocabulary: Vocabulary
    split: tuple[float, float, float]
    """Shares of training, validation and test."""
    digest: str
    """SHA-256 of the file, in hexadecimal."""

    def part(self, name: str) -> Ids:
        """The ids of `train`, `validation` or `test`: contiguous, in this order, nothing left out."""
        number = SPLITS.index(name)
        start, stop = (self._boundary(k) for k in (number, number + 1))
        return self.ids[start:stop]

    def _boundary(self, parts: int) -> int:
        """Where the first so many parts end: the text's share of them, rounded down."""
        share = sum(self.split[:parts]) / sum(self.split)
        # rounded first, so that 0.7 + 0.1 = 0.7999… does not lose a character
        return int(round(len(self.ids) * share, 6))

    def usable(self, name: str) -> bool:
        """Whether a part has something to predict: two units at least."""
        return len(self.part(name)) >= 2


def read_bytes(path: Path) -> bytes:
    """The contents of a text file; raises `CorpusError` naming it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"text {path} cannot be read: {reason(error)}") from error


def read_corpus(
    path: Path, units: Units, split: Sequence[float], vocabulary: Vocabulary | None = None
) -> Corpus:
    """Read a corpus; its vocabulary is that of the whole file unless one is given.

    The vocabulary covers all parts, so that no part holds an unknown character. Raises
    `CorpusError` if the file cannot be read, is not UTF-8, or is too short to learn from, and
    `VocabularyError` if a given vocabulary lacks a character.
    """
    data = read_bytes(path)
    if not data:
        raise CorpusError(f"text {path} is empty")
    codes = units.of_bytes(data, f"text {path}")
    what = "byte" if units.unit == "byte" else "character"
    if len(codes) < 2:
        raise CorpusError(
            f"text {path} holds one {what}; it takes two at least, one to predict the other from"
        )
    if vocabulary is None:
        vocabulary = Vocabulary.of(codes, units)
    ids = vocabulary.encode(codes, f"text {path}")
    train, validation, test = split
    return Corpus(ids, vocabulary, (train, validation, test), hashlib.sha256(data).hexdigest())
