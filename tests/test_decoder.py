"""One character at a time equals whole windows."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import FORMS, make_model, make_window

from charlm.inference.decoder import Decoder
from charlm.nn.workspace import Workspace


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("form", FORMS)
def test_steps_equal_a_window(form: str, layers: int) -> None:
    """The logits behind each character are those of a forward pass over the whole window."""
    model = make_model(form, layers)
    parameters, x, _, state = make_window(model, T=9, B=1)
    logits, _, _ = model.forward(parameters, x, state, Workspace())
    stepper = Decoder(model, parameters, state)
    steps = [stepper.step(int(character)) for character in x[:, 0]]
    np.testing.assert_allclose(steps, logits[:, 0], rtol=0, atol=1e-13)
