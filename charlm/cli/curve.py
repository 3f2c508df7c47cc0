"""A small curve in characters, for the end of a run on a terminal."""

from collections.abc import Sequence
from itertools import pairwise

from charlm.cli.show import decimal, short

_FEWEST = 3
"""Points that are worth a curve."""

_WIDTH, _HEIGHT = 60, 5
"""Most characters of a line, and lines of the curve itself."""

_NARROWEST = 20
"""Characters of the curve itself below which there is none."""

_Bits = tuple[tuple[int, ...], ...]

_BRAILLE: _Bits = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of the dots of a character, in rows from above."""

_HALVES: _Bits = ((1,), (2,))
"""Likewise where there is no braille: the upper and the lower half."""


def validation_curve(points: Sequence[tuple[float, float]], encoding: str, columns: int) -> list[str]:
    """Validation losses in nats, by epoch, as lines of text; none if there are too few.

    The lines have fewer than `columns` characters. They are braille if `encoding` has it, else ASCII.
    """
    if len(points) < _FEWEST:
        return []
    epochs, losses = zip(*points, strict=True)
    best = min(range(len(losses)), key=losses.__getitem__)
    labels = [decimal(max(losses)), *[""] * (_HEIGHT - 2), decimal(losses[best])]
    margin = max(map(len, labels))
    width = min(_WIDTH, columns - 1) - margin - 1
    if width < _NARROWEST:
        return []
    first, last = f"epoch {short(epochs[0])}", short(epochs[-1])
    return [
        "validation loss in nats per character",
        *(
            f"{label:>{margin}} {line}".rstrip()
            for label, line in zip(labels, _drawn(epochs, losses, width, encoding), strict=True)
        ),
        f"{'':{margin}} {first}{last:>{width - len(first)}}",
        f"first {decimal(losses[0])}, best {decimal(losses[best])} (epoch {short(epochs[best])}), "
        f"last {decimal(losses[-1])}",
    ]


def _drawn(x: Sequence[float], y: Sequence[float], width: int, encoding: str) -> list[str]:
    """The line through points with rising x, in `_HEIGHT` rows of `width` characters."""
    try:
        chr(0x28FF).encode(encoding)
        dots, characters = _BRAILLE, [" ", *map(chr, range(0x2801, 0x2900))]
    except (UnicodeEncodeError, LookupError):
        dots, characters = _HALVES, list(" '.:")
    down, across = len(dots), len(dots[0])
    columns = _scaled(x, width * across)
    rows = _scaled([-value for value in y], _HEIGHT * down)
    cells = [[0] * width for _ in range(_HEIGHT)]
    for (column, row), (to_column, to_row) in pairwise(zip(columns, rows, strict=True)):
        steps = max(abs(to_column - column), abs(to_row - row), 1)
        for step in range(steps + 1):
            i = round(row + (to_row - row) * step / steps)
            j = round(column + (to_column - column) * step / steps)
            cells[i // down][j // across] |= dots[i % down][j % across]
    return ["".join(characters[cell] for cell in line) for line in cells]


def _scaled(values: Sequence[float], places: int) -> list[int]:
    """Each value's place between the lowest, 0, and the highest, the last; 0 if all are equal."""
    low, range_ = min(values), max(values) - min(values)
    return [round((value - low) / range_ * (places - 1)) if range_ else 0 for value in values]
