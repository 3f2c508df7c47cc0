"""The shared operations against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from charlm.nn.ops import (
    Gather,
    cross_entropy,
    dropout_mask,
    linear_backward,
    linear_forward,
    sigmoid,
    softmax_cross_entropy,
)
from charlm.nn.workspace import Workspace

RNG = np.random.default_rng(0)


def test_sigmoid_is_the_logistic_function() -> None:
    """σ(a) = 1 / (1 + exp(-a)), and it neither overflows nor leaves [0, 1] far out."""
    a = np.linspace(-30, 30, 601)
    expected = 1 / (1 + np.exp(-a))
    np.testing.assert_allclose(sigmoid(a, np.empty(601)), expected, rtol=0, atol=1e-15)
    extreme = np.array([-1e30, 1e30], np.float32)
    np.testing.assert_array_equal(sigmoid(extreme, extreme), [0, 1])


def test_linear() -> None:
    """A linear layer and the gradients of its parameters, which replace what was there."""
    x, W, b, dy = (RNG.standard_normal(shape) for shape in ((9, 3), (3, 4), (4,), (9, 4)))
    np.testing.assert_allclose(linear_forward(x, W, b, np.empty((9, 4)), Workspace()), x @ W + b)
    dW, db = np.ones((3, 4)), np.ones(4)
    linear_backward(x, dW, db, dy)
    np.testing.assert_allclose(dW, np.einsum("ni,no->io", x, dy))
    np.testing.assert_allclose(db, dy.sum(axis=0))


@pytest.mark.parametrize("many", [0, 1, 8, 1000])
@pytest.mark.parametrize("V", [1, 2, 5, 300])
def test_gather_is_the_one_hot_product(V: int, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward of the gather equal those of a linear layer on one-hot rows, either way."""
    monkeypatch.setattr("charlm.nn.ops._MANY", many)
    N, outputs = 40, 6
    ids = RNG.integers(0, max(1, V - 1), N)  # the last row stays unused
    W, b, dy = (RNG.standard_normal(shape) for shape in ((V, outputs), (outputs,), (N, outputs)))
    onehot = np.eye(V)[ids]
    gather = Gather(ids)
    y = gather.forward(W, b, np.empty((N, outputs)))
    np.testing.assert_allclose(
        y, linear_forward(onehot, W, b, np.empty((N, outputs)), Workspace()), atol=1e-14
    )
    dW, db = np.ones((V, outputs)), np.ones(outputs)
    dW_dense, db_dense = dW.copy(), db.copy()
    gather.backward(dW, db, dy, np.empty((N, outputs)))
    linear_backward(onehot, dW_dense, db_dense, dy)
    np.testing.assert_allclose(dW, dW_dense, atol=1e-13)
    np.testing.assert_allclose(db, db_dense, atol=1e-13)


def test_cross_entropy_of_even_logits() -> None:
    """Equal logits cost ln V nats each."""
    loss, gradient = softmax_cross_entropy(np.zeros((3, 4)), np.array([0, 1, 3]))
    assert loss == pytest.approx(np.log(4))
    np.testing.assert_allclose(gradient, (0.25 - np.eye(4)[[0, 1, 3]]) / 3)


def test_cross_entropy_matches_its_definition() -> None:
    """The loss is the mean of -ln softmax, row by row as `cross_entropy` says; its gradient sums to 0."""
    logits, targets = 3 * RNG.standard_normal((20, 6)), RNG.integers(0, 6, 20)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = -np.log(p[np.arange(20), targets])
    np.testing.assert_allclose(cross_entropy(logits.copy(), targets), rows, rtol=1e-12)
    loss, gradient = softmax_cross_entropy(logits.copy(), targets)
    assert loss == pytest.approx(rows.mean(), rel=1e-12)
    np.testing.assert_allclose(gradient, (p - np.eye(6)[targets]) / 20, atol=1e-15)


@pytest.mark.parametrize("spread", [1.0, 15.0, 100.0])
@pytest.mark.parametrize("V", [6, 600])
def test_one_reference_for_all_rows_is_as_good_as_one_a_row(V: int, spread: float) -> None:
    """In float32, nats and gradients agree with float64 whether a block's logits lie close or far apart."""
    logits = RNG.uniform(-spread, spread, (30, V)) + 1000 * (np.arange(30) % 3 == 0)[:, None]
    for block in (logits[1::3], logits):  # alike, and rows a thousand nats apart
        targets = RNG.integers(0, V, len(block))
        single = block.astype(np.float32)
        loss, gradient = softmax_cross_entropy(single.copy(), targets)
        expected, expected_gradient = softmax_cross_entropy(single.astype(np.float64), targets)
        below = single.astype(np.float64) - single.max(axis=1, keepdims=True)
        rows = np.log(np.exp(below).sum(axis=1)) - below[np.arange(len(block)), targets]
        assert expected == pytest.approx(rows.mean(), rel=1e-12)
        assert loss == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-8)


def test_parts_of_a_loss_sum_to_the_whole() -> None:
    """Losses and gradients of parts that know the size of the whole are those of the whole."""
    logits, targets = RNG.standard_normal((10, 4)), RNG.integers(0, 4, 10)
    whole, gradient = softmax_cross_entropy(logits.copy(), targets)
    parts = [
        softmax_cross_entropy(logits[s].copy(), targets[s], scored=10) for s in (slice(3), slice(3, None))
    ]
    assert sum(loss for loss, _ in parts) == pytest.approx(whole)
    np.testing.assert_allclose(np.concatenate([g for _, g in parts]), gradient)


@pytest.mark.parametrize("rest", [0.0, 1e4, np.nan, np.inf])
def test_padding_counts_nothing(rest: float) -> None:
    """Rows that are not real have no nats and a gradient of exact zeros, whatever stands in them."""
    logits, targets = RNG.standard_normal((10, 4)), RNG.integers(0, 4, 10)
    real = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0], bool)
    loss, gradient = softmax_cross_entropy(logits[real], targets[real])
    logits[~real] += rest
    with np.errstate(invalid="ignore"):
        padded, padded_gradient = softmax_cross_entropy(logits.copy(), targets, real=real)
        part, part_gradient = softmax_cross_entropy(logits, targets, 24, real)
    assert padded == pytest.approx(loss, rel=1e-12)
    assert part == pytest.approx(loss * 6 / 24, rel=1e-12)
    np.testing.assert_allclose(padded_gradient[real], gradient, rtol=1e-12)
    np.testing.assert_allclose(part_gradient[real], gradient * 6 / 24, rtol=1e-12)
    assert not padded_gradient[~real].any()
    assert not part_gradient[~real].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e3, 1e30, "largest"])
def test_loss_stays_finite(dtype: type, size: float | str) -> None:
    """Logits of any size, up to the largest number there is, give a finite loss and gradient."""
    large = np.finfo(dtype).max if size == "largest" else size
    logits = np.array([[large, -large, 0], [large, large, large], [-large, -large, -large]], dtype)
    loss, gradient = softmax_cross_entropy(logits, np.array([1, 0, 2]))
    assert np.isfinite(loss)
    assert loss >= min(large, np.finfo(np.float64).max / 4) / 3
    np.testing.assert_allclose(
        gradient, np.array([[1, -1, 0], [-2 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, -2 / 3]]) / 3, rtol=1e-5
    )


def test_dropout_mask() -> None:
    """A mask keeps the right share, scales what it keeps, and follows its generator."""
    mask = dropout_mask(np.random.default_rng(5), (200, 500), 0.3, np.empty((200, 500)))
    assert set(np.unique(mask)) == {0.0, 1 / 0.7}
    assert np.mean(mask == 0) == pytest.approx(0.3, abs=0.005)
    again = dropout_mask(np.random.default_rng(5), (200, 500), 0.3, np.empty((200, 500), np.float32))
    np.testing.assert_array_equal(again, mask.astype(np.float32))
