"""The curves of runs, drawn with matplotlib: losses, gradient norm, learning rate, speed.

Runs are told apart without colours: each has a line style and a mark of its own. Equal logs give
equal bytes.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from charlm.arrays import Array
from charlm.report.fonts import DEFAULT, families
from charlm.report.history import History, columns, names
from charlm.runs.log import COLUMNS
from charlm.system.extras import extra
from charlm.system.files import write_file

_METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": "charlm"},
    ".svg": {"Date": None, "Creator": "charlm"},
    ".pdf": {"CreationDate": None, "Creator": "charlm"},
}
"""The program, by which a file is known again, and no date, so that equal logs give equal bytes."""

SUFFIXES = tuple(_METADATA)
"""What the suffix of a picture can be."""

_DARK = "#1a1a1a"
"""The colour of text and axes in a file."""

_PAGES = "#010203"
"""Stands for the colour of a page's text while a figure is drawn that is put into it."""

_COLOURS = ("#0072b2", "#c8500a", "#00865f", "#b0559a", "#7a6a00", "#5f7d95")
"""Of the runs, one after the other; all are seen on white and on black."""

_STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (10, 3)))

_MARKS = ("o", "s", "^", "D", "v", "P", "X")

_LN2 = math.log(2)

_MARKED = 12
"""Marks on a line at most."""

_POINTS = 2000
"""Points of a line at most."""

_WIDEST_ROW = 100
"""Columns of a line of the legend."""

_SETTINGS: dict[str, Any] = {
    "font.size": 9.5,
    "text.parse_math": False,  # a dollar sign in a name is one
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.7,
    "axes.formatter.useoffset": False,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.handlelength": 3.4,
    "svg.fonttype": "none",  # text remains text
    "svg.hashsalt": "charlm",  # the same ids every time
    "pdf.fonttype": 3,  # as 42, fonts with outlines of PostScript, as of Noto, are embedded as blanks
}


@dataclass(frozen=True)
class _Look:
    """How the lines of one run are drawn."""

    colour: str
    style: Any
    mark: str

    @classmethod
    def of(cls, number: int) -> _Look:
        """That of a run by its number; 210 differ."""
        return cls(*(looks[number % len(looks)] for looks in (_COLOURS, _STYLES, _MARKS)))


def write(file: Path, histories: Sequence[History], axis: str = "updates") -> list[str]:
    """Draw runs into `file`, whose suffix is one of `SUFFIXES`; returns warnings.

    `axis` is one of `history.AXES`. Raises `ExtraError` if matplotlib is missing, `RunError` if a log
    does not have this axis, and `CharlmError` if the file cannot be written.
    """
    called, suffix = names(histories), file.suffix.lower()
    fonts, missing = families("".join(called))
    with _settings(fonts, _DARK):
        figure = _draw(histories, called, axis, _DARK)
        options = {"format": suffix[1:], "metadata": _METADATA[suffix], "dpi": 160}
        write_file(file, lambda stream: figure.savefig(stream, **options))
    if not missing or suffix == ".svg":  # the text of an SVG is drawn by whoever shows it
        return []
    return [f"no font of this system draws {missing}: boxes stand in the place of these characters"]


def inline_svg(histories: Sequence[History], axis: str = "updates", prefix: str = "curves-") -> str:
    """The figure as an SVG element for an HTML page.

    Its text and axes have the colour of the page's text, its background is that of the page, and
    every id begins with `prefix`. It has no styles, which a Content-Security-Policy may forbid.
    Raises what `write` does.
    """
    called = names(histories)
    stream = io.StringIO()
    with _settings(families("".join(called))[0], _PAGES):
        figure = _draw(histories, called, axis, _PAGES)
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=metadata, transparent=True)
    _, _, svg = stream.getvalue().partition("<svg ")
    box = re.search(r'viewBox="[^"]*"', svg)
    _, _, svg = svg.partition(">")
    svg = svg.replace("xlink:href", "href").replace(_PAGES, "currentColor")
    svg = re.sub(r'(\bid="|\bhref="#|url\(#)', rf"\1{prefix}", svg)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # said of the whole figure below
    svg = re.sub(r'style="([^"]*)"', _as_attributes, svg)
    told = (
        "; ".join(filter(None, (name, _best_in_words(one), _clipped_in_words(one))))
        for name, one in zip(called, histories, strict=True)
    )
    label = escape(f"Losses, gradient norm, learning rate and speed of {'. '.join(told)}")
    head = f'<svg id="{prefix}figure" role="img" aria-label="{label}" {box[0] if box else ""} width="100%"'
    return f'{head} stroke-linejoin="round" stroke-linecap="butt">{svg}'


def _as_attributes(style: re.Match[str]) -> str:
    """What a style says, as attributes of the element."""
    pairs = (one.split(":") for one in style[1].split(";") if one.strip())
    return " ".join(f'{name.strip()}="{value.strip()}"' for name, value in pairs)


@contextlib.contextmanager
def _settings(fonts: Sequence[str], ink: str) -> Iterator[None]:
    """Within the block matplotlib has these settings, and none of the user's own."""
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    settings = {
        **_SETTINGS,
        **dict.fromkeys(inked, ink),
        "font.family": [*fonts, "sans-serif"],
        "font.sans-serif": [DEFAULT],
    }
    style = extra("matplotlib.style", "plot")
    with style.context(["default", settings]), warnings.catch_warnings():
        # the caller says it in one line
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _draw(histories: Sequence[History], called: Sequence[str], axis: str, ink: str) -> Any:
    """The figure of some runs, and what they are called."""
    several = len(histories) > 1
    figure = extra("matplotlib.figure", "plot").Figure(figsize=(8, 7.8), layout="constrained")
    losses, norms, rates, speeds = figure.subplots(4, 1, sharex=True, height_ratios=(3.4, 1.4, 1, 1))
    legend = []
    for number, history in enumerate(histories):
        x, values, look = history.over(axis), history.values, _Look.of(number)
        training = look if several else _Look.of(1)
        trained = _plot(losses, x, values["train_loss"], training, linewidth=0.9)
        line = _plot(losses, x, values["validation_loss"], look, linewidth=1.7, marked=number)
        best = _mark_best(losses, x, history, look, ink)
        if several:
            words = "; ".join(filter(None, (_best_in_words(history), _clipped_in_words(history))))
            row = _row(called[number], words)
            legend.append((line if history.best is not None else trained, row))
        else:
            legend = (
                [(line, "validation"), (best, _best_in_words(history))] if history.best is not None else []
            )
            legend.insert(0, (trained, "training"))
        _plot(norms, x, values["grad_norm"], look)
        _plot(rates, x, values["lr"], look)
        _plot(speeds, x, values["chars_per_s"], look)
    _add_legend(figure, legend, "" if several else called[0])
    lines = sum(1 + words.count("\n") for _, words in legend) if several else 1
    figure.set_figheight(7.6 + 0.2 * lines)
    units = {history.config.corpus.unit if history.config else "char" for history in histories}
    unit = units.pop() if len(units) == 1 else "unit"
    panels = {"train_loss": losses, "grad_norm": norms, "lr": rates, "chars_per_s": speeds}
    for key, axes in panels.items():
        axes.set_ylabel(COLUMNS[key].label.format(unit=unit))
    bits = losses.secondary_yaxis("right", functions=(lambda nats: nats / _LN2, lambda bits: bits * _LN2))
    bits.set_ylabel(f"bits/{unit}")
    if several:
        losses.set_title(
            "thin: training; thick, with marks: validation; star: best", fontsize="small", loc="right"
        )
    _scale_norms(norms, histories, ink)
    labels = {"updates": COLUMNS["step"].label, "epochs": COLUMNS["epoch"].label}
    speeds.set_xlabel(labels.get(axis, "minutes of training"))
    for axes in (rates, speeds):
        axes.set_ylim(0, 1.15 * top if (top := axes.dataLim.y1) > 0 else None)
    speeds.set_xlim(left=0)
    for place in (losses.yaxis, bits.yaxis, norms.yaxis, rates.yaxis, speeds.yaxis, speeds.xaxis):
        place.set_major_formatter(_number)
    if axis == "updates":
        speeds.xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()
    return figure


def _plot(
    axes: Any, x: Array, y: Array, look: _Look, linewidth: float = 1.1, marked: int | None = None
) -> Any:
    """Draw the values that there are; with marks if it is the line of run `marked`."""
    x, y = thinned(x, y)
    every = -(-len(x) // _MARKED) or 1
    (line,) = axes.plot(
        x,
        y,
        color=look.colour,
        linestyle=look.style,
        linewidth=linewidth,
        # a single point is seen only if it is marked
        marker=look.mark if marked is not None or len(x) == 1 else "",
        markersize=4.5,
        # those of several runs are not in one place
        markevery=(3 * (marked or 0) % every, every),
    )
    return line


def thinned(x: Array, y: Array) -> tuple[Array, Array]:
    """The points of a line that are numbers; of too many, the lowest and the highest of each stretch."""
    told = ~(np.isnan(x) | np.isnan(y))
    x, y = x[told], y[told]
    if len(x) <= _POINTS:
        return x, y
    edges = np.linspace(0, len(x), _POINTS // 2).astype(int)
    kept = {0, len(x) - 1}
    for start, stop in pairwise(edges.tolist()):
        kept |= {start + int(np.argmin(y[start:stop])), start + int(np.argmax(y[start:stop]))}
    index = sorted(kept)
    return x[index], y[index]


def _mark_best(axes: Any, x: Array, history: History, look: _Look, ink: str) -> Any:
    """A star at the lowest validation loss, if there is one."""
    best = history.best
    if best is None:
        return None
    (star,) = axes.plot(
        x[best],
        history.values["validation_loss"][best],
        marker="*",
        markersize=13,
        markerfacecolor=look.colour,
        markeredgecolor=ink,
        linestyle="",
        zorder=3,
    )
    return star


def _row(name: str, words: str) -> str:
    """What the legend says of one of several runs; in two lines if they would be too long for one."""
    if not words:
        return name
    return f"{name}{'; ' if columns(name) + len(words) < _WIDEST_ROW else chr(10)}{words}"


def _best_in_words(history: History) -> str:
    if history.best is None:
        return ""
    nats = history.values["validation_loss"][history.best]
    step = history.values["step"][history.best]
    return f"best {nats:.4f} nats, {nats / _LN2:.4f} bits, at update {step:,.0f}"


def _clipped_in_words(history: History) -> str:
    """How many updates were clipped; empty if the log does not say."""
    share = history.clipped_share
    if share is None:
        return ""
    if share in (0, 1):
        return "every update clipped" if share else "no update clipped"
    percent = 100 * share
    size = "under 0.1" if percent < 0.1 else "over 99" if percent > 99 else f"{percent:.2g}"
    return f"{size} % of updates clipped"


def _scale_norms(axes: Any, histories: Sequence[History], ink: str) -> None:
    """A logarithmic scale, a straight line for each limit that clips, and above it what that did."""
    limits = sorted({history.config.train.clip_norm for history in histories if history.config} - {0.0})
    for limit in limits:
        axes.axhline(limit, color=ink, linewidth=0.9)
    words = f"straight line: clip_norm {', '.join(map(_number, limits))}" if limits else ""
    if len(histories) == 1:
        words = "; ".join(filter(None, (words, _clipped_in_words(histories[0]))))
    axes.set_title(words, fontsize="small", loc="right")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    decades = math.log10(high / low)
    # few powers of ten are few ticks
    parts = (1.0, 2.0, 3.0, 5.0) if decades < 1.3 else (1.0, 2.0, 5.0) if decades < 2.3 else (1.0,)
    ticker = extra("matplotlib.ticker", "plot")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=parts))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def _add_legend(figure: Any, rows: Sequence[tuple[Any, str]], title: str) -> None:
    """A legend above the figure: of one run in a line, of several one below the other."""
    legend = figure.legend(
        [handle for handle, _ in rows],
        [""] * len(rows),
        loc="outside upper left",
        ncols=len(rows) if title else 1,
        title=title or None,
        alignment="left",
    )
    # matplotlib leaves out labels that begin with an underscore
    for text, (_, words) in zip(legend.get_texts(), rows, strict=True):
        text.set_text(words)


def _number(value: float, _place: object = None) -> str:
    """A number beside an axis."""
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}" if abs(value) < 1e12 else f"{value:.3g}"
