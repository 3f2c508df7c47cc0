"""The network around the cells: names, dropout, buffers."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import FORMS, make_model, make_window

from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace


@pytest.mark.parametrize("form", FORMS)
def test_parameters_are_views_over_one_buffer(form: str) -> None:
    """What is written to the flat buffer shows in the named arrays, each number once."""
    parameters = Parameters(make_model(form, layers=3).shapes())
    parameters.flat[...] = np.arange(parameters.flat.size)
    seen = np.concatenate([array.ravel() for array in parameters.values()])
    np.testing.assert_array_equal(seen, parameters.flat)
    assert all(array.base is not None for array in parameters.values())


def test_a_buffer_of_the_wrong_size_is_refused() -> None:
    """A flat buffer must hold exactly what the shapes ask for."""
    with pytest.raises(ValueError, match="6 parameters"):
        Parameters({"a": (2, 3)}, flat=np.zeros(5))


def _dropped(mask: str, T: int = 5, B: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Hidden outputs `[T, B, H]` of both layers as the next product saw them."""
    model = make_model("rnn", layers=2, hidden=50, dropout=0.5, dropout_mask=mask)
    parameters, x, _, state = make_window(model, T, B)
    masks = model.draw_masks(np.random.default_rng(1), [np.empty(s) for s in model.mask_shapes(T, B)])
    _, _, tape = model.forward(parameters, x, state, Workspace(), masks)
    return tape.inputs[0] == 0, tape.inputs[1] == 0


def test_window_masks_are_shared_by_the_steps() -> None:
    """With `window`, a unit dropped at one step is dropped at all of them; streams and layers differ."""
    for zeros in _dropped("window"):
        assert (zeros == zeros[:1]).all()
        assert 0.3 < zeros.mean() < 0.7
        assert (zeros[0, 0] != zeros[0, 1]).any()
    lower, upper = _dropped("window")
    assert (lower != upper).any()


def test_step_masks_differ_from_step_to_step() -> None:
    """With `step`, every step draws a mask of its own."""
    for zeros in _dropped("step"):
        assert (zeros[0] != zeros[1]).any()
        assert 0.3 < zeros.mean() < 0.7


def test_no_dropout_without_masks() -> None:
    """Without masks (evaluation) a model with dropout computes what one without it does."""
    plain, dropping = make_model("lstm", 2), make_model("lstm", 2, dropout=0.5)
    parameters, x, _, state = make_window(plain)
    logits, _, _ = plain.forward(parameters, x, state, Workspace())
    same, _, _ = dropping.forward(parameters, x, state, Workspace())
    np.testing.assert_array_equal(logits, same)


def test_dropout_keeps_the_expected_output() -> None:
    """Averaged over masks, a linear read-out of dropped activations is that of the full ones."""
    model = make_model("rnn", hidden=40, dropout=0.3)
    parameters, x, _, state = make_window(model, T=2, B=2)
    full, _, _ = model.forward(parameters, x, state, Workspace())
    rng, workspace = np.random.default_rng(2), Workspace()
    out = [np.empty(shape) for shape in model.mask_shapes(2, 2)]
    draws = []
    for _ in range(4000):
        masks = model.draw_masks(rng, out)
        draws.append(model.forward(parameters, x, state, workspace, masks)[0].copy())
    error = np.std(draws, axis=0) / np.sqrt(len(draws))
    assert (np.abs(np.mean(draws, axis=0) - full) < 5 * error).all()


def test_workspace_arrays_are_used_again() -> None:
    """The same name gives the same memory, also for a smaller shape; prefixes keep names apart."""
    workspace = Workspace()
    first = workspace.array("h", (4, 6), np.float32)
    assert np.shares_memory(first, workspace.array("h", (3, 5), np.float32))
    assert not np.shares_memory(first, workspace.array("h", (5, 6), np.float32))
    below = workspace.within("layers.0")
    assert not np.shares_memory(below.array("h", (2,), np.float32), workspace.array("h", (2,), np.float32))
    assert below.array("h", (2,), np.float64).dtype == np.float64


@pytest.mark.parametrize("form", FORMS)
def test_steps_allocate_nothing_large(form: str) -> None:
    """After the first window, forward and backward find every large buffer in the workspace."""
    model = make_model(form, layers=2)
    parameters, x, _, state = make_window(model)
    workspace = Workspace()

    def window() -> None:
        logits, _, tape = model.forward(parameters, x, state, workspace)
        model.backward(parameters, parameters.zeros_like(), tape, logits, workspace)

    window()
    before = {name: id(buffer) for name, buffer in workspace.buffers().items()}
    window()
    assert {name: id(buffer) for name, buffer in workspace.buffers().items()} == before
    assert len(before) > 4
