"""The forms of the sigmoid over all of float32."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from charlm.arrays import Array
from charlm.nn import activations
from charlm.nn.activations import sigmoid, sigmoid_by_exp_into, sigmoid_by_tanh_into, sigmoid_form

FORMS = [sigmoid_by_tanh_into, sigmoid_by_exp_into, lambda a, out: sigmoid(a)]


@pytest.fixture(scope="module")
def every_size() -> Array:
    """Float32 numbers of every exponent and both signs, and many near zero, in order."""
    bits = np.arange(0, 0x7F800000, 9973, dtype=np.uint32)
    positive = np.concatenate([bits.view(np.float32), np.linspace(0, 100, 200_001, dtype=np.float32)])
    largest = np.finfo(np.float32).max
    return np.sort(np.concatenate([-positive, positive, np.array([-largest, largest], np.float32)]))


@pytest.mark.parametrize("form", FORMS)
def test_accurate_over_the_whole_range(form: Callable[[Array, Array], Array], every_size: Array) -> None:
    """Every form is within 1e-6 of the sigmoid, within 0 and 1, and warns of an overflow at most."""
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(-every_size.astype(np.float64)))
    with np.errstate(all="raise", under="ignore", over="ignore"):
        found = form(every_size.copy(), np.empty_like(every_size))
    assert found.dtype == np.float32
    assert np.abs(found - exact).max() < 2e-7
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.diff(found).min() > -2e-7


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_a_number_stays_so(form: Callable[[Array, Array], Array]) -> None:
    """An update that diverged is noticed: NaN stays NaN, and infinity has the limit."""
    a = np.array([np.nan, np.inf, -np.inf], np.float32)
    found = form(a, np.empty_like(a))
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], [1, 0], atol=1e-37)


@pytest.mark.parametrize("form", FORMS)
def test_float64(form: Callable[[Array, Array], Array]) -> None:
    """Gradients are checked in float64, to which every form is exact."""
    a = np.linspace(-30, 30, 601)
    np.testing.assert_allclose(form(a.copy(), np.empty(601)), 1 / (1 + np.exp(-a)), rtol=0, atol=1e-15)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="AVX is x86's")
@pytest.mark.parametrize(("without", "expected"), [("X86_V4 AVX512F AVX512_SKX", "exp"), ("", None)])
def test_the_form_follows_the_processor(without: str, expected: str | None) -> None:
    """Without AVX-512 a sigmoid is made of `exp`; the form is that of every process of a machine."""
    script = "from charlm.nn import activations as a; print(a.sigmoid_form(), a.sigmoid_into)"
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, **({"NPY_DISABLE_CPU_FEATURES": without} if without else {})},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.split()[0] == (expected or sigmoid_form())
    assert f"sigmoid_by_{printed.split()[0]}_into" in printed


@pytest.mark.parametrize(
    ("told", "form"),
    [
        ({}, "tanh"),
        ({"tanh": {}}, "tanh"),
        ({"tanh": {"ff": {"current": "NEON", "available": "NEON"}}}, "tanh"),
        ({"tanh": {"ff": {"current": "AVX512_SKX", "available": "AVX512_SKX FMA3__AVX2"}}}, "tanh"),
        ({"tanh": {"ff": {"current": "FMA3__AVX2", "available": "AVX512_SKX FMA3__AVX2"}}}, "exp"),
        ({"tanh": {"ff": {"current": "X86_V3", "available": "X86_V4 X86_V3"}}}, "exp"),
    ],
)
def test_the_form_on_other_processors(
    told: dict[str, dict[str, dict[str, str]]], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It follows what is used and not what is built in, and NumPy may say nothing."""
    monkeypatch.setattr(activations, "opt_func_info", lambda *_: told)
    assert sigmoid_form() == form
