"""What a trace holds: the network's own values, each beside the unit that it belongs to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import test_interface
from conftest import FORMS, Geometry, make_model, make_window
from naive import LAYERS
from test_interface import KINDS, every_kind

import charlm
from charlm.arrays import Ids
from charlm.inference import trace as traces
from charlm.inference.trace import Trace, trace
from charlm.nn import cells
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.system.errors import ConfigError

runs, models = test_interface.runs, test_interface.models


def _trace(model: Model, params: Parameters, ids: Ids, begins: list[int]) -> Trace:
    """A trace of ids whose names are their numbers; some begin from zero."""
    flags = np.zeros(len(ids), bool)
    flags[begins] = True
    return trace(model, params, ids, flags, [str(unit) for unit in range(model.vocab)])


def _named(memo: tuple[np.ndarray, ...], form: str, h: np.ndarray) -> dict[str, np.ndarray]:
    """The gates of a step of the naive twin by their names, from what it keeps."""
    if form == "rnn":
        return {"h": h}
    if form == "lstm":
        return dict(zip("ifog", memo[3:7], strict=True))
    return {"r": memo[2], "z": memo[3], "n": memo[-1]}


@pytest.mark.parametrize("kernel", ["fused", "textbook"])
@pytest.mark.parametrize("form", FORMS)
def test_every_value_is_that_of_the_naive_twin(
    form: str, kernel: str, geometry: Geometry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gates, states and logits of every unit and layer, windows and new beginnings included, to 1e-10."""
    monkeypatch.setattr(traces, "STEPS", 4)
    model = geometry.model(form, kernel=kernel)
    params = make_window(model)[0]
    params.flat *= min(1.0, 2 * model.hidden**-0.5)
    ids = np.random.default_rng(2).integers(0, model.vocab, 13)
    found = _trace(model, params, ids, [0, 6, 7])
    layers = [
        LAYERS[form]({name.split(".")[2]: a for name, a in params.items() if name.startswith(f"layers.{d}.")})
        for d in range(model.layers)
    ]
    zero = [[np.zeros(model.hidden) for _ in model.cell.states] for _ in layers]
    states = zero
    for n, unit in enumerate(ids):
        states = zero if n in (6, 7) else states
        signal, after = np.eye(model.vocab)[unit], []
        for depth, layer in enumerate(layers):
            state, memo = layer.step(signal, states[depth])
            signal, after = state[0], [*after, state]
            where = f"layers.{depth}"
            expected = dict(zip(model.cell.states, state, strict=True))
            assert set(found.states[where]) == set(expected)
            for name, value in expected.items():
                np.testing.assert_allclose(found.states[where][name][n], value, rtol=0, atol=1e-10)
            gates = _named(memo, form, state[0])
            assert tuple(found.gates[where]) == model.cell.gates == tuple(gates)
            for name, value in gates.items():
                np.testing.assert_allclose(found.gates[where][name][n], value, rtol=0, atol=1e-10)
        states = after
        logits = params["output.W"].T @ signal + params["output.b"]
        np.testing.assert_allclose(found.logits[n], logits, rtol=0, atol=1e-10)


def test_a_cell_of_ones_own() -> None:
    """A cell that says nothing of its gates has states and logits to look at."""
    cells.register("leaky", "leaky:LeakyRNN")
    try:
        model = make_model("leaky", 2)
    finally:
        del cells._REGISTRY["leaky"]
    params = make_window(model)[0]
    found = _trace(model, params, np.arange(7), [0])
    window = model.forward(params, np.arange(7)[:, None], model.zero_state(1, np.float64), Workspace())
    logits = window.output
    np.testing.assert_allclose(found.logits, logits[:, 0], atol=1e-12)
    assert found.units == list("0123456")
    assert found.gates == {"layers.0": {}, "layers.1": {}}
    assert found.states["layers.1"]["h"].shape == (7, 5)


@every_kind
def test_a_text_is_traced_unit_by_unit(models: dict[str, charlm.LanguageModel], kind: str) -> None:
    """Units, losses and probabilities are those of the text, of every kind of model; rows fit together."""
    model = models[kind]
    text = KINDS[kind][0][:90] if kind != "lines" else "anna\n\nberis"
    found = model.trace(text)
    N = len(found.ids)
    expected = {
        "lines": list("\nanna\nberis\n"),
        "bytes": [f"0x{b:02x}" if b >= 0x80 or b == 10 else chr(b) for b in text.encode()],
    }
    assert found.units == expected.get(kind, found.units)
    assert found.logits.dtype == found.states["layers.0"]["h"].dtype == np.float32
    assert found.units == [model.vocabulary[unit] for unit in found.ids]
    assert found.logits.shape == found.probabilities.shape == (N, len(model.vocabulary))
    assert all(
        a.shape == (N, 16) for a in (*found.states["layers.0"].values(), *found.gates["layers.0"].values())
    )
    np.testing.assert_allclose(found.losses, model.losses(text), atol=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    own = found.probabilities[np.arange(N - 1), found.ids[1:]]
    np.testing.assert_allclose(-np.log(own), found.losses, atol=1e-4)
    assert found.begins.tolist() == [
        n == 0 or (kind == "lines" and unit == "\n") for n, unit in enumerate(found.units)
    ]
    assert repr(found).startswith(f"<Trace of {N} units: layers.0 "), "in a line"
    # the last row is what follows the text, that of a shorter text is a row of the longer
    if kind != "lines":
        likeliest = model.vocabulary[int(found.probabilities[-1].argmax())]
        assert likeliest == model.predict(text, top=1)[0][0]
    if kind == "text":
        np.testing.assert_allclose(model.trace(text[:40]).logits, found.logits[:40], atol=1e-6)


def test_what_a_line_does_not_depend_on(models: dict[str, charlm.LanguageModel]) -> None:
    """A line has the rows that it has alone, whatever lines come before it."""
    alone, third = models["lines"].trace("cora"), models["lines"].trace("anna\nberis\ncora")
    for name, array in alone.states["layers.0"].items():
        np.testing.assert_allclose(third.states["layers.0"][name][11:17], array, atol=1e-6)
    assert len(alone.ids) == 6
    # the line break after the last line is the beginning of another one
    np.testing.assert_allclose(alone.logits[0], alone.logits[-1], atol=1e-6)


def test_texts_that_cannot_be_traced(
    models: dict[str, charlm.LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One character is enough, none is not; unknown ones are named; a trace has to fit the machine."""
    assert models["text"].trace("t").losses.shape == (0,)
    assert models["lines"].trace("").units == ["\n"]
    with pytest.raises(charlm.ConfigError, match="nothing to trace"):
        models["text"].trace("")
    with pytest.raises(charlm.VocabularyError, match="'§'"):
        models["text"].trace("the §")
    assert models["unknown"].trace("the §").units[-1] == "<unk>"
    needed = 90 * (6 * 16 + len(models["text"].vocabulary)) * 4
    monkeypatch.setattr(traces, "machine_bytes", lambda: 2 * needed)
    models["text"].trace(KINDS["text"][0][:90])
    monkeypatch.setattr(traces, "machine_bytes", lambda: 2 * needed - 1)
    with pytest.raises(ConfigError, match=r"the trace of 90 units takes about .* a shorter text") as caught:
        models["text"].trace(KINDS["text"][0][:90])
    assert "\n" not in str(caught.value)


def test_a_trace_changes_nothing(models: dict[str, charlm.LanguageModel], tmp_path: Path) -> None:
    """The model writes and scores after a trace as it did before it, and two traces are equal."""
    model = models["text"]
    before = model.sample("the ", length=40, seed=1), model.score("the quick fox")
    first, second = model.trace("the quick fox"), model.trace("the quick fox")
    np.testing.assert_array_equal(first.logits, second.logits)
    first.logits[...] = 0.0
    assert (model.sample("the ", length=40, seed=1), model.score("the quick fox")) == before
