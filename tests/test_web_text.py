"""The shaded text: every character is there, escaped, with its own bits, on light pages and dark ones."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
import test_interface
from exported import contrast
from hypothesis import example, given
from hypothesis import strategies as st
from test_interface import KINDS

import charlm
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.inference import score as scores
from charlm.inference.score import Score
from charlm.web.text import MOST_BITS, characters, shade, shaded, signs, span

runs, models = test_interface.runs, test_interface.models


class _Page(HTMLParser):
    """What a browser makes of a fragment: its elements, and the characters with their titles and styles."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.spans: list[tuple[str, str, str]] = []
        self.text = ""
        self.depth = 0
        self.feed(fragment)
        self.close()
        assert self.depth == 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count it, and begin a character."""
        self.depth += 1
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "span":
            given = dict(attrs)
            self.spans.append(("", given["title"] or "", given["style"] or ""))

    def handle_endtag(self, tag: str) -> None:
        """Count it."""
        self.depth -= 1

    def handle_data(self, data: str) -> None:
        """Add to the character, or to the rest."""
        if self.lasttag == "span" and self.depth > 1:
            sign, title, style = self.spans[-1]
            self.spans[-1] = (sign + data, title, style)
        self.text += data


def _read(text: str, **units: object) -> tuple[Vocabulary, np.ndarray]:
    """A vocabulary of a text, and its ids."""
    read = Units(**units)  # type: ignore[arg-type]
    codes = read.of_text(text)
    vocabulary = Vocabulary(codes, read)
    return vocabulary, vocabulary.encode(codes, "the text")


def _signs(text: str, **units: object) -> list[str]:
    return [shown.sign for shown in characters(*_read(text, **units))]


@pytest.mark.parametrize(
    ("text", "units", "expected"),
    [
        ("a\u0301\n", {}, ["a", "◌\u0301", "↵"]),
        ("나각", {"normalize": "nfd"}, ["나", "각"]),
        ("á\u0323\u0301x", {"normalize": "nfd"}, ["ạ", "◌\u0301", "◌\u0301", "x"]),
        ("ΐ", {"normalize": "nfd"}, ["ΐ"]),
        ("ᄂ a", {"normalize": "nfd"}, ["ㄴ", " ", "a"]),
        ("나é🙂a", {"unit": "byte"}, ["나", "é", "🙂", "a"]),
        ("\udceb\udc82나\udcff", {"unit": "byte"}, ["0xeb", "0x82", "나", "0xff"]),
        ("\udced\udca0\udc80", {"unit": "byte"}, ["0xed", "0xa0", "0x80"]),
        ("\x00\u2028", {"unit": "byte"}, ["␀", "<U+2028>"]),
    ],
)
def test_units_are_shown_as_characters(text: str, units: dict[str, object], expected: list[str]) -> None:
    """Bytes and jamo are put together where they are a character, and named where they are not."""
    assert _signs(text, **units) == expected


def test_units_by_themselves() -> None:
    """Every unit has a sign of its own, `<unk>` included."""
    vocabulary = Vocabulary([0x41, 0x0A, 0xEB], Units("byte"), has_unknown=True)
    assert signs(vocabulary, np.array([0, 1, 2, 3])) == ["↵", "A", "0xeb", "<unk>"]
    vocabulary = Vocabulary(map(ord, "\u1102\u1161b"), Units(normalize="nfd"), has_unknown=True)
    ids = np.array([1, 2, 3, 1, 3, 2, 0])
    assert signs(vocabulary, ids) == ["ㄴ", "ㅏ", "<unk>", "ㄴ", "<unk>", "ㅏ", "b"]
    assert [shown.sign for shown in characters(vocabulary, ids)] == ["나", "<unk>", "ㄴ", "<unk>", "ㅏ", "b"]


@given(
    text=st.text(max_size=40), unit=st.sampled_from(["char", "byte"]), form=st.sampled_from(["none", "nfd"])
)
@example(text="<script>alert(1)</script>&amp;\"'", unit="char", form="none")
@example(text="]]>--><!--\u2028\u202e\x00", unit="byte", form="none")
def test_no_text_is_more_than_text(text: str, unit: str, form: str) -> None:
    """Whatever a text holds, it is characters in spans, each unit once and in order, and nothing else."""
    vocabulary, ids = _read(text, unit=unit, normalize="none" if unit == "byte" else form)
    shown = list(characters(vocabulary, ids))
    assert [n for one in shown for n in range(len(ids))[one.units]] == list(range(len(ids)))
    page = _Page(shaded(vocabulary, ids, np.arange(len(ids), dtype=float)))
    assert page.tags <= {"div", "span"}
    assert page.attributes <= {"style", "title", "dir"}
    assert [sign.removesuffix("\n") for sign, _, _ in page.spans] == [one.sign for one in shown]
    assert page.text.count("\n") == sum(one.ends_line for one in shown)


def test_every_character_has_its_own_bits() -> None:
    """The title and the shade are those of the character's units, summed; the first has none."""
    vocabulary, ids = _read("aé\nb", unit="byte")
    page = _Page(shaded(vocabulary, ids, np.array([np.nan, 1.0, 2.5, 0.25, 8.0])))
    assert page.spans == [
        ("a", "not predicted: it is the first", shade(0)),
        ("é", "3.50 bits: 0xc3 1.00, 0xa9 2.50", shade(3.5)),
        ("↵\n", "0.25 bits", shade(0.25)),
        ("b", "8.00 bits", shade(8)),
    ]
    vocabulary, ids = _read("é", unit="byte")
    assert _Page(shaded(vocabulary, ids, np.array([np.nan, 2.0]))).spans[0][1] == "2.00 bits"
    assert _Page(shaded(vocabulary, ids, np.array([np.nan, -1e-17]))).spans[0][1] == "0.00 bits"


@pytest.mark.parametrize(
    ("letters", "page"), [(0, 255), (0x33, 255), (255, 0), (0xCC, 0x1E), (0xDE, 0x11)], ids=str
)
def test_letters_can_be_read_on_every_shade(letters: int, page: int) -> None:
    """The contrast is that of WCAG AA, 4.5, on light and dark pages; more bits are more shade."""
    opacities = []
    for bits in np.linspace(0, 2 * MOST_BITS, 33):
        *colour, opacity = map(float, re.findall(r"[\d.]+", shade(float(bits))))
        mixed = [opacity * c + (1 - opacity) * page for c in colour]
        assert contrast(mixed, [letters] * 3) >= 4.5
        opacities.append(opacity)
    assert all(a < b for a, b in pairwise(opacities[:17]))
    assert len(set(opacities[16:])) == 1
    assert shade(math.inf) == shade(MOST_BITS)
    assert opacities[0] == 0


def test_a_title_and_a_style_are_escaped() -> None:
    """What is passed to a span cannot leave its attribute."""
    assert span("<", 'a"b', 0) == f'<span title="a&quot;b" style="{shade(0)}">&lt;</span>'


@pytest.mark.parametrize(
    ("kind", "window"), [*((kind, None) for kind in KINDS), *((kind, 7) for kind in KINDS if kind != "lines")]
)
def test_a_score_shows_its_text(
    models: dict[str, charlm.LanguageModel], kind: str, window: int | None
) -> None:
    """In a notebook a score is its figures and its text, each character with the bits that the score sums."""
    model = models[kind]
    text = KINDS[kind][0][:60] if kind != "lines" else "anna\nberis\n"
    score = model.score(text, window=window)
    page = _Page(score._repr_html_())
    shown, legend = page.spans[:-5], page.spans[-5:]
    assert [title for _, title, _ in legend] == [f"{bits} bits" for bits in (0, 2, 4, 6, 8)]
    assert "".join(sign for sign, _, _ in shown).replace("↵", "") == text
    assert f"{score.bits_per_char:.4f} bits/char" in page.text
    bits = [float(found[0]) for _, title, _ in shown if (found := re.findall(r"^[\d.]+", title))]
    assert len(shown) - len(bits) == (0 if kind in ("lines", "bytes", "jamo") else 1)
    assert sum(bits) == pytest.approx(score.nll / math.log(2), abs=0.005 * len(bits) + 1e-3)
    if kind in ("text", "unknown"):
        assert shown[0][1].startswith("not predicted")
        if window is None:
            losses = model.losses(text) / math.log(2)
            assert [shown[n + 1][1] for n in range(59)] == [f"{one:.2f} bits" for one in losses]
    assert score._repr_html_() == model.score(text, window=window)._repr_html_()


def test_a_long_text_is_not_shown(
    models: dict[str, charlm.LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above 5,000 units there are only the figures, and a line that says so."""
    model, text = models["text"], KINDS["text"][0]
    assert model.score((text * 20)[:5001]).shaded is not None
    score = model.score((text * 20)[:5002])
    page = _Page(score._repr_html_())
    assert page.spans == []
    assert "a text of more than 5,000 units is not shown" in page.text
    assert f"{score.nats_per_char:.4f} nats/char" in page.text


def test_a_score_costs_nothing_more(
    models: dict[str, charlm.LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses of units are measured when the text is shown and not before; scores can be copied and sent."""
    score = models["text"].score("the quick fox")
    assert score == Score(score.nll, score.characters)
    assert repr(score) == f"<Score: {score.account}>"
    sent = pickle.loads(pickle.dumps(score))  # noqa: S301 (from this process)
    assert sent == copy.deepcopy(score) == score
    assert dataclasses.asdict(score)["characters"] == 12
    monkeypatch.setattr("charlm.interface.model.unit_losses", None)
    again = models["text"].score("the quick fox")
    with pytest.raises(TypeError):
        again._repr_html_()
    assert scores.SHOWN == 5000
