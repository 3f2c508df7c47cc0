"""Every cell in both kernels against its naive twin, and what every cell promises."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import FORMS, Geometry, draw_masks, make_model, make_window, run_window
from naive import Network

from charlm.config.keys import ModelConfig
from charlm.nn.activations import sigmoid_by_exp_into
from charlm.nn.cells import CELL_NAMES, make_cell
from charlm.nn.cells.cell import orthogonal
from charlm.nn.kernels.rnn import RNNWindow
from charlm.nn.loss import softmax_cross_entropy
from charlm.nn.parameters import Parameters, under
from charlm.nn.tuning import Tuning
from charlm.nn.workspace import Memory, Workspace

TOLERANCE = 1e-10
"""Two float64 programs of a few hundred operations on numbers near 1 agree far closer than this."""


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("form", FORMS)
def test_agrees_with_the_naive_twin(form: str, dropout: float, geometry: Geometry) -> None:
    """In both kernels logits, loss, final state, and the gradients of parameters and state are the twin's."""
    fused, textbook = (
        geometry.model(form, dropout=dropout, dropout_mask="step", kernel=kernel)
        for kernel in ("fused", "textbook")
    )
    parameters, x, y, state = make_window(fused, geometry.T, geometry.B)
    # numbers of order 1 whatever the size of the network
    parameters.flat *= min(1.0, 2 * geometry.H**-0.5)
    masks = draw_masks(fused, geometry.T, geometry.B)
    twin = Network(form, dict(parameters), x, y, [list(layer) for layer in state], list(masks.values()))

    for model in (fused, textbook):
        ran = run_window(model, parameters, x, y, state, masks)
        assert ran.loss == pytest.approx(twin.loss, abs=TOLERANCE)
        assert set(ran.grads) == set(twin.gradients)
        pairs = {
            "logits": (ran.logits, twin.logits),
            "state": (ran.state, twin.final),
            "dstate": (ran.dstate, twin.dstate),
            **{name: (gradient, twin.gradients[name]) for name, gradient in ran.grads.items()},
        }
        for name, (mine, theirs) in pairs.items():
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("kernel", ["fused", "textbook"])
@pytest.mark.parametrize("form", FORMS)
def test_weight_drop_is_a_network_with_other_weights(form: str, kernel: str, geometry: Geometry) -> None:
    """Logits and gradients are those of `mask * Wh`, and that of Wh is zero where the mask is."""
    plain = geometry.model(form, kernel=kernel)
    dropping = geometry.model(form, kernel=kernel, weight_drop=0.4)
    parameters, x, y, state = make_window(plain, geometry.T, geometry.B)
    masks = draw_masks(dropping, geometry.T, geometry.B)
    assert set(masks) == {f"layers.{layer}.Wh" for layer in range(geometry.layers)}
    before, dropped = parameters.flat.copy(), parameters.zeros_like()
    dropped.flat[...] = before
    for name, mask in masks.items():
        np.multiply(dropped[name], mask, dropped[name])
    mine, theirs = (
        run_window(dropping, parameters, x, y, state, masks),
        run_window(plain, dropped, x, y, state),
    )
    for name, mask in masks.items():
        np.multiply(theirs.grads[name], mask, theirs.grads[name])
        assert not mine.grads[name][mask == 0].any()
    for name in ("logits", "state", "dstate"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(mine.grads.flat, theirs.grads.flat, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(parameters.flat, before)


@pytest.mark.parametrize("kernel", ["fused", "textbook"])
@pytest.mark.parametrize("form", FORMS)
def test_three_windows_equal_one(form: str, kernel: str) -> None:
    """Three windows, forward and back again, have the logits, states and gradients of one long window."""
    model = make_model(form, layers=2, kernel=kernel)
    parameters, x, _, state = make_window(model, T=12)
    whole, windows, after = model.forward(parameters, x, state, Workspace()), [], state
    for part in (x[:3], x[3:4], x[4:]):
        windows.append(model.forward(parameters, part, after, Workspace()))
        after = windows[-1].state
    logits = np.concatenate([window.output for window in windows])
    np.testing.assert_allclose(logits, whole.output, rtol=0, atol=1e-13)
    np.testing.assert_allclose(after, whole.state, rtol=0, atol=1e-13)
    rng = np.random.default_rng(7)
    dlogits, dstate = rng.standard_normal(logits.shape), rng.standard_normal(state.shape)
    expected, own, total = (parameters.zeros_like() for _ in range(3))
    _, dbefore = whole.backward(expected, dlogits.copy(), dstate)
    for window, part in zip(reversed(windows), (slice(4, 12), slice(3, 4), slice(0, 3)), strict=True):
        _, dstate = window.backward(own, dlogits[part].copy(), dstate)
        total.flat += own.flat
    np.testing.assert_allclose(dstate, dbefore, rtol=0, atol=1e-12)
    np.testing.assert_allclose(total.flat, expected.flat, rtol=0, atol=1e-11)


@pytest.mark.parametrize("form", FORMS)
def test_forward_only_reads_its_arguments(form: str) -> None:
    """Parameters and carried state are as before after a forward and a backward pass."""
    model = make_model(form, layers=2)
    parameters, x, y, state = make_window(model)
    before = parameters.flat.copy(), state.copy()
    workspace = Workspace()
    window = model.forward(parameters, x, state, workspace)
    logits, after = window.output, window.state
    kept = after.copy()
    _, dlogits = softmax_cross_entropy(logits.reshape(-1, model.vocab), y.reshape(-1))
    window.backward(parameters.zeros_like(), dlogits.reshape(logits.shape))
    model.forward(parameters, x, after, workspace)
    np.testing.assert_array_equal(parameters.flat, before[0])
    np.testing.assert_array_equal(state, before[1])
    np.testing.assert_array_equal(after, kept)


@pytest.mark.parametrize("kernel", ["fused", "textbook"])
@pytest.mark.parametrize("form", FORMS)
def test_float32_stays_float32(form: str, kernel: str) -> None:
    """Nothing that a network in float32 makes is float64, in a window and in generating."""
    model = make_model(form, layers=2, kernel=kernel)
    parameters, x, *_ = make_window(model)
    single, state = Parameters(parameters.shapes, np.float32), model.zero_state(x.shape[1])
    window = model.forward(single, x, state, Workspace())
    arrays = [window.output, window.state, *window.values.values()]
    arrays += window.backward(single.zeros_like(), window.output, window.state)
    arrays.append(model.decoder(single, state[:, :, :1])(0))
    name, depth, lowest = model.stack[0]
    arrays.append(lowest.stepper(under(single, name), state[depth, :, :1])(0))
    assert {array.dtype for array in arrays if array.size} == {np.dtype(np.float32)}


@pytest.mark.parametrize("form", FORMS)
def test_gates_far_from_zero(form: str) -> None:
    """A gate whose exponential overflows is 0 and warns of nothing, in a window and in generating."""
    model = make_model(form, layers=2, tuning=Tuning(sigmoid=sigmoid_by_exp_into))
    parameters, x, _, state = make_window(model, B=1)
    for size in (-1e3, 1e3):
        for name, bias in parameters.items():
            if name.endswith(".b"):
                bias[...] = size
        with np.errstate(all="raise", under="ignore"):
            window = model.forward(parameters, x, state, Workspace())
            logits = window.output
            step = model.decoder(parameters, state)
            drawn = np.stack([step(int(unit)).copy() for unit in x[:, 0]])
        np.testing.assert_allclose(drawn, logits[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", ["fused", "textbook"])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_overwritten(form: str, kernel: str) -> None:
    """A backward pass leaves nothing of what the gradients held before, in rows of unused ids neither."""
    model = make_model(form, layers=2, kernel=kernel)
    parameters, x, y, state = make_window(model)
    x = np.minimum(x, model.vocab - 2)  # one id does not occur
    zero, nan = (
        run_window(model, parameters, x, y, state, before=before).grads.flat for before in (0.0, np.nan)
    )
    np.testing.assert_array_equal(zero, nan)
    assert np.isfinite(zero).all()


@pytest.mark.parametrize("form", FORMS)
def test_orthogonal_recurrent_matrices(form: str) -> None:
    """With `init: orthogonal` each gate's recurrent matrix is orthogonal, and no two are alike."""
    model = make_model(form, layers=2, hidden=16)
    parameters = model.initialise(np.random.default_rng(3), "orthogonal", np.float64)
    blocks = [*parameters["layers.0.Wh"], *parameters["layers.1.Wh"]]
    assert len(blocks) == 2 * len(model.cell.gates)
    for number, block in enumerate(blocks):
        np.testing.assert_allclose(block.T @ block, np.eye(16), atol=1e-12)
        assert not any(np.allclose(block, other) for other in blocks[:number])


@pytest.mark.parametrize("size", [1, 2, 5])
def test_orthogonal_matrices_are_drawn_evenly(size: int) -> None:
    """Every entry is as often above zero as below, and of variance 1/H: no orthogonal matrix is likelier."""
    rng, draws = np.random.default_rng(0), 2000
    matrices = np.array([orthogonal(size, rng) for _ in range(draws)])
    error = (size * draws) ** -0.5  # of a mean of entries, whose variance is 1/H
    np.testing.assert_allclose(matrices.mean(axis=0), 0, atol=5 * error)
    np.testing.assert_allclose((matrices**2).mean(axis=0), 1 / size, atol=5 * error)
    assert np.linalg.det(matrices).mean() == pytest.approx(0, abs=5 * draws**-0.5)


@pytest.mark.parametrize("init", ["orthogonal", "uniform"])
@pytest.mark.parametrize("form", FORMS)
def test_initial_values(form: str, init: str) -> None:
    """Matrices stay within their bounds, biases are zero but the LSTM's forget gate, which is 1."""
    H = 64
    model = make_model(form, layers=2, hidden=H)
    parameters = model.initialise(np.random.default_rng(3), init)
    for name in ("layers.1.Wx", "output.W", *(["layers.0.Wh"] if init == "uniform" else [])):
        assert 0.9 * H**-0.5 < np.abs(parameters[name]).max() <= H**-0.5 + 1e-7
    assert 0.9 < np.abs(parameters["layers.0.Wx"]).max() <= 1.0
    for layer in range(2):
        bias = parameters[f"layers.{layer}.b"]
        expected = np.zeros_like(bias)
        if form == "lstm":
            expected[1] = 1.0
        np.testing.assert_array_equal(bias, expected)
    assert not parameters["output.b"].any()


def test_initial_values_follow_the_seed() -> None:
    """The same seed gives the same parameters, another seed others."""
    model = make_model("lstm", layers=2)
    first, again, other = (
        model.initialise(np.random.default_rng(seed), "orthogonal").flat for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_registry_and_configuration_agree() -> None:
    """Every cell of the registry can be made, and the default configuration names one of them."""
    for name in CELL_NAMES:
        assert len(make_cell(name).gates) in (1, 3, 4)
    assert ModelConfig().cell in CELL_NAMES
    assert type(make_cell("gru", "after")) is not type(make_cell("gru", "before"))


@pytest.mark.parametrize(("T", "size"), [(7, 1 << 14), (8, 1 << 14), (5, 1 << 17), (1, 1)])
def test_blocks_cover_a_window_from_its_end(T: int, size: int) -> None:
    """Blocks follow one another from the last step to the first, a step larger than a block by itself."""
    a, states = np.zeros((1, T, 1, size)), np.zeros((1, T + 1, 1, size))
    window = RNNWindow({}, a, states, Workspace(), Tuning(block=1 << 16))
    covered = []
    for block, memory in window.blocks(Memory()):
        covered.append(list(range(T))[block])
        assert memory.shape == (1, len(covered[-1]), 1, size)
    assert [t for block in reversed(covered) for t in block] == list(range(T))
    assert max(map(len, covered)) == min(T, max(1, (1 << 16) // size))
