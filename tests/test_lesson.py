"""The lesson: what the page computes is what the cells compute, and the command writes the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Page
from conftest import FORMS, Run, run_window
from exported import KINDS, make, page_data

import charlm as package
from charlm.arrays import Array, Ids
from charlm.config.build import build_ids, fresh_parameters
from charlm.config.reading import resolve
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.inference.generate import Sampling, TextSampler
from charlm.inference.reading import read_text
from charlm.lessons import hello
from charlm.lessons import page as lessons
from charlm.nn import cells
from charlm.nn.parameters import Parameters, under
from charlm.runs import checkpoint
from charlm.runs.checkpoint import NOT_TRAINED, Checkpoint
from charlm.system.errors import ConfigError
from charlm.web import assembly

TEXTS = (
    "h",
    "hello",
    '세라는 "안녕"이라고 했다.',
    "aaaaaaaaaaaa",
    "The old man said: 'hello'",
    "first\nsecond\n\nthird",
    "</script><b>&amp;\u2028$",
    "e\u0301 \U0001f600 \t",
    "0123456789",
    ("The ferry came over at noon, 그리고 아무도 내리지 않았다. " * 6)[:200],
)
"""Texts that a lesson reads: of one character, Korean, of 200 characters, markup among them."""

HIDDEN, WINDOW = 5, 7
"""Units of a layer; steps of a window, where the text is cut into several."""


def network(form: str, layers: int) -> Checkpoint:
    """A network of some size that has learned nothing and knows all characters of `TEXTS`."""
    cell, _, reset = form.partition(" ")
    settings = {
        "model.cell": cell,
        "model.gru_reset": reset or "after",
        "model.layers": layers,
        "model.hidden": HIDDEN,
        "model.dropout": 0.5,
    }
    config = resolve(settings, f"{form} {layers}")
    vocabulary = Vocabulary(map(ord, "".join(TEXTS)), Units())
    made = Checkpoint(config, vocabulary, Parameters({}), {"characters": 0}, dict(NOT_TRAINED))
    parameters = fresh_parameters(made.model, config.model, seed=layers)
    parameters.flat += 0.4 * np.random.default_rng(5).standard_normal(parameters.flat.size, np.float32)
    return Checkpoint(config, vocabulary, parameters, {"characters": 0, "train": 0}, dict(NOT_TRAINED))


NETWORKS = {(form, layers): network(form, layers) for form in FORMS for layers in (1, 2)}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lesson with every one of `NETWORKS`."""
    file = tmp_path_factory.mktemp("lesson") / "lesson.html"
    assembly.write(file, lessons.lesson(list(NETWORKS.values()), TEXTS[1]))
    return file


OPENED = """
globalThis.networks ??= data.models.map(({ cell, model, parameters: { shapes, packed } }) => {
  const all = Float64Array.from(unpacked(packed, Float32Array));
  let start = 0;
  const next = (shape) => all.subarray(start, (start += shape.reduce((n, axis) => n * axis, 1)));
  const arrays = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, next(shape)]));
  return new Network(cell, model.hidden, arrays);
});
globalThis.packedNumbers = (arrays) => {
  const all = new Float64Array(arrays.reduce((size, { length }) => size + length, 0));
  let start = 0;
  for (const array of arrays) {
    all.set(array, start);
    start += array.length;
  }
  const bytes = new Uint8Array(all.buffer);
  let text = "";
  for (let k = 0; k < bytes.length; k += 8192) text += String.fromCharCode(...bytes.subarray(k, k + 8192));
  return btoa(text);
};
"""
"""JavaScript: the networks of the page in float64, and a way to hand over numbers to the last bit."""


@pytest.fixture
def opened(page: Page, file: Path) -> Page:
    """The page with `NETWORKS`, opened for the first test that needs it, and what `OPENED` defines."""
    if not page.evaluate(f"location.pathname === {json.dumps(str(file))} && 'networks' in globalThis"):
        page.open(file)
        page.evaluate(OPENED)
    return page


def numbers(page: Page, expression: str) -> Array:
    """The numbers of an expression, which is a list of arrays, one after the other."""
    return np.frombuffer(base64.b64decode(page.evaluate(f"packedNumbers({expression})")))


FORWARD: dict[str, tuple[str, ...]] = {
    "rnn": ("x", "h_prev", "a", "h"),
    "lstm": (
        *("x", "h_prev", "c_prev", "a_i", "a_f", "a_o", "a_g"),
        *("i", "f", "o", "g", "c", "tanh_c", "h"),
    ),
    "gru after": ("x", "h_prev", "a_r", "a_z", "r", "z", "u", "a_n", "n", "h"),
    "gru before": ("x", "h_prev", "a_r", "a_z", "r", "z", "s", "a_n", "n", "h"),
}
"""Every value of a step by its name, in the order in which the page computes them."""

ARRIVING = {
    "rnn": ("dh_above", "dh_next", "dh", "da", "dx", "dh_prev"),
    "lstm": (
        *("dh_above", "dh_next", "dc_next", "dh", "dc", "da_i", "da_f", "da_o", "da_g"),
        *("dx", "dh_prev", "dc_prev"),
    ),
    "gru after": ("dh_above", "dh_next", "dh", "da_r", "da_z", "da_n", "du", "dx", "dh_prev"),
    "gru before": ("dh_above", "dh_next", "dh", "da_r", "da_z", "da_n", "dx", "dh_prev"),
}
"""The gradients of a step that can be read from `Cell.step_backward`: a bias has the gradient of its sum."""

Named = dict[str, Array]


class Reference:
    """A network in float64, step by step with `Cell.step` and `Cell.step_backward`.

    `values[t][l]` and `gradients[t][l]` have the arrays of a step and a layer by name.
    """

    def __init__(self, made: Checkpoint, ids: Ids, window: int, of: int | None = None) -> None:
        self.made, self.cell, self.ids = made, made.model.cell, ids
        self.params = Parameters(made.parameters.shapes, flat=made.parameters.flat.astype(np.float64))
        self.grads = self.params.zeros_like()
        L, N, V = made.model.layers, len(ids), len(made.vocabulary)
        self.own = [dict(under(self.params, f"layers.{layer}")) for layer in range(L)]
        self.values: list[list[Named]] = []
        self.logits = np.empty((N, V))
        saved = []
        states = [tuple(np.zeros((1, made.model.hidden)) for _ in self.cell.states)] * L
        for t in range(N):
            signal = np.eye(V)[[ids[t]]]
            self.values.append([])
            saved.append([])
            for layer in range(L):
                before = states[layer]
                states[layer], kept = self.cell.step(self.own[layer], signal, before)
                self.values[t].append(self._named(layer, signal, before, states[layer], kept))
                saved[t].append(kept)
                signal = states[layer][0]
            self.logits[t] = (signal @ self.params["output.W"] + self.params["output.b"])[0]
        exponentials = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        self.p = exponentials / exponentials.sum(axis=1, keepdims=True)
        self.losses = -np.log(self.p[np.arange(N - 1), ids[1:]])
        self.dlogits = np.zeros((N, V))
        self.gradients: list[list[Named]] = [[{}] * L for _ in range(N)]
        zero = [tuple(np.zeros((1, made.model.hidden)) for _ in self.cell.states)] * L
        after = list(zero)
        for t in reversed(range(N)):
            after = list(zero) if (t + 1) % window == 0 else after
            if t + 1 < N:
                weight = 1 / (N - 1) if of is None else float(of == t)
                self.dlogits[t] = weight * (self.p[t] - np.eye(V)[ids[t + 1]])
            self.grads["output.W"][...] += np.outer(self.values[t][-1]["h"], self.dlogits[t])
            self.grads["output.b"][...] += self.dlogits[t]
            above = self.dlogits[[t]] @ self.params["output.W"].T
            for layer in reversed(range(L)):
                dstate = (above + after[layer][0], *after[layer][1:])
                found = {"dh_above": above[0]}
                found |= {
                    f"d{state}_next": d[0] for state, d in zip(self.cell.states, after[layer], strict=True)
                }
                own = {name: np.zeros_like(array) for name, array in self.own[layer].items()}
                above, after[layer] = self.cell.step_backward(self.own[layer], own, saved[t][layer], dstate)
                found |= {f"da_{gate}": db for gate, db in zip(self.cell.gates, own["b"], strict=True)}
                found |= {"da": own["b"][0], "du": own.get("bn", own["b"][0]), "dx": above[0]}
                arriving = self.cell.arriving(saved[t][layer], dstate)
                for name, whole, part in zip(self.cell.states, arriving, after[layer], strict=True):
                    found |= {f"d{name}": whole[0], f"d{name}_prev": part[0]}
                self.gradients[t][layer] = found
                for name, array in own.items():
                    self.grads[f"layers.{layer}.{name}"][...] += array

    def _named(self, layer: int, x: Array, before: Any, after: Any, kept: Any) -> Named:
        """Everything that a step computes; what `step` does not save is the sum before a nonlinearity."""
        named = dict(kept._asdict()) | dict(zip(self.cell.states, after, strict=True))
        own, (h_prev, *_) = self.own[layer], before
        for k, gate in enumerate(self.cell.gates):
            recurrent = h_prev @ own["Wh"][k]
            if gate == "n":
                recurrent = named["r"] * named["u"] if "u" in named else named["s"] @ own["Wh"][k]
            named[f"a_{gate}"] = x @ own["Wx"][k] + recurrent + own["b"][k]
        named["a"] = named[f"a_{self.cell.gates[0]}"]
        return {name: array[0] for name, array in named.items()}


def ids_of(made: Checkpoint, text: str) -> Ids:
    """The ids of a text."""
    return build_ids(made.config.corpus, made.vocabulary, text).astype(int)


def assert_near(found: Array, named: Sequence[tuple[str, Array]], text: str) -> None:
    """Each number is equal to 1e-6, or where it is a millionth of the largest one of its array, to that."""
    expected = np.concatenate([array.ravel() for _, array in named])
    assert found.shape == expected.shape
    sizes = [array.size for _, array in named]
    largest = np.repeat(np.maximum.reduceat(np.abs(expected), np.cumsum([0, *sizes[:-1]])), sizes)
    wrong = ~(np.abs(found - expected) <= 1e-6 * np.maximum(np.abs(expected), 1e-6 * largest))
    if wrong.any():
        places = np.repeat(np.arange(len(sizes)), sizes)[wrong]
        pytest.fail(f"{text!r}: {[named[place][0] for place in np.unique(places)[:9]]}")


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_every_number_is_that_of_the_cell(opened: Page, form: str, layers: int) -> None:
    """Each value and gradient of each step of ten texts, and the gradients of all parameters."""
    made, number = NETWORKS[form, layers], list(NETWORKS).index((form, layers))
    for text in TEXTS:
        ids = ids_of(made, text)
        assert opened.evaluate(f"models[{number}].vocabulary.read({json.dumps(text)})") == ids.tolist()
        expected = Reference(made, ids, window=1000)
        found = numbers(
            opened,
            f"(() => {{ const network = networks[{number}]; const pass = network.forward({ids.tolist()});"
            " const gradients = network.backward(pass); return ["
            "...pass.steps.flatMap(({ layers, logits, p, loss }, t) => ["
            f"...layers.flatMap((own) => {list(FORWARD[form])}.map((name) => own[name])),"
            "logits, p, [loss ?? 0],"
            f"...gradients.steps[t].layers.flatMap((own) => {list(ARRIVING[form])}.map((name) => own[name])),"
            "gradients.steps[t].dlogits]), [pass.loss ?? 0],"
            "...Object.values(gradients.parameters)]; })()",
        )
        arrays: list[tuple[str, Array]] = []
        for t in range(len(ids)):
            for layer, own in enumerate(expected.values[t]):
                arrays += [(f"{name}, t={t}, layer {layer}", own[name]) for name in FORWARD[form]]
            arrays += [(f"logits, t={t}", expected.logits[t]), (f"p, t={t}", expected.p[t])]
            arrays.append((f"loss, t={t}", expected.losses[t : t + 1] if t + 1 < len(ids) else np.zeros(1)))
            for layer, own in enumerate(expected.gradients[t]):
                arrays += [(f"{name}, t={t}, layer {layer}", own[name]) for name in ARRIVING[form]]
            arrays.append((f"dlogits, t={t}", expected.dlogits[t]))
        arrays.append(("loss", np.array([expected.losses.mean() if len(ids) > 1 else 0.0])))
        arrays += [(f"gradient of {name}", array.ravel()) for name, array in expected.grads.items()]
        assert_near(found, arrays, text)


@pytest.mark.parametrize("form", FORMS)
def test_one_prediction_and_windows(opened: Page, form: str) -> None:
    """The gradients of one prediction stop where its window begins; those of the mean are training's."""
    made, number = NETWORKS[form, 2], list(NETWORKS).index((form, 2))
    ids = ids_of(made, TEXTS[4])
    made_pass = f"(pass = networks[{number}].forward({ids.tolist()}, {WINDOW}))"
    opened.evaluate(f"(globalThis.pass = null, {made_pass}, 0)")
    for of in (None, 11):
        expected = Reference(made, ids, WINDOW, of)
        found = numbers(
            opened,
            f"(() => {{ const of = networks[{number}].backward(pass, {{ of: {json.dumps(of)} }}); return ["
            "...of.steps.flatMap(({ layers }) => layers.map((own) => own.dh)),"
            "...Object.values(of.parameters)]; })()",
        )
        arrays = [(f"dh, t={t}", own["dh"]) for t, step in enumerate(expected.gradients) for own in step]
        arrays += [(name, array.ravel()) for name, array in expected.grads.items()]
        assert_near(found, arrays, f"{form}, prediction {of}")
    whole = expected.params.zeros_like()
    x, y = ids[:-1, None], ids[1:, None]
    state = made.model.zero_state(1, np.float64)
    for start in range(0, len(x), WINDOW):
        rows = slice(start, start + WINDOW)
        ran = run_window(made.model, expected.params, x[rows], y[rows], state)
        whole.flat += ran.grads.flat * len(x[rows]) / len(x)
        state = ran.state
    found = numbers(opened, f"Object.values(networks[{number}].backward(pass).parameters)")
    assert_near(found, [("the whole window", whole.flat)], form)


@pytest.mark.parametrize("form", FORMS)
def test_every_gradient_is_a_central_difference(opened: Page, form: str) -> None:
    """Whatever the page checks is right to 1e-4: values of some steps, of short texts all, and parameters."""
    for layers, (text, window) in [(1, ("", WINDOW)), *((2, (text, 1000)) for text in TEXTS)]:
        made, number = NETWORKS[form, layers], list(NETWORKS).index((form, layers))
        ids = ids_of(made, text or TEXTS[4]).tolist()
        checked = opened.evaluate(
            f"(() => {{ const network = networks[{number}], checked = [];"
            f"const pass = network.forward({ids}, {window}), gradients = network.backward(pass);"
            "const check = (place) => { const { analytic, numeric, error } = network.check(gradients, place);"
            " checked.push([JSON.stringify(place), analytic, numeric, error]); };"
            f"for (const t of {sorted({len(ids) // 3, max(0, len(ids) - 2)})[:: 1 + len(ids) // 50]}) {{"
            "  for (const name of ['logits', 'p']) check({ name, t, unit: pass.steps[t].target ?? 0 });"
            "  for (const [layer, own] of pass.steps[t].layers.entries()) {"
            "    for (const name of pass.ids.length > 12 ? ['h'] : Object.keys(own)) {"
            f"     check({{ name, t, layer, unit: t % {HIDDEN} }}); }} }} }}"
            "for (const [parameter, array] of Object.entries(gradients.parameters)) {"
            "  const sizes = array.map(Math.abs);"
            "  check({ parameter, entry: sizes.indexOf(Math.max(...sizes)) }); }"
            "return checked; })()"
        )
        names = 1 if len(ids) > 12 else len(FORWARD[form])
        assert len(checked) >= 2 + layers * names + len(made.parameters.shapes)
        for place, analytic, numeric, error in checked:
            size = max(abs(analytic), abs(numeric))
            assert abs(analytic - numeric) <= 1e-4 * size + 1e-9, f"{text!r}: {place}: {analytic}, {numeric}"
            assert error == pytest.approx(abs(analytic - numeric) / size if size else 0)


@pytest.mark.parametrize("form", FORMS)
def test_paths_sum_to_the_gradient(opened: Page, form: str) -> None:
    """The parts of each state of each step sum to the whole; before the window nothing arrives."""
    number = list(NETWORKS).index((form, 2))
    ids = ids_of(NETWORKS[form, 2], TEXTS[4]).tolist()
    states = NETWORKS[form, 2].model.cell.states
    for layer in (0, 1):
        reached = opened.evaluate(
            f"networks[{number}].reach(networks[{number}].forward({ids}, {WINDOW}), 11, {layer})"
            f".map((step) => ({{ ...step, parts: {list(states)}.flatMap((state) =>"
            "  Object.entries(step[state].parts).map(([path, part]) =>"
            "    [state, path, [...part.whole], part.norm, part.along])),"
            f" wholes: {list(states)}.map((state) => [[...step[state].whole], step[state].norm]) }}))"
        )
        expected = Reference(NETWORKS[form, 2], np.array(ids), WINDOW, of=11)
        assert [step["t"] for step in reached] == list(range(12))
        for t, step in enumerate(reached):
            assert step["cut"] == (t < WINDOW)
            for state, (whole, norm) in zip(states, step["wholes"], strict=True):
                parts = [part for part in step["parts"] if part[0] == state]
                np.testing.assert_allclose(
                    whole, expected.gradients[t][layer][f"d{state}"], rtol=1e-9, atol=1e-15
                )
                np.testing.assert_allclose(np.sum([part[2] for part in parts], axis=0), whole, atol=1e-12)
                assert norm == pytest.approx(np.linalg.norm(whole))
                assert sum(part[4] for part in parts) == pytest.approx(norm, abs=1e-12)
                assert bool(norm) == (not step["cut"])
        gates = {"rnn": None, "lstm": "f"}.get(form, "z")
        straight = expected.gradients[11][layer][f"d{states[-1]}"]
        for t in range(10, WINDOW - 1, -1):
            straight = straight * expected.values[t + 1][layer][gates] if gates else straight
            found = reached[t]["straight"]
            assert found == (pytest.approx(np.linalg.norm(straight)) if gates else None)
    paths = {path for step in reached for _, path, *_ in step["parts"]}
    assert paths == {
        "rnn": {"above", "h"},
        "lstm": {"above", "i", "f", "o", "g", "h", "direct"},
    }.get(form, {"above", "direct", "r", "z", "n"})


def greedy(made: Checkpoint, prime: str, length: int) -> str:
    """The text that a network writes after a prime, the likeliest unit each time."""
    sampler = TextSampler.of(made.config.corpus, made.model, made.parameters, made.vocabulary)
    drawn = sampler.draw(sampler.codes(prime), length, Sampling(greedy=True), np.random.default_rng())
    return "".join(sampler.written(drawn))


def test_without_a_run_the_cells_learn_hello(page: Page, charlm: Run, tmp_path: Path) -> None:
    """The command trains four networks that say `llo` after `he`; the page computes what they compute."""
    done = charlm("lesson")
    file = tmp_path / "lesson.html"
    assert done.stderr == f"lesson.html: {file.stat().st_size / 1e6:.2f} MB\n"
    networks = hello.networks()
    assert [greedy(made, "he", 3) for made in networks] == ["llo"] * 4
    assert file.read_text() == lessons.lesson(networks, "hello")
    page.open(file)
    for cell, form, made in zip(assembly.CELLS, FORMS, networks, strict=True):
        expected = Reference(made, ids_of(made, "hell"), window=1000)
        page.evaluate(f"lesson.set({{ cell: '{cell}', text: 'hell' }})")
        values = page.evaluate(f"lesson.values({{ cell: '{cell}', layer: 0, t: 2 }})")
        named = {name: expected.values[2][0][name] for name in FORWARD[form]}
        named |= {name: expected.gradients[2][0][name] for name in ARRIVING[form]}
        named |= {"logits": expected.logits[2], "p": expected.p[2], "dlogits": expected.dlogits[2]}
        for name, array in named.items():
            np.testing.assert_allclose(values[name], array, rtol=1e-6, atol=1e-15, err_msg=f"{cell}: {name}")
    Wh = networks[0].parameters["layers.0.Wh"][0]
    most = page.evaluate("mostLengthened(models[0].network.layers[0].Wh.h)")
    assert most == pytest.approx(np.linalg.norm(Wh, 2), rel=1e-4)
    about = page.text("#network")
    assert about.startswith("The alphabet of this network (4): e, h, l, o. ")
    assert "a text of length 5 in 60 updates" in about
    page.evaluate("lesson.set({ text: 'hex' })")
    assert "x" in page.text("#message")
    assert page.evaluate("lesson.values({ cell: 'rnn', layer: 0, t: 3 }).x.length") == 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_shown_on_its_own_text(page: Page, charlm: Run, tmp_path: Path, kind: str) -> None:
    """Without --text the page reads words of the validation split, by the vocabulary of the model."""
    made = make(tmp_path, "gru before", kind)
    checkpoint.save(tmp_path / "made.npz", made)
    charlm("lesson", "made.npz")
    file = tmp_path / "lesson.html"
    text = page_data(file)["text"]
    assert 1 < len(text) <= 40
    assert text in made.vocabulary.text(read_text(made).text.ids)
    page.open(file)
    model = package.load(tmp_path / "made.npz")
    for one in (text, KINDS[kind][2], f"{text}\n\n{text}"):
        page.evaluate(f"lesson.set({{ text: {json.dumps(one)} }})")
        trace = model.trace(one)
        for t in {0, len(trace.ids) // 2, len(trace.ids) - 1}:
            values = page.evaluate(f"lesson.values({{ cell: 'gru-before', layer: 0, t: {t} }})")
            np.testing.assert_allclose(values["p"], trace.probabilities[t], rtol=1e-3, atol=1e-6)
            np.testing.assert_allclose(values["h"], trace.states["layers.0"]["h"][t], rtol=1e-3, atol=1e-5)


def test_several_runs(page: Page, charlm: Run, tmp_path: Path) -> None:
    """Each reads the text by its own vocabulary; the command says what each adds, and the function agrees."""
    for name, form, text in (("a", "rnn", ""), ("b", "lstm", "abc 12.\n" * 99)):
        directory = tmp_path / name
        directory.mkdir()
        checkpoint.save(directory / "best.npz", make(directory, form, text=text, run__dir=name))
    both = ("lesson", "a/best.npz", "b/best.npz")
    done = charlm(*both, "--text", "ab c", "--out", "two.html", "--language", "ko")
    size = (tmp_path / "two.html").stat().st_size
    count = package.load(tmp_path / "b" / "best.npz").parameters
    bytes_ = sum(array.size for array in count.values()) * 16 / 3
    assert done.stderr.splitlines()[1:] == [
        f"b/best.npz adds {bytes_ / 1e6:.2f} MB",
        f"two.html: {size / 1e6:.2f} MB",
    ]
    models = [tmp_path / "a" / "best.npz", package.load(tmp_path / "b" / "best.npz")]
    assert package.lesson(models, tmp_path / "c.html", "ab c", "ko") == tmp_path / "c.html"
    assert (tmp_path / "c.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    page.open(tmp_path / "two.html")
    assert page.evaluate("document.documentElement.lang") == "ko"
    assert "자바스크립트" in page.text("noscript")
    assert page.evaluate("data.models.map(({ name, cell }) => [name, cell])") == [["a", "rnn"], ["b", "lstm"]]
    told = charlm(*both, "--text", "a q", "--out", "no.html", status=1).stderr
    assert told.startswith("Error: b: the text: characters that the model's vocabulary of 8 lacks: 'q'")
    assert not (tmp_path / "no.html").exists()


def test_what_cannot_be_shown(charlm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text, a file, a size or a cell that no page can have is an error of one line; nothing is written."""
    checkpoint.save(tmp_path / "made.npz", make(tmp_path))
    for arguments, words in (
        (["--text", ""], "text: 0 characters; a lesson takes from 1 to 2,000"),
        (["--text", "a" * 2001], "text: 2,001 characters; a lesson takes from 1 to 2,000"),
        (["--out", "lesson.pdf"], "lesson.pdf: the suffix must be one of .html, .htm"),
    ):
        assert words in charlm("lesson", "made.npz", *arguments, status=2).stderr
    told = charlm("lesson", "--text", "hex", status=1).stderr
    assert "lacks: 'x'" in told
    assert told.endswith("; it knows e, h, l, o\n")
    monkeypatch.setattr(lessons, "MOST_PARAMETERS", 1_000)
    told = charlm("lesson", "made.npz", status=2).stderr
    assert "parameters: a lesson holds at most 1,000: name fewer runs, or train a smaller network" in told
    with pytest.raises(ConfigError, match=r"a\.pdf: the suffix must be one of \.html"):
        package.lesson(path="a.pdf")
    with pytest.raises(ConfigError, match="language: expected one of en, ko"):
        package.lesson(language="fr")  # type: ignore[arg-type]
    monkeypatch.undo()
    monkeypatch.setitem(cells._REGISTRY, "leaky", {"": "leaky:LeakyRNN"})
    with pytest.raises(ConfigError, match=r"made: model\.cell: leaky is not one of rnn, lstm, gru"):
        lessons.lesson([make(tmp_path, "leaky", run__dir="made")], "a")
    assert not list(tmp_path.glob("*.html"))


def test_a_text_begins_with_whole_words() -> None:
    """Forty characters at most: a word that ends with the fortieth is whole, one that goes on is left out."""
    words = "a" * 19 + " " + "b" * 20
    assert lessons._beginning(f"\n{words} c") == words
    assert lessons._beginning(f"{words}b c") == "a" * 19
    assert lessons._beginning("a" * 41) == "a" * 40


def test_a_text_that_is_gone(charlm: Run, tmp_path: Path) -> None:
    """A run whose text cannot be read any more is shown with a text of its own, the same each time."""
    checkpoint.save(tmp_path / "made.npz", make(tmp_path))
    (tmp_path / "text.txt").unlink()
    charlm("lesson", "made.npz")
    first = (tmp_path / "lesson.html").read_bytes()
    assert len(page_data(tmp_path / "lesson.html")["text"]) > 1
    charlm("lesson", "made.npz")
    assert (tmp_path / "lesson.html").read_bytes() == first


def test_names_and_texts_cannot_become_markup(page: Page, tmp_path: Path) -> None:
    """Whatever a run or a text is called, the page shows it and does not run it."""
    markup = "</script><script>document.title='gone'</script>\u2028<img src=x onerror=a()>'\"&$text"
    made = make(tmp_path, text=markup * 30, run__dir="runs/" + markup.replace("/", "\\"))
    assembly.write(tmp_path / "page.html", lessons.lesson([made, made], markup))
    page.open(tmp_path / "page.html")
    assert page.evaluate("data.text") == markup
    assert page.evaluate("data.models[0].name") == markup.replace("/", "\\")
    assert page.evaluate("document.title") == page.evaluate("data.strings.en.title")
    assert page.evaluate("document.images.length") == 0


def usual(directory: Path) -> Checkpoint:
    """An LSTM of 128 units for 100 characters."""
    return make(directory, hidden=128, text="".join(map(chr, range(33, 133))) * 2)


def test_a_page_of_the_usual_size_is_small(tmp_path: Path) -> None:
    """An LSTM of 128 units for 100 characters makes a page of at most 1 MB."""
    made = usual(tmp_path)
    assert made.parameters["output.W"].shape == (128, 100)
    assert len(lessons.lesson([made], "a").encode()) < 1_000_000


@pytest.mark.slow
def test_a_page_of_the_usual_size_is_quick(page: Page, tmp_path: Path) -> None:
    """It is painted within 300 ms; a step takes the page's main thread at most 50 ms of the processor."""

    def busy() -> float:
        """Milliseconds of the processor that the main thread has taken."""
        metrics = page.command("Performance.getMetrics")["metrics"]
        return next(1000 * one["value"] for one in metrics if one["name"] == "TaskDuration")

    assembly.write(
        tmp_path / "page.html", lessons.lesson([usual(tmp_path)], "abcdefghijklmnopqrstuvwxyz" * 2)
    )
    page.command("Performance.enable", timeDomain="threadTicks")
    page.open(tmp_path / "page.html")
    paint = page.wait_for("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    for direction in ("forward", "backward"):
        page.evaluate(f"lesson.set({{ t: 20, node: 'c', direction: '{direction}' }})")
        steps = []
        for k in range(99):
            step = ("move(1)", f"set({{ unit: {k} }})", f"set({{ t: {k % 50} }})")[k % 3]
            begun = busy()
            page.evaluate(f"({step}, document.body.offsetHeight)")
            steps.append(busy() - begun)
        print(f"{paint:.0f} ms; a step {direction} {np.median(steps):.0f} ms, at most {max(steps):.0f} ms")
        assert max(steps) < 50
    assert paint < 300
