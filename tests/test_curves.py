"""Pictures of runs: what is drawn is what was logged, in every kind of file, and by the command."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ENVIRONMENT, Run
from exported import contrast
from matplotlib.font_manager import fontManager
from test_history import log_line, write_run

from charlm.arrays import Array
from charlm.data.walk import walked
from charlm.report import curves
from charlm.report.history import History, read

LINES = [
    log_line(10 * n, validation_loss=2 + 30 / n + (n == 20) if n % 4 == 0 else None) for n in range(1, 21)
]
"""A log whose validations are the lines 4, 8, 12, 16 and 20; the best is not the last."""


@pytest.fixture
def history(tmp_path: Path) -> History:
    """The log of one run, that of `LINES`."""
    return read(write_run(tmp_path / "run", LINES))


@pytest.fixture(scope="module")
def svg(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The picture of that run over updates."""
    return curves.inline_svg([read(write_run(tmp_path_factory.mktemp("runs") / "run", LINES))])


@dataclass
class _Panel:
    """Axes of a picture, read as a person reads them: by the labels beside the ticks."""

    lines: list[Array]
    """Corners of each line, `[N, 2]`, in the units of the axes."""
    stars: Array
    """Places of the marks that have no line, `[N, 2]`, likewise."""
    y: tuple[float, float]
    """Offset and scale: value = offset + scale · place, of logarithms on a logarithmic axis."""


def _children(group: ET.Element, kind: str) -> list[ET.Element]:
    return [child for child in group if re.search(rf"(^|-){kind}_\d+$", child.get("id", ""))]


def _scale(ticks: list[ET.Element], coordinate: str, log: bool) -> tuple[float, float]:
    """The line through the ticks of an axis: what is written beside each, and where it is."""
    places, values = [], []
    for tick in ticks:
        label = "".join(tick.itertext()).strip().replace(",", "").replace("−", "-")
        use = [use for use in tick.iter() if use.tag.endswith("use")]
        if label:
            places.append(float(use[-1].get(coordinate, "")))
            values.append(math.log10(float(label)) if log else float(label))
    scale, offset = np.polyfit(places, values, 1)
    np.testing.assert_allclose(offset + scale * np.array(places), values, atol=1e-5 * np.ptp(values))
    return float(offset), float(scale)


def _panels(svg: str) -> dict[str, _Panel]:
    """The axes of a picture by the label of their y axis."""
    root = ET.fromstring(re.sub(r'\sxmlns="[^"]*"', "", svg, count=1))  # noqa: S314 -- our own
    panels: dict[str, _Panel] = {}
    found = [group for group in root.iter("g") if re.search(r"(^|-)axes_\d+$", group.get("id", ""))]
    x_ticks = [tick for group in found for axis in group for tick in _children(axis, "xtick")]
    across = _scale([tick for tick in x_ticks if "".join(tick.itertext()).strip()], "x", log=False)
    for group in found:
        y_axes = [axis for axis in group.iter("g") if _children(axis, "ytick")]
        for axis in y_axes:
            label = "".join(_children(axis, "text")[-1].itertext()).strip()
            log = label == "gradient norm"
            offset, scale = _scale(_children(axis, "ytick"), "y", log)
            lines, stars = [], []
            for line in _children(group, "line2d"):
                # the star has no path of its own, only a mark
                for path in line.findall("path"):
                    places = re.findall(r"[ML] (\S+) (\S+)", path.get("d", ""))
                    points = np.array(places, dtype=float) * [across[1], scale] + [across[0], offset]
                    lines.append(np.stack([points[:, 0], 10 ** points[:, 1] if log else points[:, 1]], 1))
                if line.find("path") is None:
                    stars += [[use.get("x"), use.get("y")] for use in line.iter() if use.tag.endswith("use")]
            places_of_stars = np.array(stars, dtype=float).reshape(-1, 2)
            panels[label] = _Panel(
                lines, places_of_stars * [across[1], scale] + [across[0], offset], (offset, scale)
            )
    return panels


def _logged(key: str, x: str = "step") -> Array:
    """The points of a key of `LINES`."""
    return np.array([[line[x], line[key]] for line in LINES if line[key] is not None])


@pytest.mark.parametrize("axis", ["updates", "epochs", "minutes"])
def test_what_is_drawn_is_what_was_logged(history: History, svg: str, axis: str) -> None:
    """Read off the picture by its axes, every line and the star are where the log says, over any axis."""
    panels = _panels(svg if axis == "updates" else curves.inline_svg([history], axis))
    key, scale = {"updates": ("step", 1), "epochs": ("epoch", 1), "minutes": ("seconds", 60)}[axis]
    for label, column, number in (
        ("loss (nats/char)", "train_loss", 0),
        ("loss (nats/char)", "validation_loss", 1),
        ("gradient norm", "grad_norm", 0),
        ("learning rate", "lr", 0),
        ("chars/s", "chars_per_s", 0),
    ):
        wanted = [[line[key] / scale, line[column]] for line in LINES if line[column] is not None]
        np.testing.assert_allclose(panels[label].lines[number], wanted, rtol=1e-3, err_msg=column)
    best = [[LINES[15][key] / scale, LINES[15]["validation_loss"]]]
    np.testing.assert_allclose(panels["loss (nats/char)"].stars, best, rtol=1e-3)


def test_the_right_axis_is_in_bits(svg: str) -> None:
    """At any height of the picture the right axis has the left one's nats divided by ln 2."""
    panels = _panels(svg)
    for nats, bits in zip(panels["loss (nats/char)"].y, panels["bits/char"].y, strict=True):
        assert bits == pytest.approx(nats / math.log(2), rel=1e-4)


def test_the_best_and_the_clipping_are_told_in_words(svg: str) -> None:
    """The lowest validation loss with its update, in both units; the limit, and how often it was reached."""
    best = 2 + 30 / 16
    assert f"best {best:.4f} nats, {best / math.log(2):.4f} bits, at update 160" in svg
    assert "; 25 % of updates clipped<" in svg
    assert ">straight line: clip_norm 5<" in svg
    straight = _panels(svg)["gradient norm"].lines[1]
    np.testing.assert_allclose(straight[:, 1], 5, rtol=1e-3)


def test_shares_in_words(tmp_path: Path) -> None:
    """A share is not rounded to none or all, and a log that does not say it leaves it out."""
    words = {
        0.0: "no update clipped",
        1.0: "every update clipped",
        0.0004: "under 0.1 % of updates clipped",
        0.9999: "over 99 % of updates clipped",
        0.034: "3.4 % of updates clipped",
        None: "",
    }
    for share, told in words.items():
        history = read(write_run(tmp_path / f"run {share}", [log_line(5, clipped=share)]))
        assert curves._row("", history) == told


def test_without_clipping_there_is_no_line(tmp_path: Path) -> None:
    """A run that clips nothing has no line of a limit."""
    run = write_run(tmp_path / "run", [log_line(5, clipped=0.0), log_line(6)], train__clip_norm=0.0)
    svg = curves.inline_svg([read(run)])
    assert "clip_norm" not in svg
    assert len(_panels(svg)["gradient norm"].lines) == 1


def test_runs_of_different_units_are_in_units(tmp_path: Path) -> None:
    """A loss of a byte and of a character on one axis are not called either."""
    runs = [read(write_run(tmp_path / unit, LINES, corpus__unit=unit)) for unit in ("byte", "char")]
    for histories, unit in ((runs, "unit"), (runs[:1], "byte")):
        labels = {f"loss (nats/{unit})", f"bits/{unit}", f"{unit}s/s", "gradient norm", "learning rate"}
        assert _panels(curves.inline_svg(histories)).keys() == labels


def test_several_runs_are_in_one_picture(tmp_path: Path) -> None:
    """Each is there with its own lines, named by what differs, with its best and its clipping."""
    runs = [
        read(
            write_run(
                tmp_path / f"run{size}", [line | {"lr": size / 1000} for line in LINES], model__hidden=size
            )
        )
        for size in (64, 128, 256)
    ]
    svg = curves.inline_svg(runs)
    panels = _panels(svg)
    for number, size in enumerate((64, 128, 256)):
        assert (
            f">hidden={size}; best 3.8750 nats, 5.5904 bits, at update 160; 25 % of updates clipped<" in svg
        )
        np.testing.assert_allclose(panels["learning rate"].lines[number][:, 1], size / 1000, rtol=1e-3)
    assert "thin: training; thick, with marks: validation; star: best" in svg


def test_a_long_name_has_a_line_of_its_own(tmp_path: Path) -> None:
    """Nothing of the legend is cut off at the edge: each of its lines ends within the picture."""
    runs = [read(write_run(tmp_path / name, LINES)) for name in ("W" * 72, "short")]
    svg = curves.inline_svg(runs)
    assert f">{'W' * 72}</text>" in svg
    assert ">best 3.8750 nats, 5.5904 bits, at update 160; 25 % of updates clipped</text>" in svg
    assert ">short; best" in svg


def test_runs_are_told_apart_in_black_and_white() -> None:
    """The first five runs have line styles of their own, and 35 a style and a mark that no other has."""
    looks = [curves._Look.of(number) for number in range(35)]
    assert len({str(look.style) for look in looks[:5]}) == 5
    assert len({(str(look.style), look.mark) for look in looks}) == 35


@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
def test_colours_are_seen_on_light_and_on_dark(page: str) -> None:
    """Each colour has the contrast of 3 that WCAG asks of graphics, on both kinds of page."""
    for colour in curves._COLOURS:
        assert contrast(colour, page) >= 3, colour


def test_an_inline_figure_fits_any_page(history: History, svg: str) -> None:
    """Every id is its own, every reference has its target, nothing is loaded, and colours are the page's."""
    svgs = [svg, curves.inline_svg([history], prefix="other-")]
    ids = [name for svg in svgs for name in re.findall(r'\bid="([^"]*)"', svg)]
    assert len(set(ids)) == len(ids) > 100
    for svg in svgs:
        assert svg.startswith("<svg ")
        references = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg)
        assert {one or other for one, other in references} <= set(ids)
        assert len(references) > 20
        assert "http" not in svg
        assert set(re.findall(r"#[0-9a-fA-F]{3,6}\b", svg)) & {"#000000", "#ffffff", "#010203"} == set()
        assert "currentColor" in svg
        assert not re.search(r"style=|<style", svg)  # which the policy of a page forbids
        assert re.search('role="img" aria-label="[^"]* of run; best [^"]* at update ', svg)


def test_names_are_text_in_a_figure(tmp_path: Path) -> None:
    """Whatever a run is called, its name is text: no markup, no formula, and not left out."""
    called = ["<script>alert(1)<∕script>", "$x^2$ & \"q\" 'q'", "_under", "\x1b[1m\ufffe\udcff", "]]>"]
    svg = curves.inline_svg([read(write_run(tmp_path / name, LINES)) for name in called])
    texts = ["".join(text.itertext()) for text in ET.fromstring(svg).iter("text")]  # noqa: S314 -- our own
    for name in called:
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
        assert any(text.startswith(f"{shown}; best") for text in texts)


def test_equal_logs_give_equal_bytes(tmp_path: Path, history: History) -> None:
    """A picture is drawn again to the last byte by another process, later, and whatever the user's style."""
    code = (
        "from pathlib import Path; from charlm.report import curves; from charlm.report.history import read\n"
        "for name in ('two.svg', 'two.pdf'): curves.write(Path(name), [read(Path('run'))])"
    )
    style = "lines.linewidth: 9\naxes.grid: False\nsvg.fonttype: path\nfont.size: 20\n"
    (tmp_path / "matplotlibrc").write_text(style)
    later = {**ENVIRONMENT, "SOURCE_DATE_EPOCH": "4000000000", "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=later)
    for suffix in (".svg", ".pdf"):  # which could hold the date
        curves.write(tmp_path / f"one{suffix}", [history])
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes(), suffix
    svg = (tmp_path / "one.svg").read_text()
    assert ">loss (nats/char)</text>" in svg
    families = [f"'{font}'" for font in curves.FONTS if font in fontManager.get_font_names()] + ["sans-serif"]
    assert set(re.findall(r"font(?:-family: |: [\d.]+px )([^;]*);", svg)) == {", ".join(families)}


def test_a_long_log_is_a_small_picture(tmp_path: Path) -> None:
    """Of 10,000 noisy points the picture keeps what can be seen, and one peak among them."""
    rng = np.random.default_rng(0)
    noise = 2 + rng.random(10_000)
    noise[3_141] = 70
    log = [log_line(n, train_loss=loss) for n, loss in enumerate(noise.tolist(), 1)]
    svg = curves.inline_svg([read(write_run(tmp_path / "run", log))])
    assert len(svg) < 500_000
    assert _panels(svg)["loss (nats/char)"].lines[0][:, 1].max() == pytest.approx(70, rel=1e-3)


@pytest.mark.parametrize(
    "lines",
    [
        [log_line(700, validation_loss=2.0)],
        [log_line(1, train_loss=None, grad_norm=None, clipped=None, chars_per_s=0.0)],
        [log_line(n, train_loss=10.0 ** (50 * n), grad_norm=0.0) for n in (1, 2)],
        [log_line(n, validation_loss=2.0, train_loss=2.0, grad_norm=1.0, lr=0.1) for n in range(1, 4)],
    ],
)
@pytest.mark.filterwarnings("error")
def test_logs_with_little_in_them(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    """One line, no validation, no norm, equal or huge values: all are drawn, without a warning."""
    history = read(write_run(tmp_path / "run", lines))
    svg = curves.inline_svg([history])
    assert ("at update" in svg) == any(line["validation_loss"] for line in lines)


@pytest.fixture
def hangul(tmp_path: Path) -> Path:
    """A font with one glyph, that of 한."""
    from fontTools.fontBuilder import FontBuilder  # comes with matplotlib
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "han"])
    builder.setupCharacterMap({ord("한"): "han"})
    pen = TTGlyphPen(None)
    for place, point in enumerate([(0, 0), (0, 700), (700, 700)]):
        (pen.lineTo if place else pen.moveTo)(point)
    pen.closePath()
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "han": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "han": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Charlm Test", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "CharlmTest-Regular.ttf")
    return tmp_path / "CharlmTest-Regular.ttf"


def test_a_korean_name_is_drawn_or_the_user_is_told(
    tmp_path: Path, hangul: Path, charlm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is drawn where a font has the glyph; where none has it one line says so, but not of an SVG."""
    write_run(tmp_path / "한", LINES)
    monkeypatch.setattr(curves, "FONTS", ("DejaVu Sans", "No Such Font", "Charlm Test"))
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    for suffix in (".png", ".svg"):
        done = charlm("plot", "한", "--out", f"none{suffix}")
        warning = "Warning: no font of this system draws 한: boxes stand in the place of these characters\n"
        assert done.stderr == ("" if suffix == ".svg" else warning) + f"none{suffix}: 1 run, 20 log lines\n"
    assert ">한; best" in (tmp_path / "none.svg").read_text()
    fontManager.addfont(str(hangul))
    for suffix in (".png", ".pdf"):
        assert "Warning" not in charlm("plot", "한", "--out", f"drawn{suffix}").stderr
    assert (tmp_path / "none.png").read_bytes() != (tmp_path / "drawn.png").read_bytes()
    walk = walked(str(tmp_path))
    assert walk is not None
    assert walk[1] == [str(hangul)], "a walk for texts leaves pictures out"
    # embedded whole as Type 42, outlines of PostScript are blank
    drawn = (tmp_path / "drawn.pdf").read_bytes()
    assert b"/Subtype /Type3" in drawn
    assert b"/FontFile" not in drawn


def test_the_command_draws_runs(tmp_path: Path, charlm: Run) -> None:
    """Of runs by name or by checkpoint, or of the newest, while a line is being written."""
    for number, hidden in enumerate((6, 8)):
        run = write_run(tmp_path / f"runs/h{hidden}", LINES, model__hidden=hidden)
        for name in ("best.npz", "last.npz"):
            (run / name).touch()
            os.utime(run / name, (number, number))
    with (run / "metrics.jsonl").open("a") as log:
        log.write('{"step": ')
    done = charlm("plot", "runs/h6/best.npz", "runs/h8", "--out", "both.SVG", "--x", "minutes")
    assert (done.stdout, done.stderr.splitlines()[0]) == ("", "using runs/h6")
    svg = (tmp_path / "both.SVG").read_text()
    assert ">hidden=6; best" in svg
    assert ">hidden=8; best" in svg
    assert ">minutes of training</text>" in svg
    assert charlm("plot").stderr.startswith("using runs/h8\n")
    charlm("plot", "runs/h6", "runs/h8")
    for file in ("runs/h8/curves.png", "curves.png"):
        assert (tmp_path / file).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "--out", "x.jpg"], 2, "x.jpg: the suffix must be one of .png, .svg, .pdf"),
        (["run", "--out", "x"], 2, "x: the suffix must be one of"),
        (["run", "--out", "x.png", "--x", "steps"], 2, "is not one of 'updates', 'epochs', 'minutes'"),
        (["nothing", "--out", "x.png"], 1, "nothing holds no run"),
        (["--out", "x.png"], 1, "no run under ./runs: train one"),
        (["empty", "--out", "x.png"], 1, "empty: nothing has been logged so far"),
        (["run", "empty", "--out", "x.png"], 1, "empty: nothing has been logged so far"),
        (["run", "--out", "no/x.png"], 1, "no/x.png cannot be written: no such file or directory"),
    ],
)
def test_mistakes(tmp_path: Path, charlm: Run, arguments: list[str], status: int, message: str) -> None:
    """Each is answered in one line, and nothing is written."""
    write_run(tmp_path / "run", LINES)
    write_run(tmp_path / "empty", [])
    before = sorted(tmp_path.rglob("*"))
    done = charlm("plot", *arguments, status=status)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
