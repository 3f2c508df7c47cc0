"""The pages of a model, the one that generates, the report and the lesson: what holds for each of them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
from browser import Page
from conftest import ROOT
from exported import KINDS, contrast, make
from test_history import log_line

from charlm.config.build import build_text
from charlm.export import html
from charlm.lessons import page as lessons
from charlm.report import page as reports
from charlm.web import assembly

EACH = pytest.mark.parametrize("kind", ["html", "report", "lesson"])


def page_of(kind: str, directory: Path) -> Path:
    """A new page of an untrained model; a report has the curves of a run."""
    made, file = make(directory), directory / "page.html"
    if kind == "html":
        html.write(file, made, float32=True)
        return file
    if kind == "lesson":
        assembly.write(file, lessons.lesson([made, make(directory, "gru before", layers=2)]))
        return file
    (directory / "metrics.jsonl").write_text("".join(json.dumps(log_line(n)) + "\n" for n in (1, 2, 3)))
    text = build_text(made.config.corpus, made.vocabulary, KINDS["char"][0])
    page, _ = reports.report(made, directory, text, "a text", 300)
    assembly.write(file, page)
    return file


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of each kind, made when it is first asked for."""
    return cache(lambda kind: page_of(kind, tmp_path_factory.mktemp(kind)))


@EACH
def test_it_asks_for_nothing(pages: Callable[[str], Path], kind: str) -> None:
    """The policy allows this script and this style alone; no attribute is an address or a style."""
    source = pages(kind).read_text()
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', source)[0]
    for tag in ("script", "style"):
        contents = re.findall(f"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(contents[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy
        assert len(contents) == 1
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert not re.search("https?:", source.replace("http://www.w3.org/2000/svg", ""))  # a name
    markup = re.sub(r"<(script|style).*?</\1>", "", source, flags=re.DOTALL)
    assert set(re.findall(r'\s(?:src|href|action)="([^"#]*)["#]', markup)) <= {"data:,", ""}
    assert not re.search(r'\s(style|on\w+)="', markup)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
@EACH
def test_it_can_be_read_everywhere(
    page: Page, pages: Callable[[str], Path], kind: str, width: int, scheme: str
) -> None:
    """Nothing is wider than the screen, controls can be touched, and texts have a contrast of 4.5 to 1."""
    page.resize(width, 800, phone=width < 500)
    page.prefer(color_scheme=scheme)
    page.open(pages(kind), f"prime={200 * 'W'}&length=200&temperature=5" if kind == "html" else "")
    page.wait_for("typeof run === 'undefined' || run === null")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heights = page.evaluate(
        "[...document.querySelectorAll('button:not(.entry), textarea, select, label:not([hidden]) input')]"
        ".filter((e) => !['checkbox', 'radio'].includes(e.type) && e.checkVisibility())"
        ".map((e) => e.offsetHeight)"
    )
    assert min(heights) >= 40
    colours = page.evaluate(
        "[...document.querySelectorAll('body *')]"
        ".filter((e) => !e.closest('svg, script, noscript, :disabled, .shade, .book span'))"
        ".filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))"
        ".map((e) => { const ink = getComputedStyle(e).color; let at = e;"
        " while (/, 0\\)/.test(getComputedStyle(at).backgroundColor)) at = at.parentElement;"
        " return [e.outerHTML.slice(0, 60), ink, getComputedStyle(at).backgroundColor]; })"
    )
    assert len(colours) > 10
    for element, ink, ground in colours:
        assert contrast(ink, ground) >= 4.5, element
    paper, ink = (
        page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color")
    )
    assert (contrast(paper, "rgb(255, 255, 255)") < 2) == (scheme == "light")
    for hue in ("warm", "cold") if kind == "report" else ():
        shade = page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{hue}')")
        ground = page.evaluate("getComputedStyle(element('losses-text')).backgroundColor")
        mixed = [
            0.6 * float(one) + 0.4 * float(other)
            for one, other in zip(shade.split(), re.findall(r"\d+", ground), strict=True)
        ]
        assert contrast(ink, f"rgb({mixed[0]:.0f}, {mixed[1]:.0f}, {mixed[2]:.0f})") >= 4.5, hue


@EACH
def test_everything_has_a_name(page: Page, pages: Callable[[str], Path], kind: str) -> None:
    """Every control, picture and region has a name that is read out."""
    page.open(pages(kind))
    nameless = page.evaluate(
        "[...document.querySelectorAll('select, input, button, section, aside, [role], [tabindex]')]"
        ".filter((e) => !['alert', 'status'].includes(e.role))"
        ".filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')"
        " || e.labels?.length || e.textContent.trim()))"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert nameless == []


def test_an_installation_holds_the_parts_of_the_pages() -> None:
    """Every file of the package that is not Python is among the package's data."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["charlm"]
    files = [file.relative_to(ROOT / "charlm") for file in (ROOT / "charlm").rglob("*.*")]
    parts = {file.as_posix() for file in files if file.suffix in (".html", ".css", ".js", ".json", ".typed")}
    assert parts >= {"web/frame.html", "web/base.css", "web/base.js", "report/web/report.js"}
    assert parts >= {*html.SCRIPTS, *lessons.SCRIPTS}
    assert all(any(fnmatch(part, pattern) for pattern in patterns) for part in parts)
