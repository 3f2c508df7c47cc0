"""Small pictures as SVG for a page whose style sheet gives them their colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from charlm.arrays import Array
from charlm.inference.gradient_flow import DECADES


def figure(width: float, height: float, label: str, parts: Sequence[str], kind: str) -> str:
    """An SVG element; `label` is what is read out in its place, `kind` its class."""
    return (
        f'<svg class="{kind}" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {width:g} {height:g}">{"".join(parts)}</svg>'
    )


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    """A text whose baseline is at `(x, y)`."""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "rule") -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def number(value: float, decimals: int = 2) -> str:
    """A number of at least 0 with so many decimals, or with two digits if those would show less of it."""
    return f"{value:.{decimals}f}" if value == 0 or value >= 10.0 ** (1 - decimals) else f"{value:.2g}"


def bars(labels: Sequence[str], values: Sequence[float], titles: Sequence[str], label: str) -> str:
    """Upright bars from zero, each with its value above it, and a title where the mouse is.

    They are as wide as if there were `_BARS`: pictures of few bars and of many are read side by side.
    """
    width, high, foot, head = 58.0, 110.0, 20.0, 18.0
    largest = max(values) or 1.0
    parts = []
    for k, (name, value, title) in enumerate(zip(labels, values, titles, strict=True)):
        x, tall = k * width, high * value / largest
        top = head + high - tall
        parts.append(
            f"<g><title>{escape(title)}</title>"
            f'<rect x="{x + 12:.1f}" y="{top:.1f}" width="{width - 24:.1f}" height="{tall:.1f}" class="bar"/>'
            f"{text(x + width / 2, top - 5, number(value))}"
            f"{text(x + width / 2, head + high + 15, name, 'quiet')}</g>"
        )
    parts.append(line(0, head + high, width * len(values), head + high))
    return figure(width * max(_BARS, len(values)), head + high + foot, label, parts, "bars")


_BARS = 10


def flow(names: Sequence[str], norms: Array, label: str) -> str:
    """Lines `[L, S, K+1]` over k, on the logarithmic axis of DECADES; the `names` [L·S] are at their ends."""
    width, high, left, right, head, foot = 640.0, 270.0, 66.0, 112.0, 12.0, 46.0
    K = int(norms.shape[-1]) - 1
    low, top = DECADES

    def x(k: float) -> float:
        return left + (width - left - right) * k / max(1, K)

    def y(norm: float) -> float:
        exponent = math.log10(norm) if norm > 0 else low
        return head + (high - head - foot) * (top - min(max(exponent, low), top)) / (top - low)

    parts = []
    for exponent in range(low, top + 1, 2):
        height = y(10.0**exponent)
        parts.append(line(left, height, width - right, height))
        parts.append(text(left - 8, height + 4, f"1e{exponent}" if exponent else "1", "quiet", "end"))
    for k in sorted({round(K * part / 5) for part in range(6)}):
        parts.append(text(x(k), high - foot + 18, str(k), "quiet"))
    parts.append(text((left + width - right) / 2, high - 4, "steps back", "quiet"))
    kinds = [f"layer{layer % 4} state{state % 2}" for layer, state in np.ndindex(norms.shape[:2])]
    rows = norms.reshape(len(names), K + 1).tolist()
    for kind, row in zip(kinds, rows, strict=True):
        points = " ".join(f"{x(k):.1f},{y(norm):.1f}" for k, norm in enumerate(row))
        parts.append(f'<polyline points="{points}" class="line {kind}"/>')
    ends = sorted(zip([y(row[-1]) + 4 for row in rows], names, kinds, strict=True))
    places = spread([end for end, *_ in ends], head, high - foot)
    for place, (_, name, kind) in zip(places, ends, strict=True):
        parts.append(text(width - right + 8, place, name, kind, "start"))
    return figure(width, high, label, parts, "flow")


_LINE = 20.0
"""Distance of two names."""


def spread(places: Sequence[float], low: float, high: float) -> list[float]:
    """Rising `places` in the same order, a line apart, as near to where they were as that allows.

    Where there is no room for all between `low` and `high` they are closer to each other.
    """
    gap = min(_LINE, (high - low) / max(1, len(places) - 1))
    groups: list[list[float]] = []  # neighbours that touch: their mean is where it was
    for number, place in enumerate(places):
        groups.append([place - gap * number])
        while len(groups) > 1 and np.mean(groups[-2]) > np.mean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    starts = [float(np.mean(group)) for group in groups for _ in group]
    most = high - gap * (len(places) - 1)
    return [min(max(start, low), most) + gap * number for number, start in enumerate(starts)]


def scatter(x: Array, y: Array, across: str, up: str, label: str) -> str:
    """Points of the unit square, those in one place drawn once; `across` and `up` name its axes."""
    size, left, top = 108.0, 20.0, 4.0
    places = np.unique(np.stack([x, 1 - y], axis=1).round(2), axis=0) * size + [left, top]
    dots = [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2"/>' for a, b in places.tolist()]
    frame = f'<rect x="{left}" y="{top}" width="{size}" height="{size}" class="frame"/>'
    diagonal = line(left, top, left + size, top + size)
    named = text(left + size / 2, top + size + 15, f"{across} →", "quiet")
    turned = f'<g transform="rotate(-90)">{text(-top - size / 2, 13, f"{up} →", "quiet")}</g>'
    parts = [frame, diagonal, *dots, named, turned]
    return figure(left + size + top, top + size + 20, label, parts, "scatter")


MARKS = {
    "vowel": (0, 0.0),
    "consonant": (4, 45.0),
    "final consonant": (5, -90.0),
    "letter": (8, 22.5),
    "digit": (4, 0.0),
    "punctuation": (3, -90.0),
    "first byte": (6, 0.0),
    "following byte": (5, 90.0),
    "other": (-1, 0.0),
}
"""Around each kind of unit, a polygon: its corners and where the first is; 0 a circle, -1 nothing."""


def mark(what: str, x: float, y: float, radius: float) -> str:
    """What is drawn around a unit of a kind."""
    corners, turn = MARKS[what]
    kind = what.replace(" ", "-")
    if corners < 0:
        return ""
    if not corners:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="mark {kind}"/>'
    # polygons with few corners are larger, so that a letter fits in
    wide = radius * (1.45 if corners == 3 else 1.2)
    angles = np.radians(turn + 360 / corners * np.arange(corners))
    points = " ".join(f"{x + wide * np.cos(a):.1f},{y + wide * np.sin(a):.1f}" for a in angles)
    return f'<polygon points="{points}" class="mark {kind}"/>'


def on_map(places: Array) -> Array:
    """Places `[V, 2]` of a map as points of its picture, moved apart where marks would overlap."""
    low, high = places.min(axis=0), places.max(axis=0)
    size = np.maximum(high - low, 1e-9)
    scale = (_MAP - 2 * _MARGIN) / max(size[0], size[1] * 1.25)
    return apart((places - (low + high) / 2) * scale + _MAP / 2, 21.0)


_MAP, _MARGIN = 860.0, 34.0
"""Width of a map, and the space around its points."""


def constellation(
    points: Array,
    signs: Sequence[str],
    kinds: Sequence[str],
    links: Sequence[tuple[int, int]],
    words: Sequence[str],
    label: str,
) -> str:
    """Signs at points `[V, 2]`, each in the mark of its kind, with lines between the two of each link.

    `words` are shown where the mouse is.
    """
    left, top = points.min(axis=0) - _MARGIN
    right, bottom = points.max(axis=0) + _MARGIN
    width = max(_MAP, right - left)
    points = points - [(left + right - width) / 2, top]
    parts = [line(*points[one], *points[other]) for one, other in links]
    for (x, y), sign, what, about in zip(points.tolist(), signs, kinds, words, strict=True):
        short = sign.removeprefix("0x")  # of a byte: its mark and its title say that it is one
        size = "" if len(short) <= 2 else "small" if len(short) <= 5 else "tiny"
        drawn = mark(what, x, y, 10) + text(x, y + 4.5, short, size)
        parts.append(f"<g><title>{escape(about)}</title>{drawn}</g>")
    return figure(width, bottom - top, label, parts, "constellation")


def apart(points: Array, distance: float) -> Array:
    """Points `[V, 2]` moved from each other until few are nearer than `distance`."""
    points = points.copy()
    for _ in range(80):
        between = points[:, None] - points[None]  # [V, V, 2]
        lengths = np.linalg.norm(between, axis=-1)
        # those in one place part along the order in which they come
        between[..., 0] += np.where(
            lengths < 1e-9, np.sign(np.subtract.outer(*[np.arange(len(points))] * 2)), 0
        )
        lengths = np.maximum(lengths, 1.0)
        push = np.clip(distance - lengths, 0, None)
        np.fill_diagonal(push, 0)
        if not push.any():
            break
        points += 0.25 * (between * (push / lengths)[..., None]).sum(axis=1)
    return points


def key(what: str) -> str:
    """The mark of a kind, for a legend; empty if it has none."""
    shape = mark(what, 14, 14, 8)
    return f'<svg class="key" viewBox="0 0 28 28" aria-hidden="true">{shape}</svg>' if shape else ""
