"""The loss against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from charlm.arrays import Array, Ids
from charlm.nn.loss import SoftTargets, cross_entropy, likeliest, softmax, softmax_cross_entropy

RNG = np.random.default_rng(0)


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
    logits = RNG.uniform(-spread, spread, (30, V)) - 1000 * (np.arange(30) % 3 == 0)[:, None]
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


def test_the_loss_of_a_target_is_as_fine_as_its_logits() -> None:
    """In float32 too, a target far below the largest logit loses no digit of the difference."""
    logits = np.array([[100.0, 0.1, -3.0], [1e-3, 2000.0, 7.7]], np.float32)
    expected = [float(logits[0, 0]) - float(logits[0, 1]), float(logits[1, 1]) - float(logits[1, 2])]
    np.testing.assert_allclose(cross_entropy(logits, np.array([1, 2])), expected, rtol=1e-15)


def test_parts_of_a_loss_sum_to_the_whole() -> None:
    """Losses and gradients of parts that know the size of the whole are those of the whole."""
    logits, targets = RNG.standard_normal((10, 4)), RNG.integers(0, 4, 10)
    whole, gradient = softmax_cross_entropy(logits.copy(), targets)
    parts = [
        softmax_cross_entropy(logits[s].copy(), targets[s], scored=10) for s in (slice(3), slice(3, None))
    ]
    assert sum(loss for loss, _ in parts) == pytest.approx(whole)
    np.testing.assert_allclose(np.concatenate([g for _, g in parts]), gradient)


def mixed_loss(logits: Array, targets: Ids, ids: Ids, q: Array, share: float) -> float:
    """`(1 - α) CE(onehot) + α CE(teachers)`, row by row, the slow twin; unnamed units are one event."""
    total = 0.0
    for n, row in enumerate(logits):
        p = np.exp(row) / np.exp(row).sum()
        total -= (1 - share) * np.log(p[targets[n]])
        for units, theirs in zip(ids[n], q[n], strict=True):
            soft = sum(q * np.log(p[unit]) for unit, q in zip(units, theirs, strict=True))
            if len(units) < len(row):
                soft += (1 - theirs.sum()) * np.log(1 - p[units].sum())
            total -= share * soft / len(ids[n])
    return total


@pytest.mark.parametrize(("share", "K", "rest"), [(0.0, 3, 0.2), (0.3, 3, 0.2), (1.0, 3, 0.0), (0.6, 5, 0.0)])
def test_the_gradient_with_teachers_is_of_the_mixed_loss(share: float, K: int, rest: float) -> None:
    """Two teachers that name some units, or all: central differences agree, and padding has none."""
    N, V = 6, 5
    logits, targets = RNG.standard_normal((N, V)), RNG.integers(0, V, N)
    ids = np.array([[RNG.permutation(V)[:K] for _ in range(2)] for _ in range(N)])
    q = RNG.uniform(size=(N, 2, K))
    q *= (1 - rest) / q.sum(axis=2, keepdims=True)
    soft = SoftTargets(ids, q, share)
    mask = np.array([1, 1, 0, 1, 1, 1], bool)
    loss, gradient = softmax_cross_entropy(logits.copy(), targets, 10, mask, soft)
    expected = np.zeros((N, V))
    for n, v in np.ndindex(N, V):
        step = np.zeros((N, V))
        step[n, v] = 1e-5
        sides = (
            mixed_loss((logits + s * step)[mask], targets[mask], ids[mask], q[mask], share) for s in (1, -1)
        )
        expected[n, v] = (next(sides) - next(sides)) / 2e-5 / 10
    np.testing.assert_allclose(gradient, expected, atol=1e-9)
    assert loss == pytest.approx(mixed_loss(logits[mask], targets[mask], ids[mask], q[mask], 0.0) / 10)


def test_the_likeliest_units_are_found() -> None:
    """The largest of each row, in any order, with their probabilities."""
    logits = 3 * RNG.standard_normal((50, 9))
    p = softmax(logits)
    np.testing.assert_allclose(p, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(softmax(logits + 1e4), p)
    for count in (1, 4, 9):
        ids, q = likeliest(p, count)
        np.testing.assert_array_equal(np.sort(ids), np.sort(np.argsort(-p)[:, :count]))
        np.testing.assert_array_equal(q, np.take_along_axis(p, ids, axis=1))


@pytest.mark.parametrize("rest", [0.0, 1e4, np.nan, np.inf])
def test_padding_counts_nothing(rest: float) -> None:
    """Rows outside the mask have no loss and a gradient of exact zeros, whatever stands in them."""
    logits, targets = RNG.standard_normal((10, 4)), RNG.integers(0, 4, 10)
    mask = np.array([1, 1, 0, 1, 0, 0, 1, 1, 1, 0], bool)
    loss, gradient = softmax_cross_entropy(logits[mask], targets[mask])
    logits[~mask] += rest
    with np.errstate(invalid="ignore"):
        padded, padded_gradient = softmax_cross_entropy(logits.copy(), targets, mask=mask)
        part, part_gradient = softmax_cross_entropy(logits, targets, 24, mask)
    assert padded == pytest.approx(loss, rel=1e-12)
    assert part == pytest.approx(loss * 6 / 24, rel=1e-12)
    np.testing.assert_allclose(padded_gradient[mask], gradient, rtol=1e-12)
    np.testing.assert_allclose(part_gradient[mask], gradient * 6 / 24, rtol=1e-12)
    assert not padded_gradient[~mask].any()
    assert not part_gradient[~mask].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e3, 1e30, "largest"])
def test_loss_stays_finite(dtype: type, size: float | str) -> None:
    """Logits of any size, up to the largest number there is, give a finite loss and gradient."""
    large = np.finfo(dtype).max if size == "largest" else size
    logits = np.array([[large, -large, 0], [large, large, large], [-large, -large, -large]], dtype)
    with np.errstate(all="raise", under="ignore"):
        loss, gradient = softmax_cross_entropy(logits, np.array([1, 0, 2]))
    assert np.isfinite(loss)
    assert loss >= min(large, np.finfo(np.float64).max / 4) / 3
    np.testing.assert_allclose(
        gradient, np.array([[1, -1, 0], [-2 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, -2 / 3]]) / 3, rtol=1e-5
    )
