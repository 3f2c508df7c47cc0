"""How much of what a model generates stands in the text that it was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

import numpy as np

from charlm.arrays import Ids
from charlm.data.lines import Text, blocks
from charlm.data.vocabulary import Vocabulary

STRETCH = 20
"""Characters of a stretch that is looked for."""


def shown_pieces(text: Text, vocabulary: Vocabulary) -> Iterator[str]:
    """A part of a corpus as a reader sees it, in pieces that end with a line break where there is one."""
    held: Ids = np.zeros(0, np.uint8)
    for block in blocks(text):
        held = np.concatenate([held, block])
        breaks = np.flatnonzero(held == vocabulary.line_break)
        cut = breaks[-1] + 1 if len(breaks) else len(held)
        yield vocabulary.text(held[:cut])
        held = held[cut:]
    yield vocabulary.text(held)


def lines_that_stand_in(pieces: Iterable[str], lines: Set[str]) -> set[str]:
    """Those of `lines` that are a line of the text."""
    found: set[str] = set()
    held = ""
    for piece in pieces:
        *whole, held = (held + piece).split("\n")
        found |= lines & set(whole)
    return found | (lines & {held} if held else set())


def stretches_that_stand_in(pieces: Iterable[str], stretches: Set[str], length: int = STRETCH) -> set[str]:
    """Those of `stretches`, all of that length, that stand somewhere in the text."""
    wanted = np.array([_hashes(stretch, length)[0] for stretch in stretches], np.uint64)
    found: set[str] = set()
    held = ""
    for piece in pieces:
        text = held + piece
        places = np.flatnonzero(np.isin(_hashes(text, length), wanted))
        # the same number does not make it the same stretch
        found |= stretches & {text[place : place + length] for place in places}
        held = text[max(0, len(text) - length + 1) :]
    return found


def stretches_of(text: str, length: int = STRETCH) -> list[str]:
    """Every stretch of that length, from left to right."""
    return [text[place : place + length] for place in range(len(text) - length + 1)]


def _hashes(text: str, length: int) -> Ids:
    """A number for every stretch of a text: its characters as digits, modulo 2^64."""
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    count = max(0, len(characters) - length + 1)
    hashes = np.zeros(count, np.uint64)
    for place in range(length):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes += characters[place : place + count]
    return hashes
