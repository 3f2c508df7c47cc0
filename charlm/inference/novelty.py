"""How much of what a model generates occurs in the text that it was trained on."""

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Ids
from charlm.config.build import build_corpus
from charlm.data.corpus import Progress, nothing
from charlm.data.texts import Text
from charlm.data.vocabulary import Vocabulary
from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import CorpusError
from charlm.system.files import STANDARD_INPUT

STRETCH = 20
"""Characters of a stretch that is looked for."""


@dataclass(frozen=True)
class Novelty:
    """How many of the lines or stretches of a text occur in the training text."""

    count: int
    """Lines or stretches that were looked for."""
    known: int
    """Lines or stretches that occur."""
    cut_off: int = 0
    """Unfinished lines, which were not looked for."""


def compare(checkpoint: Checkpoint, samples: Sequence[str], progress: Progress = nothing) -> Novelty:
    """Look for generated samples in the training text of a checkpoint.

    For a model of lines, whole lines with their line break are looked for; for others, every stretch
    of `STRETCH` characters.

    Raises `CorpusError` if the text cannot be read again, or the samples are too short.
    """
    config = checkpoint.config.corpus
    if STANDARD_INPUT in config.paths:
        raise CorpusError("the training text came from standard input")
    corpus, _ = build_corpus(config, checkpoint.vocabulary, checkpoint.corpus["digest"], progress)
    pieces = shown_pieces(corpus.part("train"), checkpoint.vocabulary)
    if config.mode == "lines":
        lines = [sample.removesuffix("\n") for sample in samples if sample.endswith("\n")]
        known = known_lines(pieces, set(lines))
        return Novelty(len(lines), sum(line in known for line in lines), len(samples) - len(lines))
    stretches = [stretch for sample in samples for stretch in stretches_of(sample)]
    if not stretches:
        raise CorpusError(f"the sample is shorter than {STRETCH} characters")
    known = known_stretches(pieces, set(stretches))
    return Novelty(len(stretches), sum(stretch in known for stretch in stretches))


def shown_pieces(text: Text, vocabulary: Vocabulary) -> Iterator[str]:
    """A part of a corpus as a reader sees it, in pieces that end with a line break where there is one."""
    rest: Ids = np.zeros(0, np.uint8)
    for block in text.blocks():
        ids = np.concatenate([rest, block])
        breaks = np.flatnonzero(ids == vocabulary.line_break)
        cut = breaks[-1] + 1 if len(breaks) else len(ids)
        yield vocabulary.text(ids[:cut])
        rest = ids[cut:]
    yield vocabulary.text(rest)


def known_lines(pieces: Iterable[str], lines: Set[str]) -> set[str]:
    """Members of `lines` that are a line of the text."""
    known: set[str] = set()
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        known |= lines & set(whole)
    return known | (lines & {rest} if rest else set())


def known_stretches(pieces: Iterable[str], stretches: Set[str], length: int = STRETCH) -> set[str]:
    """Members of `stretches`, all of this length, that occur in the text."""
    wanted = np.array([_hashes(stretch, length)[0] for stretch in stretches], np.uint64)
    known: set[str] = set()
    rest = ""
    for piece in pieces:
        text = rest + piece
        places = np.flatnonzero(np.isin(_hashes(text, length), wanted))
        # stretches with the same hash may differ
        known |= stretches & {text[place : place + length] for place in places}
        rest = text[max(0, len(text) - length + 1) :]
    return known


def stretches_of(text: str, length: int = STRETCH) -> list[str]:
    """Every stretch of that length, from left to right."""
    return [text[place : place + length] for place in range(len(text) - length + 1)]


def _hashes(text: str, length: int) -> Ids:
    """A hash of every stretch of a text: its characters as digits, modulo 2^64."""
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    count = max(0, len(characters) - length + 1)
    hashes = np.zeros(count, np.uint64)
    for place in range(length):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes += characters[place : place + count]
    return hashes
