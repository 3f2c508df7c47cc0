"""The characters that a reader sees, and white space, in a text as it stands in its file.

A character is an extended grapheme cluster of Unicode (UAX #29): a letter with its combining marks, a
syllable of jamo, an emoji with its modifiers, a flag, a carriage return with its line feed. Python's
`unicodedata` has no property for their limits. They are derived from the categories, and in doubt two
code points stay together.

Letters: `N` code points of a text, `A` characters.
"""

import unicodedata

import numpy as np
import numpy.typing as npt

from charlm.arrays import Ids

Flags = npt.NDArray[np.bool]

_SPACES = np.array([c for c in range(0x3001) if chr(c).isspace() and not 0x1C <= c <= 0x1F], np.uint32)
"""The code points with the property White_Space: what Python calls so, without the four separators."""

_CR, _LF, _ZWJ = 0x0D, 0x0A, 0x200D

_OTHER, _EXTENDS, _JOINER, _PICTURE, _FLAG, _PREFIX, _CONTROL, _LINKER, _CONSONANT = range(9)
_L, _V, _T, _LV, _LVT = range(9, 14)

_PICTURES = (0x203C, 0x2049, 0x2139, 0x3030, 0x303D)
"""Pictographs whose category does not say so."""

_PREFIXES = (
    *(*range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x0D4E, 0x110BD, 0x110CD),
    *(0x111C2, 0x111C3, 0x1193F, 0x11941, *range(0x11A84, 0x11A8A), 0x11D46),
)
"""Code points that belong to the character after them (Prepend)."""

_SCRIPTS_WITH_CONJUNCTS = (0x0900, 0x0980, 0x0A80, 0x0B00, 0x0C00, 0x0D00)
"""First code points of Devanagari, Bengali, Gujarati, Oriya, Telugu and Malayalam: 128 each."""


def code_points(text: str) -> Ids:
    """The code points `[N]` of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def is_space(points: Ids) -> Flags:
    """Which code points `[N]` are white space by Unicode."""
    return np.isin(points, _SPACES)


def limits(text: str) -> Ids:
    """The limits `[A+1]` of the characters of a text, as indices of code points; 0 alone if it is empty."""
    points = code_points(text)
    begins = np.ones(len(points) + 1, np.bool)
    begins[1:-1] = ~((points[:-1] == _CR) & (points[1:] == _LF))
    if len(points) and points.max() >= 0x300:  # below it, nothing else belongs together
        begins[1:-1] &= ~_joined(points)
    return np.flatnonzero(begins) if len(points) else np.zeros(1, np.int64)


def _joined(points: Ids) -> Flags:
    """Which code points but the first, `[N-1]`, belong to the character of the one before."""
    unique, places = np.unique(points, return_inverse=True)
    kinds = np.array([_kind(point) for point in unique.tolist()])[places]
    before, here = kinds[:-1], kinds[1:]
    joined: Flags = np.isin(here, (_EXTENDS, _JOINER, _LINKER)) & (before != _CONTROL)
    joined |= (before == _PREFIX) & (here != _CONTROL)
    joined |= (before == _JOINER) & (here == _PICTURE)
    if (kinds == _LINKER).any():  # a conjunct: marks may stand around the sign that links its consonants
        index = np.arange(len(points))
        linked = np.maximum.accumulate(np.where(kinds == _LINKER, index, -1))
        letter = np.maximum.accumulate(np.where(np.isin(kinds, (_EXTENDS, _JOINER, _LINKER)), -1, index))
        joined |= (linked > letter)[:-1] & (here == _CONSONANT)
    joined |= (before == _L) & np.isin(here, (_L, _V, _LV, _LVT))
    joined |= np.isin(before, (_LV, _V)) & np.isin(here, (_V, _T))
    joined |= np.isin(before, (_LVT, _T)) & (here == _T)
    if (kinds == _FLAG).any():  # two letters are a flag: the second of each pair belongs to the first
        is_flag = kinds == _FLAG
        index = np.arange(len(points))
        since = index - np.maximum.accumulate(np.where(is_flag, -1, index))
        joined |= (is_flag & (since % 2 == 0) & (since > 0))[1:]
    return joined


def _kind(point: int) -> int:
    """How a code point joins its neighbours."""
    category = unicodedata.category(chr(point))
    if point == _ZWJ:
        return _JOINER
    if point in _PREFIXES:
        return _PREFIX
    if point & ~0x7F in _SCRIPTS_WITH_CONJUNCTS:
        if unicodedata.combining(chr(point)) == 9:
            return _LINKER
        if category == "Lo":
            return _CONSONANT
    if category in ("Mn", "Mc", "Me") or point in (0x200C, 0x0E33, 0x0EB3, 0xFF9E, 0xFF9F):
        return _EXTENDS
    if 0x1F3FB <= point <= 0x1F3FF or 0xE0020 <= point <= 0xE007F:
        return _EXTENDS
    if 0x1F1E6 <= point <= 0x1F1FF:
        return _FLAG
    if category in ("Cc", "Cf", "Zl", "Zp"):
        return _CONTROL
    if category in ("So", "Sm") or 0x1F000 <= point <= 0x1FAFF or point in _PICTURES:
        return _PICTURE
    return _hangul(point)


def _hangul(point: int) -> int:
    """The kind of a jamo or syllable."""
    if 0x1100 <= point <= 0x115F or 0xA960 <= point <= 0xA97C:
        return _L
    if 0x1160 <= point <= 0x11A7 or 0xD7B0 <= point <= 0xD7C6:
        return _V
    if 0x11A8 <= point <= 0x11FF or 0xD7CB <= point <= 0xD7FB:
        return _T
    if 0xAC00 <= point <= 0xD7A3:
        return _LVT if (point - 0xAC00) % 28 else _LV
    return _OTHER
