"""The counts of a text against their definition."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from charlm.data.texts import Lines, Text
from charlm.inference import counts as counts_module
from charlm.inference.counts import Counts, block, discounts


def naive(text: Text, vocab: int, order: int) -> list[list[float]]:
    """The distribution at each place, from counts of all other places, in plain Python."""
    occurrences = []  # the units before each predicted unit in its example, and the unit
    for first, length in zip(*text.examples(), strict=True):
        units = text.ids[first : first + length + 1].tolist()
        occurrences += [((None,) * (order + 1) + tuple(units[:n]), units[n]) for n in range(1, len(units))]

    def counted(k: int, others: list[Any]) -> dict[Any, Counter[int]]:
        """`c_k` by the context of k units."""
        longer = [(before[len(before) - k - (k < order) :], unit) for before, unit in others]
        counts: dict[Any, Counter[int]] = defaultdict(Counter)
        for before, unit in longer if k == order else set(longer):
            counts[before[k < order :]][unit] += 1
        return counts

    predicted = []
    for own, (before, _) in enumerate(occurrences):
        q = [1 / vocab] * vocab
        for k in range(order + 1):
            n = Counter(c for units in counted(k, occurrences).values() for c in units.values())
            Y = n[1] / max(1, n[1] + 2 * n[2])
            D = [0.0] + [min(max(0, i - (i + 1) * Y * n[i + 1] / max(1, n[i])), i) for i in (1, 2, 3)]
            context = before[len(before) - k :]
            c = counted(k, occurrences[:own] + occurrences[own + 1 :])[context]
            taken = {unit: D[min(count, 3)] for unit, count in c.items()}
            if C := sum(c.values()):
                B = sum(taken.values())
                q = [(c[v] - taken.get(v, 0.0)) / C + B / C * q[v] for v in range(vocab)]
        predicted.append(q)
    return predicted


@pytest.mark.parametrize("by_line", [False, True])
@pytest.mark.parametrize("order", [0, 1, 4])
@pytest.mark.parametrize("few", [5, 110, 1000])
def test_counts_are_those_of_the_naive_version(
    order: int, by_line: bool, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place is predicted by the others, of lines with no context from before the line.

    What follows in the whole text is kept for contexts of no unit, of up to two, and for all.
    """
    monkeypatch.setattr("charlm.inference.counts._WHOLE", few)
    ids = np.random.default_rng(5).integers(0, 4, 90).astype(np.uint8)
    ids[[0, -1]] = 0
    text = Lines.of(ids) if by_line else Text(ids)
    counts, N = Counts(text, 5, order), text.targets
    predicted = np.empty((N, 5))
    for numbers in np.array_split(np.random.default_rng(1).permutation(N), 7):
        predicted[numbers] = counts.predict(numbers)
    np.testing.assert_allclose(predicted, naive(text, 5, order), atol=1e-6)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("largest", [7, 1 << 59, (1 << 63) - 1])
def test_numbers_are_those_of_the_sorted_values(largest: int) -> None:
    """Values are numbered as NumPy does, those too that have no room for their places beside them."""
    values = np.array([largest, 3, largest, 5, 3, 0])
    different, numbers = counts_module._numbered(values)
    assert different.tolist() == [0, 3, 5, largest]
    assert numbers.tolist() == [3, 1, 3, 2, 1, 0]


def test_discounts_are_those_of_the_formula() -> None:
    """With 4, 3, 2 and 1 pairs of the counts 1 to 4: Y = 4 / 10; without any, nothing is known."""
    counts = np.repeat([1, 2, 3, 4], [4, 3, 2, 1])
    np.testing.assert_allclose(discounts(counts), [0, 1 - 0.6, 2 - 0.8, 3 - 0.8])
    np.testing.assert_allclose(discounts(np.array([9])), [0, 1, 2, 3])


def test_a_block_holds_fewer_places_of_more_units() -> None:
    """A place at least, and half a million probabilities at most."""
    assert [block(vocab) for vocab in (1, 64, 100_000_000)] == [1 << 19, 1 << 13, 1]
