"""Which units of a model stand for which characters of a text, as it is in its file.

Letters: `N` units of a piece of text, `A` characters.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from charlm.arrays import Ids
from charlm.data.characters import Flags, code_points
from charlm.data.units import Units, folded

_SIGMAS = np.array([0x3C3, 0x3C2], np.uint32)
"""A small sigma, and that at the end of a word: which one a capital becomes depends on what follows."""

NOWHERE = -1
"""Stands for the unit of a limit at which the units of a text cannot be divided."""


def aligned(units: Units, text: str, limits: Ids) -> tuple[Ids, Ids]:
    """The codes `[N]` of a text, and for each of its limits `[A+1]` the index of the unit that follows.

    `limits` are indices of code points, the first 0 and the last the length. Where the codes of the
    text are not those of the two parts, as within what a normal form composes, the index is NOWHERE.
    """
    if units.is_byte:
        data = text.encode("utf-8", "surrogateescape")
        sizes = _utf8_sizes(code_points(text))
        if units.newlines == "lf":
            sizes[_dropped(code_points(text))] = 0
        return units.codes(data), np.concatenate([[0], np.cumsum(sizes)])[limits]
    codes = units.codes(text)
    if text.isascii() or (units.normalize == "none" and not units.lowercase):
        kept = np.ones(len(text), np.int64)
        if units.newlines == "lf":
            kept[_dropped(code_points(text))] = 0
        return codes, np.concatenate([[0], np.cumsum(kept)])[limits]
    return codes, _counted(units, text, limits, codes)


def _dropped(points: Ids) -> Flags:
    """Which code points `[N]` are carriage returns that a line feed follows."""
    dropped = np.zeros(len(points), np.bool)
    dropped[:-1] = (points[:-1] == ord("\r")) & (points[1:] == ord("\n"))
    return dropped


def _utf8_sizes(points: Ids) -> Ids:
    """The bytes of each code point `[N]` in UTF-8; of a byte that is none, kept as a surrogate, 1."""
    sizes = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    sizes[(points >= 0xDC80) & (points <= 0xDCFF)] = 1
    return sizes


def _counted(units: Units, text: str, limits: Ids, codes: Ids) -> Ids:
    """The unit at each limit, from the codes of each character; of a word where these do not add up."""
    pieces = [text[start:stop] for start, stop in zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True)]
    known = {piece: units.codes(piece) for piece in set(pieces)}
    edges = np.concatenate([[0], np.cumsum([len(known[piece]) for piece in pieces], dtype=np.int64)])
    joined = np.concatenate([np.zeros(0, np.uint32), *(known[piece] for piece in pieces)])
    if _alike(joined, codes):
        return edges
    words = [0, *(k + 1 for k, piece in enumerate(pieces) if folded(piece) in (" ", "\n")), len(pieces)]
    edges, before = np.full(len(limits), NOWHERE), 0
    for first, last in pairwise(words):
        word = "".join(pieces[first:last])
        whole = units.codes(word)
        for limit in range(first, last):
            inside = int(limits[limit] - limits[first])
            left = units.codes(word[:inside])
            if _alike(np.concatenate([left, units.codes(word[inside:])]), whole):
                edges[limit] = before + len(left)
        before += len(whole)
    edges[-1] = before
    return edges


def _alike(one: Ids, other: Ids) -> bool:
    """Whether two texts have the same codes, but for the form of a sigma."""
    if len(one) != len(other):
        return False
    differ = one != other
    return bool((np.isin(one[differ], _SIGMAS) & np.isin(other[differ], _SIGMAS)).all())


def in_common(edges: Sequence[Ids]) -> Flags:
    """At which of the limits `[A+1]` the units of every model can be divided."""
    common = np.ones(len(edges[0]), np.bool)
    for one in edges:
        common &= one != NOWHERE
    return common
