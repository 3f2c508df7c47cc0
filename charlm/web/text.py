"""A text as HTML in which every character can be seen, and is shaded by how much it surprises.

The fragments hold no script and load nothing. Everything from the text is escaped. Letters keep the
colour that the page gives them; the shade is transparent, so that they can be read on a light page
and on a dark one.
"""

from __future__ import annotations

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

_COLOUR, _OPACITY = "230,80,30", 0.55
"""The shade, an orange, and how opaque the darkest is."""

_UNKNOWN = -1
"""In the place of the code of `<unk>`, which has none."""


class Shown(NamedTuple):
    """A character as a reader sees it."""

    sign: str
    """What is shown for it, which is not escaped yet."""
    units: slice
    """The units of the text that it is made of."""
    ends_line: bool
    """Whether a new line begins after it."""


def characters(vocabulary: Vocabulary, ids: Ids) -> Iterator[Shown]:
    """The units `[N]` of a text as the characters that a reader sees.

    The bytes of a character in UTF-8 are one, and so are units that compose: the jamo of a
    syllable, a letter and its accents. What is part of no character is shown alone: a byte as
    `0xe9`, the others as `standing_alone` does.
    """
    codes, start = _codes(vocabulary, ids), 0
    while start < len(codes):
        sign, size = _first(vocabulary.units, codes[start : start + MOST_UNITS])
        yield Shown(sign, slice(start, start + size), codes[start] == LINE_BREAK)
        start += size


MOST_UNITS = 8
"""Units of a character at most: 4 bytes, 3 jamo, or a letter with its accents."""


def _first(units: Units, codes: Sequence[int]) -> tuple[str, int]:
    """What is shown for the first character of `codes`, and how many of them it is made of."""
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


def signs(vocabulary: Vocabulary, ids: Ids) -> list[str]:
    """What is shown for each of the units `[N]` by itself."""
    return [_first(vocabulary.units, [code])[0] for code in _codes(vocabulary, ids)]


def _codes(vocabulary: Vocabulary, ids: Ids) -> list[int]:
    codes: list[int] = np.append(vocabulary.codes.astype(np.int64), _UNKNOWN)[ids].tolist()
    return codes


def shade(bits: float) -> str:
    """The style of a character that surprises by so many bits: 0 leaves it as it is."""
    opacity = _OPACITY * min(1.0, max(0.0, bits / MOST_BITS))
    return f"background-color:rgba({_COLOUR},{opacity:.2f})"


def span(sign: str, title: str, style: str, ends_line: bool = False) -> str:
    """A character as HTML; a line break shows its sign, then breaks the line."""
    end = "\n" if ends_line else ""
    return f'<span title="{html.escape(title)}" style="{html.escape(style)}">{html.escape(sign)}{end}</span>'


def shaded(vocabulary: Vocabulary, ids: Ids, bits: Array) -> str:
    """A text `[N]`, each character shaded by the bits `[N]` of its units together.

    Units that are not predicted have NaN. The title of a character gives its bits, and those of
    each of its units where there are several.
    """
    each = list(zip(signs(vocabulary, ids), bits.tolist(), strict=True))
    spans = []
    for sign, units, ends_line in characters(vocabulary, ids):
        # a certain unit may have a loss of -1e-17
        predicted = [(name, max(0.0, one)) for name, one in each[units] if not math.isnan(one)]
        total = sum(one for _, one in predicted)
        title = f"{total:.2f} bits" if predicted else "not predicted: it is the first"
        if len(predicted) > 1:
            title += ": " + ", ".join(f"{name} {one:.2f}" for name, one in predicted)
        spans.append(span(sign, title, shade(total), ends_line))
    style = "white-space:pre-wrap;overflow-wrap:anywhere;font-family:monospace;line-height:1.6;margin:.5em 0"
    return f'<div dir="auto" style="{style}">{"".join(spans)}</div>'


def legend() -> str:
    """What the shades mean."""
    steps = (0, 2, 4, 6, 8)
    shades = " ".join(span(f" {step} ", f"{step} bits", shade(step)) for step in steps)
    return f"<div>bits: {shades} and more</div>"
