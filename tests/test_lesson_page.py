"""The lesson as it is used: stepped, clicked, typed into, asked, in both languages."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser import Page
from conftest import FORMS
from test_lesson import NETWORKS, TEXTS

from charlm.lessons import hello
from charlm.lessons import page as lessons
from charlm.web import assembly

STRINGS: dict[str, dict[str, str]] = json.loads(assembly.part("lessons/web/strings.json"))

HANGUL = re.compile("[가-힣]")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lesson of the lecture's example."""
    file = tmp_path_factory.mktemp("page") / "hello.html"
    assembly.write(file, lessons.lesson(hello.networks(), hello.TEXT))
    return file


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lesson with networks of two layers."""
    file = tmp_path_factory.mktemp("page") / "deep.html"
    networks = [NETWORKS[form, 2] for form in FORMS]
    assembly.write(file, lessons.lesson(networks, TEXTS[4]))
    return file


VISITS = itertools.count()

SETTLED = "new Promise((done) => setTimeout(done, 80))"
"""JavaScript: charts and maps are drawn after 60 ms."""


def show(page: Page, file: Path, fragment: str = "") -> None:
    """Open a page anew: to another fragment of the same address the browser would go without loading it."""
    page.open(f"{file.as_uri()}?{next(VISITS)}", fragment)


def chosen(page: Page) -> dict[str, Any]:
    """What is chosen in the page."""
    state: dict[str, Any] = page.evaluate("({ ...state, cell: chosen().key })")
    return state


def test_both_languages_say_the_same() -> None:
    """Every sentence is there in English and Korean, with the same places for values, and each is used."""
    english, korean = STRINGS["en"], STRINGS["ko"]
    assert list(STRINGS) == ["en", "ko"]
    assert english.keys() == korean.keys()
    scripts = "".join(assembly.part(script) for script in lessons.SCRIPTS)
    scripts += assembly.part("lessons/web/lesson.html") + assembly.part("lessons/page.py")
    for key, sentence in english.items():
        places = [set(re.findall(r"\{\w+\}", words)) for words in (sentence, korean[key])]
        assert places[0] == places[1], key
        assert HANGUL.search(korean[key]) or len(korean[key]) < 10, key
        assert not HANGUL.search(sentence), key
        kind, *_ = key.split(".")
        assert key in scripts or f"{kind}." in scripts, key


def test_every_formula_gives_the_number_of_the_network(page: Page, deep: Path) -> None:
    """With numbers put in, the equation of each node is its value or its gradient; each has sentences."""
    show(page, deep)
    nodes, wrong = page.evaluate(
        """(() => {
          const wrong = [];
          let nodes = 0;
          for (const [model, { key, hidden }] of models.entries()) for (const layer of [0, 1])
          for (const t of [0, 9, 24]) for (const window of [0, 3])
          for (const direction of ["forward", "backward"]) {
            Object.assign(state, { model, layer, t, direction, window, unit: t % hidden });
            scopeShown = null;
            const { nodes: graph, order } = graphNow();
            const { scope, matrices, step } = scopeNow();
            for (const name of order) {
              nodes += 1;
              const full = (backward() ? "d" : "") + name;
              for (const language of Object.keys(data.strings)) {
                state.language = language;
                const words = [meaning(name), nodeName(name), ...equationOf(name).lines];
                const isWrong = (line) => !line || /[{}]|undefined|NaN/.test(line);
                if (words.some(isWrong)) wrong.push([full, ...words]);
              }
              const formula = graph[name][backward() ? 3 : 2];
              if (!formula || /softmax|ln/.test(formula)) continue;
              const { f, terms } = parsed(formula);
              const k = indexOf(name, step);
              const sum = terms.reduce((all, term) => all + termValue(term, scope, matrices, k), 0);
              const value = f === "σ" ? 1 / (1 + Math.exp(-sum)) : f === "tanh" ? Math.tanh(sum) : sum;
              const error = Math.abs(value - scope[full][k]);
              if (!(error <= 1e-12 * Math.abs(value) + 1e-15)) wrong.push([key, full, value, scope[full][k]]);
            }
          }
          return [nodes, wrong];
        })()"""
    )
    assert wrong == []
    assert nodes > 1_000


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_it_is_stepped_by_keyboard(page: Page, deep: Path, direction: str) -> None:
    """The arrow keys go through the nodes in the order of computing, and on through layers and time."""
    show(page, deep, f"cell=gru-after&t=2&layer=1&direction={direction}")
    order = page.evaluate("graphNow().order")
    assert order[:3] == (["h_prev", "x", "a_r"] if direction == "forward" else ["loss", "p", "logits"])
    page.evaluate(f"lesson.set({{ node: '{order[0]}' }})")
    page.evaluate("element('graph').querySelector('.node.now').focus()")
    seen = [order[0]]
    for _ in order[1:]:
        page.press("ArrowRight")
        seen.append(page.evaluate("document.activeElement.dataset.node"))
    assert seen == order
    page.press("ArrowRight")
    now = chosen(page)
    assert (now["t"], now["layer"]) == ((3, 0) if direction == "forward" else (2, 0))
    page.press("ArrowLeft")
    assert chosen(page)["node"] == order[-1]


def test_what_is_to_come_has_no_number(page: Page, file: Path) -> None:
    """Nodes after the chosen one are there without a number; a click on one goes there."""
    show(page, file, "cell=lstm&t=2&node=f")
    labels = (
        "[...document.querySelectorAll('.node')].map((n) => [n.dataset.node, n.getAttribute('aria-label')])"
    )
    before = dict(page.evaluate(labels))
    assert re.fullmatch(r"f, forget gate: 0\.\d{3}", before["f"])
    assert before["o"] == "o, output gate"
    page.click("[data-node=o] .box")
    assert re.fullmatch(r"o, output gate: 0\.\d{3}", dict(page.evaluate(labels))["o"])
    assert "At step 2 the output gate shows" in page.text("#formula")
    mean = page.evaluate("percent(lesson.values({ t: 2 }).o.reduce((sum, o) => sum + o / 6, 0))")
    assert page.text("#formula").endswith(f"The mean of all 6 units is {mean}.")


def test_what_was_drawn_is_changed_in_place(page: Page, file: Path) -> None:
    """After steps, changes of network and edits the page is that of a new one, and its nodes are the same."""
    drawn = "['strip', 'graph', 'formula', 'reach', 'gates'].map((id) => element(id).outerHTML)"
    view = {"cell": "lstm", "text": "hello", "t": 1, "node": "c", "direction": "backward", "of": 3, "unit": 2}
    show(page, file, "&".join(f"{name}={value}" for name, value in view.items()))
    page.evaluate(SETTLED)
    fresh = page.evaluate(drawn)
    for other in ({"cell": "rnn", "text": "ll", "window": 1}, {"text": "helloheo", "unit": 0, "t": 4}):
        page.evaluate(f"set({json.dumps(other)})")
        page.evaluate(SETTLED)
        for _ in range(3):
            page.evaluate("move(1)")
    page.evaluate(f"basis = null, set({json.dumps({**view, 'window': 0})})")
    page.evaluate(SETTLED)
    assert page.evaluate(drawn) == fresh
    page.evaluate("globalThis.before = [...element('graph').children], move(1), move(-1)")
    assert page.evaluate("before.every((one, k) => one === element('graph').children[k])")


def test_an_address_opens_the_same_view(page: Page, file: Path) -> None:
    """The fragment follows what is chosen and brings it back; what makes no sense in one is left out."""
    view = {"cell": "gru-before", "text": "loe", "t": 1, "unit": 4, "direction": "backward"}
    show(page, file)
    page.evaluate(f"lesson.set({json.dumps({**view, 'node': 'z', 'window': 2, 'language': 'ko'})})")
    fragment = page.wait_for("location.hash.includes('gru-before') && location.hash.slice(1)")
    before = chosen(page)
    show(page, file, fragment)
    assert chosen(page) == before
    assert before.items() >= view.items()
    show(
        page,
        file,
        "cell=no&text=%3Cb%3E&t=-4&language=constructor&direction=up&node=__proto__&unit=1e9&window=x",
    )
    now = chosen(page)
    assert (now["text"], now["t"], now["unit"], now["language"]) == ("hello", 0, hello.HIDDEN - 1, "en")


def test_a_changed_text_is_marked(page: Page, file: Path) -> None:
    """The new character and the predictions that moved are marked; an unknown character changes nothing."""
    show(page, file, "cell=gru-after")
    page.evaluate("element('text').focus()")
    page.evaluate("element('text').setSelectionRange(1, 2)")
    page.type("o")
    assert chosen(page)["text"] == "hollo"
    assert page.evaluate("[...element('strip').children].map((e) => e.classList.contains('new'))") == [
        number == 1 for number in range(5)
    ]
    moved = page.evaluate(
        "[...element('strip').children].map((e) => Number(e.style.getPropertyValue('--moved')))"
    )
    assert moved[0] == 0
    assert max(moved) == 1
    page.evaluate("element('text').blur(), element('text').focus()")  # the basis stays
    message = page.text("#message")
    assert message.startswith("Compared with “hello”: the prediction after ")
    assert f"(step {moved.index(1)}) changed most" in message
    page.type("x")
    assert "“x”" in page.text("#message")
    assert "It knows e, h, l, o. Below is still “hollo”." in page.text("#message")
    assert page.evaluate("element('text').ariaInvalid") == "true"
    assert chosen(page)["text"] == "hollo"
    page.press("Tab")
    assert page.evaluate("[element('text').value, element('text').ariaInvalid]") == ["hoxllo", "true"]
    page.evaluate("move(1)")
    assert page.evaluate("element('text').value") == "hoxllo"
    assert "Below is still" in page.text("#message")
    show(page, file, "text=hex")
    assert page.evaluate("element('text').value") == "hex"
    assert "“x” (U+0078). It knows e, h, l, o. Below is still “hello”." in page.text("#message")
    page.evaluate("element('text').select()")
    page.type("hel" * 1000)
    page.wait_for("element('message').textContent.includes('2,000')")
    assert chosen(page)["text"] == ("hel" * 1000)[:2000]


def test_a_gradient_is_checked(page: Page, file: Path) -> None:
    """A right gradient agrees with a difference of two losses; a wrong one, or a planted sign, does not."""
    show(page, file, "cell=gru-after&t=1&node=z&unit=2")
    page.click("#check")
    assert "They agree" in page.text("#check-result")
    cells = "[...document.querySelectorAll('td')].map((e) => Number(e.textContent.replaceAll('−', '-')))"
    over, under, numeric, analytic, error = page.evaluate(cells)
    assert (over - under) / 2e-5 == pytest.approx(numeric, rel=1e-3)
    assert analytic == pytest.approx(numeric, rel=1e-5)
    assert analytic == pytest.approx(page.evaluate("lesson.values().dz[2]"), rel=1e-5)
    assert error < 1e-6
    page.click("#planted")
    assert "The planted error is found" in page.text("#check-result")
    assert page.evaluate(cells)[3:] == [-analytic, 2]
    page.click("#planted")
    assert "They agree" in page.text("#check-result")
    page.evaluate(
        "(() => { const { cell } = chosen().network; const right = cell.backward;"
        " const wrong = (d) => ({ ...d, dz: d.dz.map((one) => 1.001 * one) });"
        " cell.backward = (...all) => wrong(right.call(cell, ...all)); chosen().passes.clear(); })()"
    )
    page.click("#check")
    assert "They disagree" in page.text("#check-result")
    page.evaluate("lesson.set({ node: 'n' })")
    page.click("#check")
    assert "They agree" in page.text("#check-result")
    page.evaluate("lesson.set({ t: 0, node: 'r', cell: 'gru-before' })")
    page.click("#check")
    page.click("#planted")
    assert "−0 = 0" in page.text("#check-result")
    page.evaluate("lesson.set({ text: 'h' })")
    page.click("#check")
    assert "there is no loss" in page.text("#check-result")


def test_a_check_says_what_truncation_changes(page: Page, file: Path) -> None:
    """Where a window ends after a number, the gradient without truncation stands below it, and the share."""
    analytic = "document.querySelectorAll('td')[3].textContent"
    show(page, file, "cell=rnn&t=1&node=h")
    page.click("#check")
    whole = page.evaluate(analytic)
    assert "truncation" not in page.text("#check-result")
    page.evaluate("lesson.set({ window: 2 })")
    page.click("#check")
    with_cut, without = (float(text.replace("−", "-")) for text in (page.evaluate(analytic), whole))
    about = page.text("#check-result")
    assert "The state that step 2 takes over is held" in about
    assert f"the gradient is {whole}: a difference of {100 * abs(with_cut / without - 1):.1f}" in about


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the element with this id, or one in it, has the focus."""
    for _ in range(40):
        page.press("Tab")
        if page.evaluate(f"document.activeElement.closest('[id]')?.id === '{name}'"):
            return
    pytest.fail(f"Tab never reaches #{name}")


TASKS = {
    "Which gate of the LSTM kept the state at step 3?": (
        "cell ArrowDown strip" + 3 * " ArrowRight" + " graph" + 4 * " ArrowRight",
        "#formula",
        r"At step 3 the forget gate keeps \d\d % of the old memory 0\.\d+ of unit 0\.",
    ),
    "Why does the gradient of the last o reach the first h in the LSTM, and not in the RNN?": (
        "longer Enter",
        "#reach",
        r"RNN.*At “h”, 23 back: \d\.\de−7 of it arrives, × 0\.497 per step \(geometric mean\)\. No way is "
        r"straight: each step multiplies it by the slope of tanh, 1 − h², 0\.297 on average over the units, "
        r"and by Wh, which lengthens it at most 3\.324 times.*LSTM.*At “h”, 23 back: 1\d\.\d % of it "
        r"arrives, × 0\.930 per step.* 1\d\.\d % came straight, past every matrix and tanh: "
        r"× 0\.9\d+ per step \(geometric mean\), by f alone\. The plain "
        r"mean of f over the units is 0\.858",
    ),
    "What is dz made of?": (
        "cell ArrowDown ArrowDown strip ArrowRight ArrowRight direction ArrowRight graph" + 7 * " ArrowRight",
        "#formula",
        r"dz = dh \(hprev − n\)= 0\.\d+ · .*So dz is dh times the way between them",
    ),
    "What happens to the prediction if the second letter is another one?": (
        "text Home ArrowRight Delete o",
        "#message",
        r"Compared with “hello”: the prediction after “o” \(step 1\) changed most\. "
        r"“l” went from 9\d\.\d % to [67]\d\.\d %",
    ),
    "What does truncation cut?": (
        "window ArrowDown ArrowDown",
        "#reach",
        r"RNN.*The window begins at “l” \(step 3\): truncation cuts the gradient to everything before\.",
    ),
    "Is the gradient of the page right?": (
        "direction ArrowRight graph ArrowRight ArrowRight ArrowRight check Enter",
        "#check-result",
        r"✓ They agree: the relative error is at most 1e−4.*Central difference.*Backward pass.*ε = 1e−5",
    ),
}
"""Questions after a lecture: the keys that lead from the new page to the answer, and what is read there.

A word that is no key is an element: Tab is pressed until it has the focus.
"""


@pytest.mark.parametrize("question", TASKS)
def test_a_question_of_the_lecture_is_answered(page: Page, file: Path, question: str) -> None:
    """With the keyboard alone, the page says in words and numbers what was asked."""
    keys, place, answer = TASKS[question]
    show(page, file)
    for word in keys.split():
        if word.islower() and len(word) > 1:
            tab_to(page, word)
        else:
            page.press(word)
    page.wait_for("document.querySelectorAll('.map').length")
    spaces = "/[\\u00a0\\u202f]/g"
    page.wait_for(f"/{answer}/.test(document.querySelector('{place}').textContent.replace({spaces}, ' '))")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("result * 1.019", "Right"),
        ("result * 1.03", "Follow the lines above, and find"),
        ("-result", "not the sign"),
        ("terms[0]", "one term of the sum"),
        ("'a lot'", "Please type a number"),
    ],
)
def test_a_quiz(page: Page, file: Path, answer: str, words: str) -> None:
    """The number that is asked for is nowhere to be seen; the page judges what is filled in."""
    show(page, file, "cell=gru-before&t=2&node=h&unit=1")
    result = page.evaluate("shown(equationOf('h').result)")
    value = page.evaluate(
        f"(() => {{ const {{ result, terms }} = equationOf('h'); return String({answer}); }})()"
    )
    page.click("#quiz")
    assert result not in page.text("#stage")
    labels = "[...document.querySelectorAll('[aria-label]')].map((e) => e.ariaLabel)"
    page.wait_for(f"!{labels}.some((label) => label.includes('{result}'))")
    assert page.evaluate("document.activeElement.id") == "number"
    page.type(value)
    page.press("Enter")
    assert words in page.text("#check-result")
    assert (result in page.text("#formula")) == (words != "Please type a number")


def test_an_answer_from_the_numbers_shown_is_right(page: Page, deep: Path) -> None:
    """Each line of numbers that the quiz shows gives an answer that it accepts, and it asks for no other."""
    show(page, deep)
    found = page.evaluate(
        """(() => {
          const signs = { "−": "-", "·": "*", "²": "**2", σ: "sigma", tanh: "Math.tanh", exp: "Math.exp" };
          const sigma = (a) => 1 / (1 + Math.exp(-a));
          const inScript = (line) => line.replace(/[−·²σ]|tanh|exp/g, (sign) => signs[sign]);
          const worth = (line) => eval(inScript(line).replace(/ln ([\\d.e-]+)/, "Math.log($1)"));
          const wrong = [];
          let lines = 0;
          for (const [model, { hidden }] of models.entries()) for (const layer of [0, 1])
          for (const t of [0, 1, 8, 23, 24]) for (const direction of ["forward", "backward"]) {
            Object.assign(state, { model, layer, t, direction, unit: (3 * t) % hidden });
            scopeShown = null;
            for (const name of graphNow().order.filter((one) => !isGiven(one))) {
              const { full, lines: all, result, terms } = equationOf(name);
              lines += all.length - 1;
              if (all.length < 2) wrong.push(full);
              for (const line of all.slice(1)) {
                if (!isNear(worth(line), result, terms)) wrong.push([full, line, result]);
              }
            }
          }
          return { lines, wrong };
        })()"""
    )
    assert found["wrong"] == []
    assert found["lines"] > 500


def test_the_quiz_goes_on(page: Page, file: Path) -> None:
    """Next asks for the next number that can be computed, in the field; at the end there is none."""
    show(page, file, "cell=rnn&t=1&node=a&direction=backward")
    page.click("#quiz")
    assert page.evaluate("element('check').hidden")
    page.type("1")
    page.press("Enter")
    assert page.evaluate("document.activeElement.id") == "next"
    page.press("Enter")  # over dx and dh_prev
    assert (chosen(page)["t"], chosen(page)["node"]) == (0, "loss")
    assert page.evaluate("document.activeElement.id") == "number"
    page.click("#quiz")
    page.evaluate("lesson.set({ node: 'x' })")
    page.click("#quiz")
    assert "nothing to ask" in page.text("#check-result")
    assert page.evaluate("element('quiz').ariaPressed") == "false"


def test_a_window_cuts_the_way_back(page: Page, file: Path) -> None:
    """Where a window begins the chart says truncation, and the next step gives no gradient."""
    show(page, file, "cell=rnn&t=1&direction=backward&node=h")
    page.wait_for("element('reach').querySelectorAll('svg').length === 4")
    assert page.evaluate("document.querySelectorAll('.cut').length") == 0
    assert not page.evaluate("equationOf('h').lines[1].endsWith(' + 0')")
    page.evaluate("lesson.set({ window: 2 })")
    page.wait_for("document.querySelectorAll('.cut').length")
    assert page.text("#reach").count("The window begins at “l” (step 2): truncation cuts") == 4
    assert page.evaluate("document.querySelectorAll('.cut').length") == 4
    assert page.evaluate("equationOf('h').lines[1].endsWith(' + 0')")
    page.evaluate("lesson.set({ t: 2, node: 'h_prev' })")
    assert "A window begins here" in page.text("#formula")
    assert "a window begins: truncation" in page.text("#legend")
    for number, steps in (("0", "1"), ("-3", "1"), ("3", "3"), ("9", "5")):
        page.evaluate(f"element('window').value = {number}")
        page.evaluate("element('window').dispatchEvent(new Event('change'))")
        assert page.evaluate("element('window').value") == steps


def test_maps_and_charts_are_clicked(page: Page, file: Path) -> None:
    """A cell of a map chooses unit and step, the arrow keys go on from there; a bar chooses its step."""
    show(page, file, "cell=lstm&t=0")
    page.wait_for("document.querySelectorAll('.map').length === 6")
    page.evaluate("document.querySelector('.map[data-gate=f]').scrollIntoView({ block: 'center' })")
    x, y = page.evaluate(
        "(() => { const { x, y } = document.querySelector('.map[data-gate=f] svg').getBoundingClientRect();"
        " const wide = Number(document.querySelector('.map svg').dataset.wide);"
        " return [x + LEFT + 3.5 * wide, y + TOP + 4.5 * LINE]; })()"
    )
    for kind in ("mousePressed", "mouseReleased"):
        page.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    now = chosen(page)
    assert (now["t"], now["unit"]) == (3, 4)
    assert page.evaluate("element('key').textContent").startswith("−1.0001.000")
    f = page.evaluate("lesson.values().f.map((value) => shown(value))")
    line = "document.querySelector('.map[data-gate=f] + .here').textContent"
    page.evaluate(SETTLED)
    assert page.evaluate(line) == f"f of unit 4 at “l” (step 3): {f[4]}"
    page.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y - 14)
    page.wait_for(f"{line} === 'f of unit 3 at “l” (step 3): {f[3]}'")
    page.hover("#graph")
    page.wait_for(f"{line}.startsWith('f of unit 4')")
    legends = "['f', 'g', 'c'].map((gate) => document.querySelector(`[data-gate=${gate}]`).parentNode)"
    most = page.evaluate(
        "shown(Math.max(...[0, 1, 2, 3, 4].flatMap((t) => lesson.values({ t }).c.map(Math.abs))))"
    )
    ends = [["0", "1.000"], ["−1.000", "1.000"], [f"−{most}", most]]
    assert (
        page.evaluate(
            f"{legends}.map((e) => {{ const {{ childNodes }} = e.querySelector('.scale');"
            " return [childNodes[0].data, childNodes[2].data]; })"
        )
        == ends
    )
    page.evaluate("document.querySelector('.map[data-gate=f]').focus()")
    page.press("ArrowUp")
    page.press("ArrowRight")
    now = chosen(page)
    assert (now["t"], now["unit"]) == (4, 3)
    page.click("#reach figure:nth-child(2) .chart")
    assert chosen(page)["t"] == 3  # the picture has a margin on its right
    page.evaluate("document.querySelector('.chart').focus()")
    page.press("Home")
    page.press("ArrowRight")
    assert chosen(page)["t"] == 1
    said = page.wait_for(
        "document.activeElement.ariaLabel.match(/^RNN, (At “e” .step 1.: .*% arrives, ×.*)/)?.[1]"
    )
    assert page.evaluate("document.activeElement.nextSibling.textContent") == said
    reached = "models[0].network.reach(passOf(models[0]).pass, 3, 0)"
    times = page.evaluate(f"(([, one, next]) => shown(one.h.norm / next.h.norm))({reached})")
    assert said.split("\u202f")[1].split()[0] == times


def test_a_text_is_repeated_and_brought_back(page: Page, file: Path) -> None:
    """The button repeats the text, then brings it back, and keeps the focus."""
    show(page, file)
    page.wait_for("element('short').textContent.includes('too short')")
    page.evaluate("element('longer').focus()")
    for text in ("hello" * 5, "hello"):
        page.press("Enter")
        assert chosen(page)["text"] == text
        page.wait_for(f"element('longer').textContent.includes('Back') === {str(text != 'hello').lower()}")
        assert page.evaluate("document.activeElement.id") == "longer"
    page.evaluate(f"lesson.set({{ text: {json.dumps('hello' * 40)} }})")
    page.wait_for("document.querySelector('.chart')?.scrollLeft > 500")  # at the prediction


def test_another_network_keeps_the_place(page: Page, file: Path) -> None:
    """The counterpart of the chosen node is chosen: the update gate and the forget gate both keep."""
    show(page, file, "cell=gru-after&t=2&node=z&unit=1")
    for cell, node in (("lstm", "f"), ("gru-before", "z"), ("rnn", "h")):
        page.evaluate(f"lesson.set({{ cell: '{cell}' }})")
        assert (chosen(page)["node"], chosen(page)["t"], chosen(page)["unit"]) == (node, 2, 1)


def test_the_language_is_switched_at_once(page: Page, file: Path) -> None:
    """The select changes every word of the page, and nothing that is chosen."""
    show(page, file, "cell=lstm&t=1&node=f")
    before = chosen(page)
    page.wait_for("document.querySelectorAll('.map').length")
    page.evaluate("element('language').value = 'ko'; element('language').dispatchEvent(new Event('change'))")
    page.wait_for("element('gates').textContent.includes('유닛')")
    assert chosen(page) == {**before, "language": "ko"}
    assert page.evaluate("document.documentElement.lang") == "ko"
    seen = page.evaluate("document.body.innerText")
    for sentence in STRINGS["en"].values():
        if "{" not in sentence and len(sentence) > 12:
            assert sentence not in seen
