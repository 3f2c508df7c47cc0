"""A text as HTML in which every character can be seen, and is shaded by its surprise.

The fragments hold no script and load nothing. Everything from the text is escaped. Letters keep the
colour of the page; the shade is transparent, so that they can be read on a light page and on a dark one.
"""

import contextlib
import html
import math
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from charlm.arrays import Array, Ids
from charlm.data.units import LINE_BREAK, Units
from charlm.data.vocabulary import Vocabulary
from charlm.web.signs import standing_alone

MOST_BITS = 8.0
"""Bits of the darkest shade, and of everything above: a chance of 1 in 256."""

MOST_UNITS = 8
"""Most units of a character: 4 bytes, 3 jamo, or a letter with its accents."""

_COLOUR, _OPACITY = "230,80,30", 0.55
"""The shade, an orange, and the opacity of the darkest."""

_UNKNOWN = -1
"""Stands for the code of `<unk>`, which has none."""


class Shown(NamedTuple):
    """A character as a reader sees it."""

    sign: str
    """The text that is shown for it, not escaped."""
    units: slice
    """The units of the text that it is made of."""
    ends_line: bool
    """Whether a new line begins after it."""


def characters(vocabulary: Vocabulary, ids: Ids) -> Iterator[Shown]:
    """The units `[N]` of a text as the characters that a reader sees.

    The bytes of a character in UTF-8 are one, and so are units that compose: the jamo of a syllable, a
    letter and its accents. A unit of no character is shown alone: a byte as `0xe9`, others as
    `standing_alone` does.
    """
    codes, start = _codes(vocabulary, ids), 0
    while start < len(codes):
        sign, size = _first(vocabulary.units, codes[start : start + MOST_UNITS])
        yield Shown(sign, slice(start, start + size), codes[start] == LINE_BREAK)
        start += size


def signs(vocabulary: Vocabulary, ids: Ids) -> list[str]:
    """The text that is shown for each of the units `[N]` alone."""
    return [_first(vocabulary.units, [code])[0] for code in _codes(vocabulary, ids)]


def _first(units: Units, codes: Sequence[int]) -> tuple[str, int]:
    """The sign of the first character of `codes`, and the number of its units."""
    if codes[0] == _UNKNOWN:
        return "<unk>", 1
    if units.is_byte:
        for size in range(1, 5):
            with contextlib.suppress(ValueError):  # not UTF-8, or <unk>
                return standing_alone(bytes(codes[:size]).decode()), size
        return f"0x{codes[0]:02x}", 1
    character, size = chr(codes[0]), 1
    while units.composes and size < len(codes) and codes[size] != _UNKNOWN:
        joined = unicodedata.normalize("NFC", character + chr(codes[size]))
        if len(joined) > 1:
            break
        character, size = joined, size + 1
    return standing_alone(character), size


def _codes(vocabulary: Vocabulary, ids: Ids) -> list[int]:
    codes: list[int] = np.append(vocabulary.codes.astype(np.int64), _UNKNOWN)[ids].tolist()
    return codes


def shade(bits: float) -> str:
    """The style of a character with so many bits; 0 leaves it as it is."""
    return f"background-color:rgba({_COLOUR},{_OPACITY * min(1.0, max(0.0, bits / MOST_BITS)):.2f})"


def span(sign: str, title: str, bits: float, ends_line: bool = False) -> str:
    """A character as HTML, shaded by its bits; a line break shows its sign, then breaks the line."""
    text = html.escape(sign) + "\n" * ends_line
    return f'<span title="{html.escape(title)}" style="{shade(bits)}">{text}</span>'


def shaded(vocabulary: Vocabulary, ids: Ids, bits: Array) -> str:
    """A text `[N]`, each character shaded by the sum of the bits `[N]` of its units.

    Units that are not predicted have NaN bits. The title of a character gives its bits, and the bits of
    each of its units where there are several.
    """
    each = list(zip(signs(vocabulary, ids), bits.tolist(), strict=True))
    spans = []
    for sign, units, ends_line in characters(vocabulary, ids):
        # the loss of a certain unit may round to -1e-17
        predicted = [(name, max(0.0, one)) for name, one in each[units] if not math.isnan(one)]
        total = sum(one for _, one in predicted)
        title = f"{total:.2f} bits" if predicted else "not predicted: it is the first"
        if len(predicted) > 1:
            title += ": " + ", ".join(f"{name} {one:.2f}" for name, one in predicted)
        spans.append(span(sign, title, total, ends_line))
    style = "white-space:pre-wrap;overflow-wrap:anywhere;font-family:monospace;line-height:1.6;margin:.5em 0"
    return f'<div dir="auto" style="{style}">{"".join(spans)}</div>'


def legend() -> str:
    """The meaning of the shades."""
    shades = " ".join(span(f" {bits} ", f"{bits} bits", bits) for bits in (0, 2, 4, 6, 8))
    return f"<div>bits: {shades} and more</div>"
