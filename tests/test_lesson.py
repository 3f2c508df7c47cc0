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
from charlm.inference.generate import Sampling
from charlm.inference.sampling import TextSampler
from charlm.lessons import hello, page as lessons
from charlm.nn import cells
from charlm.nn.parameters import Parameters, under
from charlm.runs import checkpoint
from charlm.runs.checkpoint import NOT_TRAINED, Checkpoint
from charlm.system.errors import CharlmError, ConfigError, VocabularyError
from charlm.web import assembly

TEXTS = (
    "h",
    "hello",
    "세라는 \"안녕\"이라고 했다.",
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
    "rnn": ("dh", "da", "dx", "dh_prev"),
    "lstm": ("dh", "dc", "da_i", "da_f", "da_o", "da_g", "dx", "dh_prev", "dc_prev"),
    "gru after": ("dh", "da_r", "da_z", "da_n", "du", "dx", "dh_prev"),
    "gru before": ("dh", "da_r", "da_z", "da_n", "dx", "dh_prev"),
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
        states = [tuple(np.zeros((1, HIDDEN)) for _ in self.cell.states)] * L
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
        zero = [tuple(np.zeros((1, HIDDEN)) for _ in self.cell.states)] * L
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
                own = {name: np.zeros_like(array) for name, array in self.own[layer].items()}
                above, after[layer] = self.cell.step_backward(self.own[layer], own, saved[t][layer], dstate)
                found = {f"da_{gate}": db for gate, db in zip(self.cell.gates, own["b"], strict=True)}
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
def test_every_number_is_that_of_the_cell(page: Page, file: Path, form: str, layers: int) -> None:
    """Each value and gradient of each step of ten texts, and the gradients of all parameters."""
    made, number = NETWORKS[form, layers], list(NETWORKS).index((form, layers))
    page.open(file)
    page.evaluate(OPENED)
    for text in TEXTS:
        ids = ids_of(made, text)
        assert page.evaluate(f"models[{number}].vocabulary.read({json.dumps(text)})") == ids.tolist()
        expected = Reference(made, ids, window=1000)
        found = numbers(
            page,
            f"(() => {{ const network = networks[{number}]; const pass = network.forward({ids.tolist()});"
            " const gradients = network.backward(pass); return ["
            "...pass.steps.flatMap(({ layers, logits, p, loss }, t) => ["
            f"...layers.flatMap((own) => {list(FORWARD[form])}.map((name) => own[name])), logits, p, [loss ?? 0],"
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
