"""The counts of a text against their definition."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from charlm.data.texts import Lines, Text
from charlm.inference.counts import Counts, blocks


def naive(text: Text, vocab: int, order: int, D: float) -> list[list[float]]:
    """The distribution at each place, from counts of all other places, in plain Python."""
    occurrences = []  # the units before each predicted unit in its example, and the unit
    for first, length in zip(*text.examples(), strict=True):
        units = text.ids[first : first + length + 1].tolist()
        occurrences += [(units[:n], units[n]) for n in range(1, len(units))]
    predicted = []
    for own, (before, _) in enumerate(occurrences):
        q = [1 / vocab] * vocab
        for k in range(order + 1):
            context = ([None] * order + before)[len(before) + order - k :]
            counts = Counter(
                unit
                for number, (others, unit) in enumerate(occurrences)
                if number != own and ([None] * order + others)[len(others) + order - k :] == context
            )
            C, T = sum(counts.values()), len(counts)
            if C:
                q = [max(counts[v] - D, 0) / C + D * T / C * q[v] for v in range(vocab)]
        predicted.append(q)
    return predicted


@pytest.mark.parametrize("by_line", [False, True])
@pytest.mark.parametrize("order", [0, 1, 4])
def test_counts_are_those_of_the_naive_version(order: int, by_line: bool) -> None:
    """Every place is predicted by the others, of lines with no context from before the line."""
    ids = np.random.default_rng(5).integers(0, 4, 90).astype(np.uint8)
    ids[[0, -1]] = 0
    text = Lines.of(ids) if by_line else Text(ids)
    counts, N = Counts(text, 5, order, 0.6), text.targets
    predicted = np.concatenate([counts.predict(start, min(start + 13, N)) for start in range(0, N, 13)])
    np.testing.assert_allclose(predicted, naive(text, 5, order, 0.6), atol=1e-6)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-6)


def test_blocks_hold_every_place_once() -> None:
    """The blocks follow one another, and are smaller with more units."""
    assert blocks(0, 5) == []
    for vocab in (65, 100_000_000):
        parts = blocks(200_000 if vocab == 65 else 3, vocab)
        assert len(parts) > 1
        assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
        assert parts[-1].stop == (200_000 if vocab == 65 else 3)
