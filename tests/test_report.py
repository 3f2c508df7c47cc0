"""The report: what it computes against naive twins, what it shows in a browser, and the command."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Page
from conftest import Run
from exported import KINDS, hidden_package, make, page_data
from test_history import log_line

from charlm.arrays import Array
from charlm.config.build import build_text
from charlm.data.units import Units
from charlm.inference.gradient_flow import gradient_flow
from charlm.inference.score import unit_losses
from charlm.inference.trace import Trace, trace
from charlm.nn import cells
from charlm.nn.parameters import Parameters
from charlm.report import drawing
from charlm.report import page as pages
from charlm.report.activity import (
    HIGH,
    LOW,
    by_position,
    correlation,
    hardest_words,
    neurons,
    ranked,
    saturation,
    surprise,
)
from charlm.report.characters import directions, kept, kind, layout, nearest
from charlm.report.drawing import apart
from charlm.report.drawing import number as rounded
from charlm.report.stretch import PROPERTIES, Stretch
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint
from charlm.system.errors import DivergenceError
from charlm.system.team import ALONE

FORMS = {"char": "lstm", "jamo": "gru", "byte": "rnn", "lines": "lstm", "mixed": "gru before"}
"""For each way of reading a text, the cell that is looked at."""

NASTY = (
    "He said </script><script>alert(1)</script> \"yes\" & 'no' <b>\u2028\u200f\u0301\u0300x\n"
    "\x1b[31mred\x00 (a [b] c) “in” “side”\n\nEND <!-- ]]> $policy ${data}\n"
) * 4


def stretch_of(made: Checkpoint, text: str, length: int = 100_000) -> Stretch:
    """The beginning of a text as the model reads it."""
    return Stretch.of(build_text(made.config.corpus, made.vocabulary, text), made.vocabulary, length)


def traced(made: Checkpoint, stretch: Stretch) -> Trace:
    """What the model computes along it."""
    names = made.vocabulary.names()
    return trace(made.model, made.parameters, stretch.ids, stretch.begins, names)


def written(made: Checkpoint, directory: Path, text: str, run: Path | None = None, length: int = 300) -> Path:
    """The page about a text."""
    read = build_text(made.config.corpus, made.vocabulary, text)
    file = directory / f"report-{len(list(directory.iterdir()))}.html"
    file.write_text(pages.report(made, run, read, "a text", length)[0])
    return file


MARKED = {
    "inside quotes": [
        ('a "b c" d', "  1111   "),
        ('"a," b "c"', "111    11 "),
        ('a" b "c', "     11"),  # what closes and was never opened is no quotation
        ('-"a" ("b")', " 11   11  "),
        ('"a\nb" c', "1111   "),  # over a line break
        ('"a\n\nb c', "111    "),  # but not over an empty line
        ("“a” «b» 「c」", "11  11  11 "),
        ('5" by 6"', "        "),
    ],
    "inside brackets": [
        ("a (b) c", "  11   "),
        ("((a)b) c", "11111   "),
        ("a (b c", "      "),  # never closed
        ("a) [b]", "   11 "),
        ("[a) b] c", "11111   "),
        ("1 < 2\n3 > 2", "           "),
        ("<b> x", "11   "),
        ("(a\nb) c", "1111   "),  # over a line break
    ],
    "position in the line": [("ab\ncd", "01012"), ("\n\na", "001")],
    "after a line break": [("ab\nc\n", "  1 1")],
    "capital letters": [("Ab ÉC1", "1  11 ")],
    "length of the word so far": [("ab c1é, d", "120123001")],
}
"""For each property texts, and below each character its value."""


@pytest.mark.parametrize("about", PROPERTIES)
def test_properties_of_a_text(about: str) -> None:
    """Each property is what a reader would write below the characters."""
    for text, values in MARKED[about]:
        found = PROPERTIES[about](list(text))
        assert "".join(f"{value:.0f}" for value in found) == values.replace(" ", "0"), text


@pytest.mark.parametrize("kind", KINDS)
def test_a_stretch_is_the_beginning_of_the_text(tmp_path: Path, kind: str) -> None:
    """Its characters are those of the text, each with its units, and as many as were asked for."""
    made, text = make(tmp_path, FORMS[kind], kind), KINDS[kind][0]
    whole, units = stretch_of(made, text[:700]), made.vocabulary
    joined = "".join(whole.letters)
    assert joined == units.text(whole.ids[whole.shown[0].units.start :])
    assert [one.units.stop for one in whole.shown[:-1]] == [one.units.start for one in whole.shown[1:]]
    assert whole.shown[-1].units.stop == len(whole.ids) == len(whole.begins)
    assert [letter == "\n" for letter in whole.letters] == [one.ends_line for one in whole.shown]
    if kind == "lines":
        assert joined.split() == text[:700].split()
        np.testing.assert_array_equal(whole.begins, whole.ids == units.line_break)
    else:
        assert whole.begins.tolist() == [True] + [False] * (len(whole.ids) - 1)
    part = stretch_of(made, text[:700], 50)
    assert part.letters == whole.letters[:50]
    np.testing.assert_array_equal(part.ids, whole.ids[: len(part.ids)])


def test_words_hold_what_is_inside_them(tmp_path: Path) -> None:
    """An apostrophe or a hyphen between letters belongs to the word, one beside it does not."""
    text = "It's 'odd' - well-known, isn’t it? 3rd-"
    stretch = stretch_of(make(tmp_path, text=text * 10), text)
    words = ["".join(stretch.letters[word]) for word in stretch.words()]
    assert words == ["It's", "odd", "well-known", "isn’t", "it", "3rd"]


def test_the_correlation_is_pearsons() -> None:
    """That of NumPy's own, 0 where something never changes, and the best first by its size."""
    rng = np.random.default_rng(0)
    states, values = rng.standard_normal((40, 300)), rng.standard_normal(300)
    states[3] = 0.1 + 1e-15 * states[3]  # never changes, but for what rounding leaves
    states[7] = -5 * values + 2
    found = correlation(states, values)
    for u in range(40):
        expected = 0.0 if u == 3 else np.corrcoef(states[u], values)[0, 1]
        assert found[u] == pytest.approx(expected, abs=1e-12)
    assert found[7] == pytest.approx(-1)
    order = ranked(found, 40)
    assert order[0] == 7
    assert order == sorted(range(40), key=lambda u: (-abs(found[u]), u))
    assert ranked(found, 5) == order[:5]
    assert correlation(states, np.ones(300)).tolist() == [0.0] * 40


@pytest.mark.parametrize("kind", KINDS)
def test_neurons_hold_what_there_is_after_each_character(tmp_path: Path, kind: str) -> None:
    """Layer by layer, state by state: the value after the last unit of the character, and its correlation."""
    made = make(tmp_path, FORMS[kind], kind, layers=2)
    stretch = stretch_of(made, KINDS[kind][0], 400)
    states = traced(made, stretch).states
    held = neurons(traced(made, stretch), stretch, most=10**9)
    assert held.groups == [(layer, name) for layer in (0, 1) for name in made.model.cell.states]
    H = made.model.hidden
    rows = list(map(int, np.cumsum([one.units.stop - one.units.start for one in stretch.shown])))
    before = stretch.shown[0].units.start
    for number, (layer, name) in enumerate(held.groups):
        for unit in (0, H - 1):
            u = number * H + unit
            own = states[f"layers.{layer}"][name][[before + row - 1 for row in rows], unit]
            own = np.tanh(own) if name == "c" else own
            np.testing.assert_allclose(held.values[u] / 127 * held.scales[u], own, atol=held.scales[u] / 250)
            for about, found in held.correlations.items():
                with np.errstate(invalid="ignore"):
                    expected = np.corrcoef(own.astype(float), PROPERTIES[about](stretch.letters))[0, 1]
                assert found[u] == pytest.approx(expected, abs=1e-6), about
    assert "position in the line" in held.correlations
    assert ("capital letters" in held.correlations) == any(letter.isupper() for letter in stretch.letters)
    fewer = neurons(traced(made, stretch), stretch, most=len(held.values) * 30 + 5)
    np.testing.assert_array_equal(fewer.values, held.values[:, :30])
    np.testing.assert_array_equal(
        fewer.correlations["position in the line"], held.correlations["position in the line"]
    )


def test_units_that_are_always_zero_stay_zero(tmp_path: Path) -> None:
    """The scale of a unit that never changes is 1: nothing is divided by zero."""
    made = make(tmp_path, change=lambda parameters: parameters.flat.fill(0.0))
    stretch = stretch_of(made, KINDS["char"][0], 40)
    held = neurons(traced(made, stretch), stretch)
    assert (held.scales == 1).all()
    assert not held.values.any()


def test_a_network_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    """Weights that make states infinite or NaN are one line, not a page of nothing."""
    made = make(tmp_path, change=lambda parameters: parameters.flat.fill(np.nan))
    with pytest.raises(DivergenceError, match="not a finite number"):
        written(made, tmp_path, KINDS["char"][0][:200])


@pytest.mark.parametrize("form", ["lstm", "gru", "rnn"])
def test_saturation_counts_the_ends(tmp_path: Path, form: str) -> None:
    """Of each gate between 0 and 1, and of no candidate, the share of the text at either end."""
    made = make(tmp_path, form, layers=2)
    found = traced(made, stretch_of(made, KINDS["char"][0], 200))
    gates = {"lstm": "ifo", "gru": "rz", "rnn": ""}[form]
    shares = saturation(found)
    assert [(one.layer, one.gate) for one in shares] == [(layer, gate) for layer in (0, 1) for gate in gates]
    for one in shares:
        values = found.gates[f"layers.{one.layer}"][one.gate]
        low = [sum(1 for value in column if value < LOW) / len(column) for column in values.T.tolist()]
        high = [sum(1 for value in column if value > HIGH) / len(column) for column in values.T.tolist()]
        np.testing.assert_allclose(one.low, low)
        np.testing.assert_allclose(one.high, high)
        assert one.low.shape == (made.model.hidden,)


@pytest.mark.parametrize("kind", KINDS)
def test_surprise_is_that_of_the_score(tmp_path: Path, kind: str) -> None:
    """Bits are those of `charlm eval perplexity`; expected units and ranks are those of a naive sort."""
    made = make(tmp_path, FORMS[kind], kind)
    text = KINDS[kind][0][:1500]
    stretch = stretch_of(made, text)
    logits = traced(made, stretch).logits
    found = surprise(logits, stretch.ids)
    losses = unit_losses(made.model, made.parameters, build_text(made.config.corpus, made.vocabulary, text))
    assert math.isnan(found.bits[0])
    assert found.ranks[0] == 0
    np.testing.assert_allclose(found.bits[1:], losses / math.log(2), atol=1e-4)
    for n in range(1, len(stretch.ids), 37):
        p = np.exp(logits[n - 1].astype(float)) / np.exp(logits[n - 1].astype(float)).sum()
        order = sorted(range(len(p)), key=lambda unit: (-p[unit], unit))
        assert found.expected[n].tolist() == order[:5]
        np.testing.assert_allclose(found.probabilities[n], p[order[:5]], rtol=1e-5)
        assert found.ranks[n] == 1 + order.index(stretch.ids[n])


def test_a_vocabulary_may_be_small() -> None:
    """Fewer units than are usually named are all named."""
    found = surprise(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 1]))
    assert found.expected[1].tolist() == [1, 0]
    assert found.ranks[1] == 1


def test_hardest_words_and_positions(tmp_path: Path) -> None:
    """Each word once where it is hardest; means over the characters at each place, against a naive count."""
    text = "one two one three\ntwo 'four' five-six\n" * 3
    stretch = stretch_of(make(tmp_path, text=text * 5), text)
    bits = np.random.default_rng(1).random(len(text)) * 8
    bits[0] = np.nan
    words: dict[str, float] = {}
    for match in re.finditer(r"[a-z]+(?:-[a-z]+)*", text):
        total = bits[match.start() : match.end()].sum()
        if not math.isnan(total):
            words[match[0]] = max(words.get(match[0], 0), total)
    expected = sorted(words, key=lambda word: -words[word])
    found = hardest_words(stretch, bits, 4)
    assert ["".join(stretch.letters[word]) for word in found] == expected[:4]
    assert [bits[word].sum() for word in found] == [words[word] for word in expected[:4]]
    by_line: dict[str, list[float]] = {}
    by_word: dict[str, list[float]] = {}
    column = within = 0
    for character, value in zip(text, bits.tolist(), strict=True):
        column, within = column + 1, within + 1 if character.isalnum() else 0
        place = next(f"{a}–{b}" if a < b else f"{a}" for a, b in LINE_PLACES if column <= b)
        by_line.setdefault(place, []).append(value)
        by_word.setdefault(str(within) if within else "other", []).append(value)
        column = 0 if character == "\n" else column
    for means, naive in zip(by_position(stretch, bits).values(), (by_line, by_word), strict=True):
        assert {one.label for one in means} == set(naive)
        for one in means:
            values = [value for value in naive[one.label] if not math.isnan(value)]
            assert (one.characters, one.bits) == (len(values), pytest.approx(sum(values) / len(values)))


LINE_PLACES = [(1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, 20), (21, 40)]


def test_alike_are_rows_that_point_the_same_way() -> None:
    """Cosines of rows less their mean, and the nearest of each, against a naive count."""
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((30, 24)) + 3
    units = directions(rows)
    cosines = units @ units.T
    centred = rows - rows.mean(axis=0)
    near = nearest(cosines)
    for v in range(30):
        naive = [centred[v] @ other / np.linalg.norm(centred[v]) / np.linalg.norm(other) for other in centred]
        np.testing.assert_allclose(cosines[v], naive)
        assert near[v].tolist() == sorted(set(range(30)) - {v}, key=lambda u: -naive[u])[:3]
    line = np.stack([np.arange(30.0) ** 2, np.zeros(30)], axis=1)
    by_place = [sorted(set(range(30)) - {v}, key=lambda u: abs(u**2 - v**2))[:3] for v in range(30)]
    share = sum(len(set(others) & set(near[v])) for v, others in enumerate(by_place)) / 90
    assert kept(near, line) == pytest.approx(share)
    assert directions(np.ones((3, 4))).tolist() == [[0.0] * 4] * 3
    assert [nearest(np.eye(V)).shape[1] for V in range(1, 9)] == [0, 1, 1, 1, 2, 2, 3, 3], "at most half"


def test_the_map_keeps_together_what_is_alike() -> None:
    """Planted groups stay together, better than by principal components; any number of units has a map."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.eye(12, 40), 4, axis=0)
    units = directions(groups + 0.1 * rng.standard_normal(groups.shape))
    cosines = units @ units.T
    places, near = layout(cosines), nearest(cosines)
    assert (near // 4 == np.arange(48)[:, None] // 4).all()
    assert kept(near, places) > 0.95
    assert kept(near, units @ np.linalg.svd(units)[2][:2].T) < 0.7
    np.testing.assert_array_equal(places, layout(cosines))
    for V in (1, 2, 3, 5):
        for rows in (np.ones((V, 4)), np.eye(V), rng.standard_normal((V, 4))):
            units = directions(rows)
            assert np.isfinite(layout(units @ units.T)).all()
            assert layout(units @ units.T).shape == (V, 2)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (
            Units(),
            {
                "vowel": "aEéωы",
                "consonant": "bÇyβщ",
                "letter": "가漢あ",
                "digit": "07½",
                "punctuation": ".\"'-「",
                "other": " \n+\u0301€\ue000",
            },
        ),
        (
            Units(normalize="nfd"),
            {"consonant": "\u1100\u1112", "vowel": "\u1161", "final consonant": "\u11a8\u11ab"},
        ),
        (
            Units("byte"),
            {"vowel": "a", "digit": "1", "first byte": "\xc3\xea\xf0\xff", "following byte": "\x80\xbf"},
        ),
    ],
)
def test_kinds_of_units(units: Units, expected: dict[str, str]) -> None:
    """Every unit is of the kind that a reader would say."""
    for what, characters in expected.items():
        assert {c: kind(ord(c), units) for c in characters} == dict.fromkeys(characters, what)


@pytest.mark.parametrize(
    ("value", "decimals", "shown"),
    [
        (0, 2, "0.00"),
        (2.345, 2, "2.35"),
        (0.1, 2, "0.10"),
        (0.00123, 2, "0.0012"),
        (8.1e-06, 3, "8.1e-06"),
        (12.34, 1, "12.3"),
        (0.0044, 3, "0.0044"),
    ],
)
def test_a_small_number_is_not_zero(value: float, decimals: int, shown: str) -> None:
    """Bits of a model that is nearly certain have the digits that tell them apart."""
    assert rounded(value, decimals) == shown


def test_a_text_that_is_learned_by_heart(page: Page, tmp_path: Path) -> None:
    """Nothing is labelled 0.00 or 100 % that is not, and what cannot be said is told as it is."""

    def confident(parameters: Parameters) -> None:
        parameters["output.W"][...] = 0
        parameters["output.b"][...] = [12, 0]

    made = make(tmp_path, text="ab" * 40, change=confident)
    file = written(made, tmp_path, "aaaa", length=100)
    source = file.read_text()
    assert "The 4 characters of a text" in source
    assert "8.9e-06 bits per character on these" in source
    assert "<p>No word is predicted from its first character on.</p>" in source
    assert ">0.00<" not in source
    assert source.count(">8.9e-06</text>") == 6
    page.open(file)
    assert "a: 0.0000089 bits, rank 1" in page.text("#expected")
    assert "> 99.9 %" in page.text("#expected")


def test_bars_are_as_tall_as_their_means() -> None:
    """Each is as tall as its mean beside the largest, on one line, and says of how many characters it is."""
    rows = [("1", 4.0, 1200), ("2–3", 1.0, 7), ("4+", 0.5, 30)]
    bars = re.findall(
        '<title>([^<]*)</title><rect x="[^"]*" y="([^"]*)" width="28" height="([^"]*)"',
        drawing.bars(rows, ""),
    )
    words = ["1: 4.000 bits, mean of 1,200", "2–3: 1.000 bits, mean of 7", "4+: 0.500 bits, mean of 30"]
    assert [title for title, _, _ in bars] == words
    heights = np.array([[float(y), float(height)] for _, y, height in bars])
    np.testing.assert_allclose(heights[:, 1], [110, 110 / 4, 110 / 8], atol=0.06)
    assert np.ptp(heights.sum(axis=1)) < 0.2


def test_each_sign_is_in_the_mark_of_its_kind() -> None:
    """On the map every sign has its place, its title and the colour of its kind; a link joins two of them."""
    kinds, places = list(drawing.MARKS), np.arange(18.0).reshape(9, 2) * [40, -30]
    signs, words = list("abcdefghi"), [f"{kind} of {k}" for k, kind in enumerate(kinds)]
    svg = drawing.constellation(places, signs, kinds, [(2, 7)], words, "")
    found = re.findall("<g><title>([^<]*)</title>(.*?)</g>", svg)
    assert [title for title, _ in found] == words
    for (_, drawn), sign, (corners, colour) in zip(found, signs, drawing.MARKS.values(), strict=True):
        assert f">{sign}</text>" in drawn
        assert ("<polygon" in drawn) == (f'stroke="{colour}"' in drawn) == bool(corners)
    at = np.array([re.findall('<text x="([^"]*)" y="([^"]*)"', drawn)[0] for _, drawn in found], float)
    np.testing.assert_allclose(at - at[0], places - places[0], atol=0.11)
    [ends] = re.findall('<line x1="([^"]*)" y1="([^"]*)" x2="([^"]*)" y2="([^"]*)"', svg)
    np.testing.assert_allclose(np.array(ends, float), [*at[2] - [0, 4.5], *at[7] - [0, 4.5]], atol=0.11)


def test_a_page_says_where_its_values_end(tmp_path: Path) -> None:
    """Where a network has too many units for the text, the note says how far their values go."""
    made = make(tmp_path)
    stretch = stretch_of(made, KINDS["char"][0], 50)
    whole, part = (
        pages._neurons_note(neurons(traced(made, stretch), stretch, most), 50) for most in (1600, 1599)
    )
    assert whole == "The values of c are tanh(c). "
    assert "at the first 49 characters only; the correlations are over all 50." in part


@pytest.mark.parametrize(("hard", "most"), [(9, 8), (11, 16)])
def test_the_darkest_shade_is_that_of_few(tmp_path: Path, hard: int, most: int) -> None:
    """It stands for twice as many bits if more than a quarter of the characters would have it."""
    made = make(tmp_path)
    stretch = stretch_of(made, KINDS["char"][0], 41)
    network = traced(made, stretch)
    bits = np.array([np.nan, *[20.0] * hard, *[1.0] * (40 - hard)])
    found = replace(surprise(network.logits, stretch.ids), bits=bits)
    assert pages._data(made, stretch, found, neurons(network, stretch))["most"] == most


def test_marks_are_moved_apart() -> None:
    """Points that lie on each other are parted, others stay where they are."""
    points = np.array([[0, 0], [0, 0], [3, 0], [200, 100]], float)
    moved = apart(points, 20.0)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(moved[a] - moved[b]) > 15
    assert moved[3].tolist() == [200, 100]


def test_a_text_cannot_become_markup(page: Page, tmp_path: Path) -> None:
    """Whatever a text holds, it is text: in the data, in the words, in the titles and in the pictures."""
    made = make(tmp_path, text=NASTY, run__dir="<script>alert(2)")
    run = tmp_path / "run"
    run.mkdir()
    log = json.dumps(log_line(1)) + "\n"
    (run / "metrics.jsonl").write_text(log)
    preview = {"step": 1, "epoch": 0.5, "text": NASTY}
    (run / "previews.jsonl").write_text(json.dumps(preview) + "\n")
    file = written(made, tmp_path, NASTY, run)
    source = file.read_text()
    assert source.count("<script") == 2
    assert "<script>alert" not in source
    assert "\u2028" not in source
    assert "\u200f" not in source
    assert "\x1b" not in source
    page.open(file)
    shown = page.evaluate("document.getElementById('losses-text').textContent")
    assert shown.startswith("He said </script><script>alert(1)</script>")
    assert "<U+2028><U+200F>◌́◌̀x↵\n␛[31m" in shown
    assert page.evaluate("document.querySelectorAll('script').length") == 2
    preview = page.text("#previews p")
    assert "␛[31mred␀" in preview
    assert preview.endswith("…"), "the beginning of a long one"
    assert "$policy ${data}" in shown
    assert "<script>alert(2)" in page.evaluate("document.title")


def test_each_curve_of_the_flow_has_its_own_name(tmp_path: Path) -> None:
    """The caption gives the norm at the last step for each state of each layer."""
    made = make(tmp_path, "lstm", layers=2)
    text = build_text(made.config.corpus, made.vocabulary, KINDS["char"][0] * 3)
    told, measured = pages._flow(made, text, ALONE), gradient_flow(made.model, made.parameters, text)
    for layer, state in itertools.product(range(2), range(2)):
        name = f"layer {layer} {measured.states[state]}"
        assert f"{name}: {measured.relative[layer, state, -1]:.1e}" in told


SECTIONS = ("curves", "gradient-flow", "losses", "neurons", "characters")


@pytest.mark.parametrize("kind", ["char", "jamo", "byte", "lines"])
def test_it_is_looked_at(page: Page, tmp_path: Path, kind: str) -> None:
    """In a browser every section is there; the mouse and the keys tell what the model computed."""
    made, text = make(tmp_path, FORMS[kind], kind, layers=2), KINDS[kind][0]
    page.open(written(made, tmp_path, text))
    assert page.evaluate("[...document.querySelectorAll('section')].map((s) => s.id)") == list(SECTIONS)
    for section in SECTIONS:
        assert page.evaluate(f"document.getElementById('{section}').getBoundingClientRect().height") > 100
    stretch = stretch_of(made, text, 300)
    found, held = surprise(traced(made, stretch).logits, stretch.ids), neurons(traced(made, stretch), stretch)
    shown = "".join(one.sign + "\n" * one.ends_line for one in stretch.shown)
    assert page.evaluate("document.getElementById('losses-text').textContent") == shown
    # the mouse
    k = next(
        k
        for k, one in enumerate(stretch.shown)
        if k > 10
        and not one.sign.isspace()
        and (found.ranks[one.units.start] > 5) == (kind in ("char", "byte"))
    )
    page.hover(f"#losses-text span:nth-child({k + 1})")
    told = page.text("#expected")
    units = range(stretch.shown[k].units.start, stretch.shown[k].units.stop)
    for n in units:
        assert f"{found.bits[n]:.2f} bits, rank {found.ranks[n]}" in told
    tables = page.evaluate(
        "[...document.querySelectorAll('#expected table')].map((table) => [...table.rows].map((row) => "
        "[row.cells[0].textContent, row.cells[3].textContent, row.className]))"
    )
    names = page.evaluate("names.map(visible)")
    assert len(tables) == len(units)
    for n, rows in zip(units, tables, strict=True):
        assert [name for name, _, _ in rows[:5]] == [names[unit] for unit in found.expected[n]]
        for (_, percent, _), p in zip(rows, found.probabilities[n], strict=False):
            assert float(percent.strip("<>% ")) == pytest.approx(100 * p, abs=0.51 if p >= 0.0995 else 0.1)
        assert [name for name, _, mark in rows if mark == "true"] == [names[stretch.ids[n]]]
        assert len(rows) == 5 + (found.ranks[n] > 5)
        if len(rows) > 5:
            assert float(rows[5][1].strip("<>% ")) == pytest.approx(100 * 2 ** -found.bits[n], abs=0.51)
    shade = page.evaluate(f"Number(lossBox.spans[{k}].style.getPropertyValue('--share'))")
    bits = np.array([found.bits[one.units].sum() for one in stretch.shown])
    most = 16 if np.nanquantile(bits, 0.75) > 8 else 8
    assert (most == 16) == (kind in ("jamo", "byte")), "untrained, every unit has some 6 bits"
    assert shade == pytest.approx(0.6 * min(1, bits[k] / most), abs=1e-3)
    assert page.text("#losses-scale").endswith(f"{most}+")
    assert page.evaluate("Number.isNaN(surprise(0))") == (kind != "lines"), "nothing comes before it"
    # the keys
    page.evaluate("document.getElementById('losses-text').focus()")
    for key, place in zip(("ArrowRight", "ArrowLeft", "End", "Home"), (k + 1, k, 299, 0), strict=True):
        page.press(key)
        assert (
            page.evaluate("[...document.querySelectorAll('.here')].map((s) => lossBox.numbers.get(s))[0]")
            == place
        )
    assert page.evaluate("element('expected').role") == "status", "it is read out"
    page.press("ArrowDown")
    assert page.evaluate("lossBox.spans[lossBox.here].offsetTop > lossBox.spans[0].offsetTop")
    page.press("ArrowUp")
    assert page.evaluate("lossBox.here") == 0
    # a text that moves below the mouse, which itself does not, is not pointed at
    for place in (5, 6):
        page.evaluate(
            f"lossBox.spans[{place}].dispatchEvent("
            "new PointerEvent('pointermove', { bubbles: true, clientX: 1, clientY: 1 }))"
        )
    assert page.evaluate("lossBox.here") == 5
    _check_neurons(page, held)
    # on a phone what is told stands above the text, which stays where it is
    page.resize(390, 800, phone=True)
    top = "lossBox.box.getBoundingClientRect().top + scrollY"
    tops = page.evaluate(f"[1, 2, 3, 4, 5, 6, 7, 8].map((k) => {{ lossBox.show(k); return {top}; }})")
    assert len(set(tops)) == 1


def _check_neurons(page: Page, held: Any) -> None:
    """The list, its keys and the fields choose a unit, and the text has its values."""
    H = len(held.values) // len(held.groups)

    def chosen() -> int:
        unit, group = page.evaluate("[Number(element('unit').value), element('group').selectedIndex]")
        layer, state = held.groups[group]
        assert page.text("#chosen") == f"layer {layer}, {state} {unit}"
        return group * H + unit  # type: ignore[no-any-return]

    def check(u: int) -> None:
        assert chosen() == u
        shades = page.evaluate(
            "valueBox.spans.map((s) => Number(s.style.getPropertyValue('--share'))"
            " * (s.className.includes('minus') ? -1 : 1))"
        )
        np.testing.assert_allclose(shades, held.values[u] / 127 * 0.6, atol=1e-3)

    about, best = next((about, ranked(r, 24)) for about, r in held.correlations.items())
    assert page.text("#property option") == about
    check(best[0])
    rows = page.evaluate("[...element('ranking').children].map((li) => li.lastChild.textContent)")
    r = [float(row.replace("−", "-")) for row in rows]
    np.testing.assert_allclose(r, held.correlations[about][best], atol=0.0056)
    page.click("#ranking li:nth-child(3)")
    check(best[2])
    page.evaluate("document.getElementById('ranking').focus()")
    for key, u in (("ArrowDown", best[3]), ("ArrowUp", best[2]), ("End", best[-1]), ("Home", best[0])):
        page.press(key)
        check(u)
    active = "element(element('ranking').getAttribute('aria-activedescendant'))"
    assert page.evaluate(f"{active}.getAttribute('aria-selected')") == "true"
    page.press("ArrowRight" if best[0] < len(held.values) - 1 else "ArrowLeft")
    assert abs(chosen() - best[0]) == 1
    page.evaluate("element('group').value = 1; element('unit').value = 3")
    page.evaluate("element('unit').dispatchEvent(new Event('change'))")
    check(H + 3)
    page.hover("#neurons-text span:nth-child(6)")
    value = held.values[H + 3][5] / 127 * held.scales[H + 3]
    assert page.text("#held").replace("−", "-").endswith(f": {value:+.2f}")


def test_pictures_show_what_was_measured(tmp_path: Path) -> None:
    """Each unit of a gate has its place, low across and high up."""
    made = make(
        tmp_path, layers=2, change=lambda parameters: np.multiply(parameters.flat, 4, parameters.flat)
    )
    source = written(made, tmp_path, KINDS["char"][0]).read_text()
    shares = saturation(traced(made, stretch_of(made, KINDS["char"][0], 300)))
    panels = source.split('<g transform="translate(')[1:]
    assert len(panels) == len(shares) == 6
    for one, panel in zip(shares, panels, strict=True):
        assert f"layer {one.layer}, gate {one.gate}" in panel
        dots = {
            f"{24 + 108 * x:.1f} {20 + 108 * (1 - y):.1f}"
            for x, y in zip(*map(hundredths, one[2:]), strict=True)
        }
        assert {" ".join(dot) for dot in re.findall('<circle cx="([^"]+)" cy="([^"]+)"', panel)} == dots


@pytest.mark.parametrize("kind", ["byte", "jamo"])
def test_words_count_units_and_point_at_characters(tmp_path: Path, kind: str) -> None:
    """A mean is of each unit; a button leads to a character, whatever it is made of."""
    made, text = make(tmp_path, "rnn", kind), KINDS[kind][0]
    source, stretch = written(made, tmp_path, text).read_text(), stretch_of(made, text, 300)
    bits = surprise(traced(made, stretch).logits, stretch.ids).bits
    unit = {"jamo": "unit"}.get(kind, kind)
    assert f"{rounded(np.nanmean(bits), 3)} bits per {unit} on these." in source
    places = [word.start for word in hardest_words(stretch, stretch.sums(bits))]
    assert [int(place) for place in re.findall('data-place="([0-9]+)"', source)] == places


def test_the_map_has_the_commonest_and_links_the_most_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large vocabulary the units that the text holds most often; a line from each to its nearest."""
    made, text = make(tmp_path), KINDS["char"][0]
    monkeypatch.setattr(pages, "_MOST_SIGNS", 12)
    drawn = []
    monkeypatch.setattr(drawing, "constellation", lambda *values: drawn.append(values) or "")
    source = written(made, tmp_path, text).read_text()
    counts = Counter(text[:300])
    [(_, shown, _, links, *_)] = drawn
    assert sorted((counts[sign] for sign in (" " if one == "␣" else one for one in shown)), reverse=True) == [
        count for _, count in counts.most_common(12)
    ]
    assert "They are the ones that occur most often in the text." in source
    ids = [made.vocabulary.names().index(" " if one == "␣" else one) for one in shown]
    rows = directions(np.concatenate(made.parameters["layers.0.Wx"], axis=1))[ids]
    cosines = rows @ rows.T - 9 * np.eye(12)
    assert links == [(k, row.argmax()) for k, row in enumerate(cosines) if row.max() > 0]


def hundredths(values: Array) -> list[float]:
    """Values rounded to hundredths."""
    return [round(value, 2) for value in values.tolist()]


def test_previews_from_the_first_to_the_last(tmp_path: Path) -> None:
    """Eight of many, evenly spread; the beginning of each, with a sign where something is left out."""
    texts = [f"text {k}" for k in range(22)]
    texts[0], texts[21] = "x" * 401, "\n".join("abcdefghi")
    lines = [{"step": k, "epoch": float(k), "text": text} for k, text in enumerate(texts)]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "previews.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = written(make(tmp_path), tmp_path, KINDS["char"][0], tmp_path / "run").read_text()
    shown = re.findall('<span class="side quiet">epoch ([0-9.]+)</span><p [^>]*>([^<]*)</p>', source)
    places = (0, 3, 6, 9, 12, 15, 18, 21)
    assert [float(epoch) for epoch, _ in shown] == [*places]
    texts[0], texts[21] = "x" * 400 + "…", "\n".join("abcdefgh") + "…"
    assert [text for _, text in shown] == [texts[k] for k in places]


def test_hardest_words_lead_to_their_places(page: Page, tmp_path: Path) -> None:
    """A click on a word points at its first character in the text."""
    made = make(tmp_path)
    page.open(written(made, tmp_path, KINDS["char"][0]))
    word = page.text("#hardest b")
    page.click("#hardest button")
    assert page.evaluate("document.activeElement.id") == "losses-text"
    place = page.evaluate("lossBox.here")
    assert page.evaluate(f"text.signs.slice({place}, {place + len(word)}).join('')") == word


def test_the_command(charlm: Run, tmp_path: Path) -> None:
    """`charlm report` looks at the newest run, writes into its directory, and says where and how large."""
    run = tmp_path / "runs" / "small"
    (tmp_path / "text.txt").write_text(KINDS["char"][0])
    settings = ("--set", "model.hidden=8", "--set", "train.epochs=1", "--set", "run.sample_length=20")
    (tmp_path / "small.yaml").write_text("corpus:\n  path: text.txt\n")
    charlm("train", "--config", "small.yaml", "--out", str(run), *settings)
    done = charlm("report", "--length", "400")
    file = run / "report.html"
    assert done.stderr == (
        f"using runs/small/best.npz\nruns/small/report.html: {file.stat().st_size / 1e6:.2f} MB\n"
    )
    assert "browser" in done.stdout
    source = file.read_text()
    assert "The first 400 characters of the validation split" in source
    assert "curves-figure" in source
    assert "What it wrote while it learned" in source
    assert len(page_data(file)["text"]["signs"]) == 400
    first = file.read_bytes()
    charlm("report", "runs/small", "--length", "400")
    assert file.read_bytes() == first
    (tmp_path / "other.txt").write_text("The old man and the old woman.\n" * 3)
    shutil.copy(run / "last.npz", tmp_path)  # alone it has no curves, which take time
    done = charlm("report", "last.npz", "--text", "other.txt", "--out", "a page.html")
    assert done.stderr.startswith("a page.html: ")
    assert "The 93 characters of other.txt" in (tmp_path / "a page.html").read_text()
    done_without = hidden_package(
        "matplotlib", tmp_path, "report", "runs/small", "--out", "plain.html", "--length", "300"
    )
    assert done_without.returncode == 0
    assert "pip install 'charlm[plot]'" in done_without.stderr
    assert "pip install &#x27;charlm[plot]&#x27;" in (tmp_path / "plain.html").read_text()
    for files in (["other.txt", "text.txt"], ["other.txt", "small.yaml", "text.txt"]):
        told = charlm("report", "--text", *files, status=2).stderr
        assert f"--text takes one path, and {len(files)} follow it: if the shell made them" in told
    told = charlm("report", "--out", "x.pdf", status=2).stderr
    assert "x.pdf: the suffix must be one of .html" in told
    (tmp_path / "wide.txt").write_bytes("The old man\n".encode("utf-16-le"))
    charlm("report", "last.npz", "--text", "wide.txt", "--encoding", "utf-16-le", "--out", "wide.html")
    assert "".join(page_data(tmp_path / "wide.html")["text"]["signs"]) == "The old man↵"
    (tmp_path / "odd.txt").write_text("漢字")
    told = charlm("report", "--text", "odd.txt", status=1).stderr
    assert told.startswith("Error: text ")
    assert "lacks" in told
    (tmp_path / "text.txt").unlink()
    told = charlm("report", status=1).stderr
    assert told.count("\n") == 1
    assert "--text names another one" in told
    assert not list(tmp_path.glob("x.*"))


def test_without_a_run_there_is_one_line(charlm: Run) -> None:
    """Where there is no run, the error says how to make one."""
    told = charlm("report", status=1).stderr
    assert told.startswith("Error: no run under ./runs: train one")


def test_a_checkpoint_alone_has_no_curves(charlm: Run, tmp_path: Path) -> None:
    """A checkpoint without a log beside it has a page; a cell of one's own too."""
    checkpoint.save(tmp_path / "made.npz", make(tmp_path))
    charlm("report", "made.npz", "--length", "300")
    assert "There is no log beside this checkpoint" in (tmp_path / "report.html").read_text()


def test_a_cell_of_ones_own_is_shown(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell that is not of the package, and names no gates, has every section."""
    monkeypatch.setitem(cells._REGISTRY, "leaky", {"": "leaky:LeakyRNN"})
    file = written(make(tmp_path, "leaky"), tmp_path, KINDS["char"][0])
    page.open(file)
    assert page.text("#chosen").startswith("layer 0, ")
    assert "leaky" in page.text("header p")
