"""Small pictures as SVG, in the colours of the page that holds them."""

from collections.abc import Sequence
from html import escape

import numpy as np

from charlm.arrays import Array
from charlm.inference.gradient_flow import DECADES

_QUIET = "var(--quiet)"
"""The colour of the text beside a picture."""

_STATES, _LAYERS = ("var(--accent)", "light-dark(#2f66b0, #86b4ee)"), ("none", "7 4", "2 3", "9 3 2 3")
"""The colours of states, and the dashes of layers."""

_LINE = 18.0
"""Distance between two lines of text."""

_BARS = 10
"""Bars that fill the width of a picture; pictures of fewer bars have the same scale."""

_MAP, _MARGIN = 860.0, 34.0
"""Width of a map, and the space around its points."""

MARKS = {
    "vowel": (36, "#c4551a"),
    "consonant": (4, "#3d7ab8"),
    "final consonant": (5, "#7d6bb8"),
    "letter": (8, _QUIET),
    "digit": (6, "#2b8a68"),
    "punctuation": (3, "#a0792a"),
    "first byte": (8, "#7d6bb8"),
    "following byte": (5, "#a0792a"),
    "other": (0, ""),
}
"""The mark around each kind of unit: the corners of a polygon, of which 0 is none, and its colour."""


def figure(width: float, height: float, label: str, parts: Sequence[str], kind: str = "") -> str:
    """An SVG element of a CSS class `kind`; screen readers read out the `label`."""
    return (
        f'<svg class="{kind}" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {width:g} {height:g}">{"".join(parts)}</svg>'
    )


def text(
    x: float, y: float, words: str, colour: str = "var(--ink)", anchor: str = "middle", size: float = 12
) -> str:
    """A text whose baseline is at `(x, y)`."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:g}" fill="{colour}">'
        f"{escape(words)}</text>"
    )


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    """A thin straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="var(--line)"/>'


def number(value: float, decimals: int = 2) -> str:
    """A number of at least 0 with these decimals, or with two digits if the decimals would show fewer."""
    return f"{value:.{decimals}f}" if value == 0 or value >= 10.0 ** (1 - decimals) else f"{value:.2g}"


def bars(rows: Sequence[tuple[str, float, int]], label: str) -> str:
    """Upright bars of mean bits from zero; each row has the name below, the mean, and the count behind it."""
    width, height, head = 46.0, 110.0, 18.0
    foot, largest = head + height, max(mean for _, mean, _ in rows) or 1.0
    parts = [line(0, foot, width * len(rows), foot)]
    for k, (name, mean, count) in enumerate(rows):
        middle, tall = width * (k + 0.5), height * mean / largest
        parts.append(
            f"<g><title>{name}: {number(mean, 3)} bits, mean of {count:,}</title>"
            f'<rect x="{middle - 14:.1f}" y="{foot - tall:.1f}" width="28" height="{tall:.1f}" '
            f'fill="var(--accent)" fill-opacity="0.55"/>{text(middle, foot - tall - 5, number(mean))}'
            f"{text(middle, foot + 15, name, _QUIET)}</g>"
        )
    words = "; ".join(f"{name}: {number(mean)}" for name, mean, _ in rows)
    return figure(width * max(_BARS, len(rows)), foot + 20, f"{label}. {words}", parts)


def flow(names: Sequence[str], norms: Array, label: str) -> str:
    """Lines `[L, S, K+1]` over k on the logarithmic axis of DECADES, with `names [L·S]` at their ends.

    Each state has a colour, and each layer a line style.
    """
    left, right, head, foot, (low, high) = 44.0, 400.0, 12.0, 212.0, DECADES
    K = norms.shape[-1] - 1
    x = np.linspace(left, right, K + 1)
    exponents = np.log10(norms.reshape(len(names), -1).clip(10.0**low, 10.0**high))
    y = head + (foot - head) * (high - exponents) / (high - low)  # [L·S, K+1]
    parts = []
    for exponent in range(low, high + 1, 2):
        height = head + (foot - head) * (high - exponent) / (high - low)
        label_of_line = f"1e{exponent}" if exponent else "1"
        parts.append(line(left, height, right, height))
        parts.append(text(left - 8, height + 4, label_of_line, _QUIET, "end"))
    for k in sorted({round(K * part / 5) for part in range(6)}):
        parts.append(text(x[k], foot + 18, str(k), _QUIET))
    parts.append(text((left + right) / 2, foot + 38, "steps back", _QUIET))
    looks = [
        (_STATES[state % len(_STATES)], _LAYERS[layer % len(_LAYERS)])
        for layer, state in np.ndindex(norms.shape[:2])
    ]
    for row, (colour, dashes) in zip(y.tolist(), looks, strict=True):
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), row, strict=True))
        style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"'
        parts.append(f'<polyline points="{points}" {style}/>')
    order = np.argsort(y[:, -1], kind="stable")
    for place, n in zip(spread(y[order, -1], head, foot), order, strict=True):
        parts.append(text(right + 8, place + 4, names[n], looks[n][0], "start"))
    return figure(480, foot + 46, label, parts)


def spread(places: Array, low: float, high: float) -> Array:
    """Rising `places` at least a line apart, moved down, or up from `high`; closer if they do not fit."""
    gaps = min(_LINE, (high - low) / max(1, len(places) - 1)) * np.arange(len(places))
    spread: Array = np.minimum(np.maximum.accumulate(places - gaps), high - gaps[-1]) + gaps
    return spread


def scatters(panels: Sequence[tuple[str, Array, Array]], across: str, up: str, label: str) -> str:
    """Points `x [N]`, `y [N]` of the unit square in panels with titles; `across` and `up` name the axes."""
    size, left, top, pitch = 108.0, 24.0, 20.0, 152.0
    parts = []
    for k, (title, x, y) in enumerate(panels):
        # points at one place are drawn once
        places = np.unique(np.stack([x, 1 - y], axis=1).round(2), axis=0) * size + [left, top]
        dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2"/>' for a, b in places.tolist())
        parts.append(
            f'<g transform="translate({k * pitch})">{text(left + size / 2, 12, title)}'
            f'<rect x="{left}" y="{top}" width="{size}" height="{size}" fill="none" stroke="var(--line)"/>'
            f"{line(left, top, left + size, top + size)}"
            f'<g fill="var(--accent)" fill-opacity="0.55">{dots}</g>'
            f"{text(left + size / 2, top + size + 15, f'{across} →', _QUIET)}"
            f'<g transform="rotate(-90)">{text(-top - size / 2, 15, f"{up} →", _QUIET)}</g></g>'
        )
    return figure(3 * pitch, top + size + 20, label, parts)


def mark(kind: str, x: float, y: float, radius: float) -> str:
    """The mark around a unit of a kind, with a flat base; empty if it has none."""
    corners, colour = MARKS[kind]
    if not corners:
        return ""
    # polygons of few corners are larger, so that a letter fits in
    wide = radius / np.cos(np.pi / corners) ** 0.6
    angles = np.pi / 2 + np.pi * (2 * np.arange(corners) + 1) / corners
    points = " ".join(f"{x + wide * np.cos(a):.1f},{y + wide * np.sin(a):.1f}" for a in angles)
    return f'<polygon points="{points}" fill="var(--field)" fill-opacity="0.6" stroke="{colour}"/>'


def on_map(places: Array) -> Array:
    """Places `[V, 2]` of a map as points of its picture, moved apart where marks would overlap."""
    low, high = places.min(axis=0), places.max(axis=0)
    width, height = np.maximum(high - low, 1e-9)
    return apart((places - (low + high) / 2) * (_MAP - 2 * _MARGIN) / max(width, height * 1.25), 21.0)


def constellation(
    points: Array,
    signs: Sequence[str],
    kinds: Sequence[str],
    links: Sequence[tuple[int, int]],
    words: Sequence[str],
    label: str,
) -> str:
    """Signs at points `[V, 2]`, each in the mark of its kind, with lines between the two of each link.

    `words` are the titles for the mouse. The kinds are explained above the map.
    """
    low, high = points.min(axis=0) - _MARGIN, points.max(axis=0) + _MARGIN
    width = max(_MAP, high[0] - low[0])
    points = points + np.array([(width - low[0] - high[0]) / 2, _MARGIN - low[1]])
    parts = []
    for k, kind in enumerate(kind for kind in MARKS if kind in kinds):
        parts.append(mark(kind, 125.0 * k + 12, 14, 8))
        words_of_kind = kind if MARKS[kind][0] else f"{kind}: no mark"
        parts.append(text(125.0 * k + 28, 18, words_of_kind, _QUIET, "start", 14))
    parts += [line(*points[one], *points[other]) for one, other in links]
    for (x, y), sign, kind, about in zip(points.tolist(), signs, kinds, words, strict=True):
        short = sign.removeprefix("0x")  # the mark and the title of a byte say that it is one
        size = 15 if len(short) <= 2 else 11 if len(short) <= 5 else 9
        drawn = mark(kind, x, y, 11) + text(x, y + 4.5, short, size=size)
        parts.append(f"<g><title>{escape(about)}</title>{drawn}</g>")
    return figure(width, high[1] - low[1] + _MARGIN, label, parts, "wide")


def apart(points: Array, distance: float) -> Array:
    """Points `[V, 2]` moved from each other until few are nearer than `distance`."""
    points, order = points.copy(), np.arange(len(points))
    for _ in range(80):
        between = points[:, None] - points[None]  # [V, V, 2]
        lengths = np.linalg.norm(between, axis=-1)
        # points at one place part along their order
        between[..., 0] += np.where(lengths < 1e-9, np.sign(np.subtract.outer(order, order)), 0)
        push = np.clip(distance - np.maximum(lengths, 1.0), 0, None)
        np.fill_diagonal(push, 0)
        if not push.any():
            break
        points += 0.25 * (between * (push / np.maximum(lengths, 1.0))[..., None]).sum(axis=1)
    return points
