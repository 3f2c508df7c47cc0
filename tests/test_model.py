"""The network around the cells: names, dropout, buffers."""

from __future__ import annotations

import tracemalloc

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


def test_masks_multiply_the_outputs_of_layers() -> None:
    """A network whose masks are all zero has the logits of its output bias."""
    model = make_model("lstm", 2, dropout=0.5)
    parameters, x, _, state = make_window(model)
    masks = {name: np.zeros(noise.shape) for name, noise in model.noise(*x.shape).items()}
    assert len(masks) == 2
    window = model.forward(parameters, x, state, Workspace(), masks)
    logits = window.output
    np.testing.assert_array_equal(logits, np.broadcast_to(parameters["output.b"], logits.shape))


def test_no_dropout_without_masks() -> None:
    """Without masks (evaluation) a model with dropout computes what one without it does."""
    plain, dropping = make_model("lstm", 2), make_model("lstm", 2, dropout=0.5)
    parameters, x, _, state = make_window(plain)
    window = plain.forward(parameters, x, state, Workspace())
    logits = window.output
    window = dropping.forward(parameters, x, state, Workspace())
    same = window.output
    np.testing.assert_array_equal(logits, same)


@pytest.mark.parametrize("form", FORMS)
def test_steps_allocate_nothing_large(form: str) -> None:
    """After the first window, forward and backward find every large buffer in the workspace."""
    model = make_model(form, layers=2, vocab=40, hidden=100)
    parameters, x, _, state = make_window(model, T=50, B=20)
    workspace, grads = Workspace(), parameters.zeros_like()

    def step() -> None:
        window = model.forward(parameters, x, state, workspace)
        window.backward(grads, window.output)

    step()
    tracemalloc.start()
    step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.75 * x.size * model.hidden * 8, "less than one array [T, B, H]"


@pytest.mark.parametrize("kernel", ["fused", "textbook"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_one_character_at_a_time_equals_a_window(form: str, layers: int, kernel: str) -> None:
    """The decoder's logits after each character are those of a forward pass over the whole window."""
    model = make_model(form, layers, kernel=kernel)
    parameters, x, _, state = make_window(model, T=9, B=1)
    before = state.copy()
    window = model.forward(parameters, x, state, Workspace())
    logits = window.output
    step = model.decoder(parameters, state)
    np.testing.assert_allclose(
        [step(int(character)).copy() for character in x[:, 0]], logits[:, 0], rtol=0, atol=1e-13
    )
    np.testing.assert_array_equal(state, before)
