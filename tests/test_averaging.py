"""The running mean of the parameters."""

from __future__ import annotations

import numpy as np
import pytest

from charlm.optim import averaging
from charlm.optim.averaging import decay_at, update_mean


def test_early_values_are_forgotten_sooner() -> None:
    """The decay grows from a tenth to its limit, and never beyond."""
    decays = [decay_at(0.99, t) for t in range(1, 2001)]
    assert decays[0] == 0.1
    assert decays == sorted(decays)
    assert decays[-1] == 0.99
    assert decays.index(0.99) == 890


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("block", [None, 7])
def test_the_mean_is_that_of_its_equation(
    kind: type, block: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In spans and blocks of any size, mean = d mean + (1 - d) p, and nothing outside the span moves."""
    if block:
        monkeypatch.setattr(averaging, "_BLOCK", block)
    size = 100 if block else 2 * averaging._BLOCK + 5
    rng = np.random.default_rng(0)
    mean, params = rng.standard_normal((2, size)).astype(kind)
    expected = mean.astype(np.float64)
    for t in range(1, 21):
        params += rng.standard_normal(size).astype(kind)
        before = params.copy()
        for span in (slice(0, 3), slice(3, size - 1)):
            update_mean(mean, params, 0.6, t, span)
        d = min(0.6, t / (t + 9))
        expected[:-1] = d * expected[:-1] + (1 - d) * params[:-1]
        np.testing.assert_array_equal(params, before)
    np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-5 if kind is np.float32 else 1e-12)
