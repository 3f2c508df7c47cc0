"""Each layer by itself against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from charlm.arrays import Array
from charlm.nn.kernels.inputs import DenseInput, OneHotInput
from charlm.nn.layers.dropout import Dropout
from charlm.nn.layers.layer import Noise
from charlm.nn.layers.linear import Linear
from charlm.nn.tuning import Tuning
from charlm.nn.workspace import Workspace

RNG = np.random.default_rng(0)
STATELESS = np.empty(0)


@pytest.mark.parametrize(("T", "B"), [(3, 2), (16, 20)])
def test_linear(T: int, B: int) -> None:
    """Output and gradients are those of y = x W + b, and the gradients are overwritten."""
    layer, workspace = Linear(24, 32), Workspace()
    params = {name: RNG.standard_normal(shape) for name, shape in layer.shapes().items()}
    grads = {name: np.full(shape, np.nan) for name, shape in layer.shapes().items()}
    x, dy = RNG.standard_normal((T, B, 24)), RNG.standard_normal((T, B, 32))
    window = layer.forward(params, x, STATELESS, {}, workspace)
    dx, _ = window.backward(grads, dy)
    np.testing.assert_allclose(window.output, x @ params["W"] + params["b"], atol=1e-12)
    np.testing.assert_allclose(dx, dy @ params["W"].T, atol=1e-11)
    np.testing.assert_allclose(grads["W"], np.einsum("tbi,tbo->io", x, dy), atol=1e-11)
    np.testing.assert_allclose(grads["b"], dy.sum(axis=(0, 1)), atol=1e-11)


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize("gates", [1, 3])
@pytest.mark.parametrize("V", [1, 2, 5, 300])
def test_input_products(V: int, gates: int, few: int) -> None:
    """Ids and their one-hot rows have the product and the gradients of the definition, summed either way."""
    T, B, H = 20, 3, 6
    ids = RNG.integers(0, max(1, V - 1), (T, B))  # the last row of Wx is not used
    rows = np.eye(V)[ids]
    shapes = {"Wx": (gates, V, H), "b": (gates, H)}
    params = {name: RNG.standard_normal(shape) for name, shape in shapes.items()}
    da = RNG.standard_normal((gates, T, B, H))
    for product, x in ((OneHotInput(Tuning(few=few)), ids), (DenseInput(), rows)):
        a, backward = product.forward(params, x, Workspace())
        grads = {name: np.full(shape, np.nan) for name, shape in shapes.items()}
        dx = backward(grads, da, np.empty(rows.shape))
        expected = np.einsum("tbv,gvh->gtbh", rows, params["Wx"]) + params["b"][:, None, None]
        np.testing.assert_allclose(a, expected, atol=1e-12)
        np.testing.assert_allclose(grads["Wx"], np.einsum("tbv,gtbh->gvh", rows, da), atol=1e-12)
        np.testing.assert_allclose(grads["b"], da.sum(axis=(1, 2)), atol=1e-12)
    np.testing.assert_allclose(dx, np.einsum("gtbh,gvh->tbv", da, params["Wx"]), atol=1e-12)


@pytest.mark.parametrize(("mask", "shape"), [("window", (1, 4, 500)), ("step", (50, 4, 500))])
def test_dropout(mask: str, shape: tuple[int, ...]) -> None:
    """A mask keeps the right share, scales what it keeps, is drawn again by its seed, in any type."""
    (noise,) = Dropout(500, 0.3, mask).noise(50, 4).values()
    assert (noise.shape, noise.streams) == (shape, 1)
    single, double = np.empty(shape, np.float32), np.empty(shape)
    noise.draw(np.random.default_rng(5), double)
    noise.draw(np.random.default_rng(5), single)
    assert set(np.unique(double)) == {0.0, 1 / 0.7}
    assert np.mean(double == 0) == pytest.approx(0.3, abs=0.03)
    assert (double[:, 0] != double[:, 1]).any(), "streams differ"
    assert len(double) == 1 or (double[0] != double[1]).any(), "steps differ"
    np.testing.assert_array_equal(single, double.astype(np.float32))
    # numbers of float32, in half of the time: runs go on with the masks that they began with
    kept = np.random.default_rng(5).random(shape, np.float32) >= 0.3
    np.testing.assert_array_equal(single != 0, kept)


def test_masks_of_weights() -> None:
    """They keep the right share, their mean is 1, and they are the same in any type."""
    for rate, share in ((0.5, 128), (0.9, 230)):  # the closest of 1/256
        kept = Noise((9, 900), rate, streams=None).draw(np.random.default_rng(5), np.empty((9, 900)))
        assert kept.max() == 256 / (256 - share)
    noise = Noise((4, 300, 300), 0.3, streams=None)
    single, double = np.empty(noise.shape, np.float32), np.empty(noise.shape)
    noise.draw(np.random.default_rng(5), double)
    noise.draw(np.random.default_rng(5), single)
    np.testing.assert_allclose(single, double, rtol=1e-6)
    assert set(np.unique(double)) == {0.0, 256 / (256 - 77)}
    assert double.mean() == pytest.approx(1, abs=0.005)
    assert np.mean(double == 0) == pytest.approx(77 / 256, abs=0.003)
    Noise((9,), 0.9999, streams=None).draw(np.random.default_rng(5), double[0, 0, :9])
    assert np.isfinite(double[0, 0, :9]).all()


@pytest.mark.parametrize("streams", [None, 1])
@pytest.mark.parametrize("rate", [0.0001, 0.001, 0.01, 0.03, 0.99, 0.999])
def test_extreme_rates_are_kept(rate: float, streams: int | None) -> None:
    """A mask that drops very little, or nearly everything, does so at its rate, and its mean is 1."""
    mask: Array = np.empty((1000, 1000), np.float32)
    Noise(mask.shape, rate, streams).draw(np.random.default_rng(5), mask)
    assert np.mean(mask == 0) == pytest.approx(rate, rel=0.3)
    assert np.mean(mask != 0) == pytest.approx(1 - rate, rel=0.3)
    assert mask.mean() == pytest.approx(1, abs=0.1)


def test_noise_is_cut_by_stream_or_not_at_all() -> None:
    """A mask of each stream is divided with the batch; a mask that all share is not."""
    own, all_share = Noise((2, 6, 3), 0.5, streams=1), Noise((4, 3, 3), 0.5, streams=None)
    mask = RNG.standard_normal((2, 6, 3))
    np.testing.assert_array_equal(own.cut(mask, slice(2, 4)), mask[:, 2:4])
    weights = RNG.standard_normal((4, 3, 3))
    np.testing.assert_array_equal(all_share.cut(weights, slice(2, 4)), weights)


def test_without_noise_nothing_is_dropped() -> None:
    """Outside training dropout hands its input on."""
    x = RNG.standard_normal((3, 2, 5))
    assert Dropout(5, 0.5, "window").forward({}, x, STATELESS, {}, Workspace()).output is x
