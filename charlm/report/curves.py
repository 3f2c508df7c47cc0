"""The curves of runs, drawn with matplotlib: losses, gradient norm, learning rate, speed.

Runs can be told apart without colours, by line style and mark. Equal logs give equal bytes.
"""

import contextlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from charlm.arrays import Array
from charlm.report.history import History, names
from charlm.runs.log import COLUMNS
from charlm.system.extras import extra
from charlm.system.files import write_file
from charlm.web.signs import columns

_METADATA: dict[str, dict[str, str | None]] = {
    ".png": {"Software": "charlm"},
    ".svg": {"Date": None, "Creator": "charlm"},
    ".pdf": {"CreationDate": None, "Creator": "charlm"},
}
"""The program, by which its pictures are recognised, and no date, so that equal logs give equal bytes."""

FONTS = ("DejaVu Sans", "Noto Sans CJK KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo", "UnDotum")
"""The font family that comes with matplotlib, and families that have the Hangul that it lacks."""

_DARK, _PAGES = "#1a1a1a", "#010203"
"""The colour of text and axes in a file; and one that stands for the text colour of a page."""

_COLOURS = ("#0072b2", "#c8500a", "#00865f", "#b0559a", "#7a6a00", "#5f7d95")
"""Colours of runs; all can be seen on white and on black."""

_STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (10, 3)))

_MARKS = ("o", "s", "^", "D", "v", "P", "X")

_LN2 = math.log(2)

_MARKED = 12
"""Most marks on a line."""

_WIDEST_ROW = 100
"""Most columns of a line of the legend."""

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
    "path.simplify_threshold": 0.5,  # a long log is as large as a picture needs
    "svg.fonttype": "none",  # text remains text
    "svg.hashsalt": "charlm",  # the same ids every time
    "pdf.fonttype": 3,  # Type 42 embeds fonts with PostScript outlines, such as Noto, as blanks
}


class _Look(NamedTuple):
    """The look of the lines of one run."""

    colour: str
    style: Any
    mark: str

    @classmethod
    def of(cls, number: int) -> Self:
        """The look of run `number`. Looks repeat after 210 runs."""
        return cls(*(looks[number % len(looks)] for looks in (_COLOURS, _STYLES, _MARKS)))


def write(file: Path, histories: Sequence[History], axis: str = "updates") -> list[str]:
    """Draw runs into `file`, whose suffix is one of `config.limits.PICTURES`; returns warnings.

    `axis` is one of `history.AXES`. Raises `ExtraError` if matplotlib is missing, `RunError` if a log
    does not have this axis, and `CharlmError` if the file cannot be written.
    """
    suffix = file.suffix.lower()
    options = {"format": suffix[1:], "metadata": _METADATA[suffix], "dpi": 160}
    with _settings(_DARK) as complaints:
        figure = _draw(histories, axis, _DARK)
        write_file(file, lambda stream: figure.savefig(stream, **options))
    glyphs = (re.match(r"Glyph (\d+) .* missing from font", str(one.message)) for one in complaints)
    missing = "".join(sorted({chr(int(glyph[1])) for glyph in glyphs if glyph}))
    if not missing or suffix == ".svg":  # the viewer of an SVG draws its text
        return []
    return [f"no font of this system draws {missing}: boxes stand in the place of these characters"]


def inline_svg(histories: Sequence[History], axis: str = "updates", prefix: str = "curves-") -> str:
    """The figure as an SVG element for an HTML page.

    Text and axes have the text colour of the page, the background is transparent, and every id begins
    with `prefix`. The element has no styles, which a Content-Security-Policy may forbid. Raises what
    `write` does.
    """
    stream = io.StringIO()
    with _settings(_PAGES):
        figure = _draw(histories, axis, _PAGES)
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=metadata, transparent=True)
    head, _, svg = stream.getvalue().partition("<svg ")[2].partition(">")
    svg = svg.replace("xlink:href", "href").replace(_PAGES, "currentColor")
    svg = re.sub(r'(\bid="|\bhref="#|url\(#)', rf"\1{prefix}", svg)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # the element says the same below
    svg = re.sub(r'style="([^"]*)"', lambda style: re.sub("([\\w-]+): ([^;]*);?", r'\1="\2"', style[1]), svg)
    runs = ". ".join(_row(name, history) for name, history in zip(names(histories), histories, strict=True))
    label = escape(f"Losses, gradient norm, learning rate and speed of {runs}")
    box = re.search(r'viewBox="[^"]*"', head)
    attributes = f'class="wide" role="img" aria-label="{label}" {box[0] if box else ""}'
    return f'<svg id="{prefix}figure" {attributes} stroke-linejoin="round" stroke-linecap="butt">{svg}'


@contextlib.contextmanager
def _settings(ink: str) -> Iterator[list[warnings.WarningMessage]]:
    """Give matplotlib these settings within the block, and none of the user's; records its warnings."""
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    known = extra("matplotlib.font_manager", "plot").get_font_names()
    fonts = {
        "font.family": [*(font for font in FONTS if font in known), "sans-serif"],
        "font.sans-serif": FONTS[:1],
    }
    settings = {**_SETTINGS, **dict.fromkeys(inked, ink), **fonts}
    style = extra("matplotlib.style", "plot")
    with style.context(["default", settings]), warnings.catch_warnings(record=True) as complaints:
        yield complaints


def _draw(histories: Sequence[History], axis: str, ink: str) -> Any:
    """The figure of some runs."""
    figure = extra("matplotlib.figure", "plot").Figure(figsize=(8, 7.8), layout="constrained")
    losses, norms, rates, speeds = figure.subplots(4, 1, sharex=True, height_ratios=(3.4, 1.4, 1, 1))
    legend = []
    for number, (name, history) in enumerate(zip(names(histories), histories, strict=True)):
        x, values, look = history.over(axis), history.values, _Look.of(number)
        alone = len(histories) == 1  # the training loss of a single run has another colour
        training = _plot(losses, x, values["train_loss"], _Look.of(1) if alone else look, linewidth=0.9)
        validation = _plot(losses, x, values["validation_loss"], look, linewidth=1.7, marked=number)
        if history.best is not None:
            place = x[history.best], values["validation_loss"][history.best]
            losses.plot(*place, "*", markersize=13, color=look.colour, markeredgecolor=ink, zorder=3)
        for axes, key in ((norms, "grad_norm"), (rates, "lr"), (speeds, "chars_per_s")):
            _plot(axes, x, values[key], look)
        legend.append((training if history.best is None else validation, _row(name, history)))
    _add_legend(figure, legend)
    figure.set_figheight(7.6 + 0.2 * sum(1 + row.count("\n") for _, row in legend))
    losses.set_title(
        "thin: training; thick, with marks: validation; star: best", fontsize="small", loc="right"
    )
    _scale_norms(norms, histories, ink)
    units = {history.config.corpus.unit if history.config else "char" for history in histories}
    unit = units.pop() if len(units) == 1 else "unit"
    bits = losses.secondary_yaxis("right", functions=(lambda nats: nats / _LN2, lambda bits: bits * _LN2))
    panels = {"train_loss": losses, "grad_norm": norms, "lr": rates, "chars_per_s": speeds}
    labels = [(axes, COLUMNS[key].label.format(unit=unit)) for key, axes in panels.items()]
    for axes, label in (*labels, (bits, f"bits/{unit}")):
        axes.set_ylabel(label)
        axes.yaxis.set_major_formatter(_number)
    for axes in (rates, speeds):
        axes.set_ylim(0, 1.15 * top if (top := axes.dataLim.y1) > 0 else None)
    along = {"updates": COLUMNS["step"].label, "epochs": COLUMNS["epoch"].label}
    speeds.set_xlabel(along.get(axis, "minutes of training"))
    speeds.set_xlim(left=0)
    speeds.xaxis.set_major_formatter(_number)
    if axis == "updates":
        speeds.xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()
    return figure


def _plot(
    axes: Any, x: Array, y: Array, look: _Look, linewidth: float = 1.1, marked: int | None = None
) -> Any:
    """Draw the values that are not NaN; with marks if they are the line of run `marked`."""
    known = ~(np.isnan(x) | np.isnan(y))
    every = -(-int(known.sum()) // _MARKED) or 1
    (line,) = axes.plot(
        x[known],
        y[known],
        color=look.colour,
        linestyle=look.style,
        linewidth=linewidth,
        # a single point is seen only if it is marked
        marker=look.mark if marked is not None or known.sum() == 1 else "",
        markersize=4.5,
        # the marks of different runs are at different places
        markevery=(3 * (marked or 0) % every, every),
    )
    return line


def _row(name: str, history: History) -> str:
    """A run's name, its best validation loss, and its share of clipped updates, where the log has them.

    A name that leaves no room for the rest has a separate line.
    """
    words, best, share = [], history.best, history.clipped_share
    if best is not None:
        nats, step = history.values["validation_loss"][best], history.values["step"][best]
        words.append(f"best {nats:.4f} nats, {nats / _LN2:.4f} bits, at update {step:,.0f}")
    if share in (0, 1):
        words.append("every update clipped" if share else "no update clipped")
    elif share is not None:
        size = "under 0.1" if share < 0.001 else "over 99" if share > 0.99 else f"{100 * share:.2g}"
        words.append(f"{size} % of updates clipped")
    fits = columns(name) + len("; ".join(words)) < _WIDEST_ROW
    return ("; " if fits else "\n").join(filter(None, (name, "; ".join(words))))


def _scale_norms(axes: Any, histories: Sequence[History], ink: str) -> None:
    """A logarithmic scale, a straight line for each clipping limit, with its value."""
    limits = sorted({history.config.train.clip_norm for history in histories if history.config} - {0.0})
    for limit in limits:
        axes.axhline(limit, color=ink, linewidth=0.9)
    if limits:
        words = f"straight line: clip_norm {', '.join(map(_number, limits))}"
        axes.set_title(words, fontsize="small", loc="right")
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    decades = math.log10(high / low)
    # few powers of ten are few ticks
    parts = (1.0, 2.0, 3.0, 5.0) if decades < 1.3 else (1.0, 2.0, 5.0) if decades < 2.3 else (1.0,)
    ticker = extra("matplotlib.ticker", "plot")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=parts))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def _add_legend(figure: Any, rows: Sequence[tuple[Any, str]]) -> None:
    """A legend above the figure, with a row for each run."""
    lines = [line for line, _ in rows]
    legend = figure.legend(lines, [""] * len(rows), loc="outside upper left", alignment="left")
    # matplotlib leaves out labels that begin with an underscore
    for text, (_, row) in zip(legend.get_texts(), rows, strict=True):
        text.set_text(row)


def _number(value: float, _place: object = None) -> str:
    """A number beside an axis."""
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}" if abs(value) < 1e12 else f"{value:.3g}"
