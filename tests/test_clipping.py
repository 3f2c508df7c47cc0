from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from conftest import clip

from charlm.optim.clipping import square_sum

KINDS = (np.float32, np.float64)


def gradients(size: int, kind: npt.DTypeLike) -> npt.NDArray[np.floating]:
    """Return gradients of very different sizes and both signs, large ones at the very end."""
    rng = np.random.default_rng(size)
    made = rng.standard_normal(size) * 10.0 ** rng.integers(-4, 4, size)
    made[-1] = -5e3
    return made.astype(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 5, 65_535, 65_536, 65_537, 200_000])
def test_the_norm_is_that_of_all_gradients_together(size: int, kind: npt.DTypeLike) -> None:
    """The norm is NumPy's in float64, whatever the type, and however many blocks there are."""
    g = gradients(size, kind)
    assert math.sqrt(square_sum(g)) == pytest.approx(float(np.linalg.norm(g.astype(np.float64))), rel=1e-13)


def test_the_norm_of_nothing_is_zero() -> None:
    """No gradients, or none but zeros, have the norm 0."""
    assert square_sum(np.zeros(0)) == 0.0
    assert square_sum(np.zeros(3)) == 0.0


@pytest.mark.parametrize(
    ("clip_norm", "clip_value", "clipped"),
    [
        (0.0, 0.0, [6.0, -8.0, 0.0]),
        (5.0, 0.0, [3.0, -4.0, 0.0]),
        (20.0, 0.0, [6.0, -8.0, 0.0]),
        (10.0, 0.0, [6.0, -8.0, 0.0]),
        (0.0, 7.0, [6.0, -7.0, 0.0]),
        (0.0, 9.0, [6.0, -8.0, 0.0]),
        (0.0, 2.0, [2.0, -2.0, 0.0]),
        # the value first: 3, -3 has the norm 3 √2, which is then halved
        (math.sqrt(4.5), 3.0, [1.5, -1.5, 0.0]),
        # and a norm that is short enough once the values are clipped does not shrink them more
        (9.0, 3.0, [3.0, -3.0, 0.0]),
    ],
    ids=["off", "norm", "short", "just short", "value", "small", "values", "both", "value enough"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_clipped_in_place(
    kind: npt.DTypeLike, clip_norm: float, clip_value: float, clipped: list[float]
) -> None:
    """Values are brought into ±clip_value, then the norm to clip_norm; what was before is returned."""
    g = np.array([6.0, -8.0, 0.0], kind)
    assert clip(g, clip_norm, clip_value) == 10.0
    np.testing.assert_allclose(g, np.array(clipped, kind), rtol=1e-6, strict=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clip_value", [0.0, 0.5])
def test_a_long_gradient_keeps_its_direction(kind: npt.DTypeLike, clip_value: float) -> None:
    """Every entry is scaled alike, to the asked norm, over all blocks."""
    g = gradients(200_000, kind)
    bounded = np.clip(g, -clip_value, clip_value).astype(np.float64) if clip_value else g.astype(np.float64)
    clip(g, 5.0, clip_value)
    np.testing.assert_allclose(g, bounded * (5.0 / np.linalg.norm(bounded)), rtol=1e-6)


@pytest.mark.parametrize(("clip_norm", "clip_value"), [(5.0, 0.0), (5.0, 1e38)])
def test_huge_float32_gradients_do_not_overflow(clip_norm: float, clip_value: float) -> None:
    """Gradients whose squares are beyond float32 still have a norm, and are clipped to it."""
    g = np.full(100_000, -3e38, np.float32)
    before = clip(g, clip_norm, clip_value)
    assert before == pytest.approx(3e38 * math.sqrt(100_000), rel=1e-6)
    assert math.sqrt(square_sum(g)) == pytest.approx(
        5.0, rel=1e-3
    )  # the factor, near 1e-41, is coarse in float32
    assert (g < 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("clip_norm", "clip_value"), [(0.0, 0.0), (5.0, 0.0), (0.0, 1.0), (5.0, 1.0)])
def test_gradients_that_are_not_finite_are_left_alone(
    kind: npt.DTypeLike, value: float, clip_norm: float, clip_value: float
) -> None:
    """One infinite or undefined gradient makes the norm so, and nothing is clipped."""
    g = gradients(70_000, kind)
    g[123] = value
    before = g.copy()
    assert not math.isfinite(clip(g, clip_norm, clip_value))
    np.testing.assert_array_equal(g, before)
