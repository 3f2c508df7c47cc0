"""The activity of a network along a stretch: its surprise, the values of its units, and its gates.

Karpathy, Johnson, Li 2015, arXiv 1506.02078. Letters: `N` units of a text that are read, `C`
characters that are shown, `V` vocabulary, `U` hidden units of all layers and states, `H` hidden units
of a layer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids
from charlm.inference.trace import Trace
from charlm.nn.loss import cross_entropy, ranks_of
from charlm.report.stretch import PROPERTIES, Stretch, length_of_word, position_in_line
from charlm.system.errors import DivergenceError

EXPECTED = 5
"""Expected units per place, the likeliest first."""

_ROWS = 1000
"""Rows of probabilities that are computed at once."""

LOW, HIGH = 0.1, 0.9
"""A gate below or above is saturated."""

MOST_NUMBERS = 2_700_000
"""Values in a page, 3.6 MB: a page of a large network holds a shorter text."""


@dataclass(frozen=True, eq=False)
class Surprise:
    """The surprise at each unit of a stretch; a unit that is not predicted has NaN bits and rank 0."""

    bits: Array
    """`-log2 p` of the unit, `[N]`."""
    ranks: Ids
    """1 for the likeliest unit, `[N]`."""
    expected: Ids
    """The likeliest units in its place, `[N, ≤EXPECTED]`."""
    probabilities: Array
    """Their probabilities, `[N, ≤EXPECTED]`."""


def surprise(logits: Array, ids: Ids) -> Surprise:
    """The surprise at units `[N]`, from the logits `[N, V]` of a `Trace`: row n predicts unit n+1."""
    N, V = logits.shape
    count = min(EXPECTED, V)
    bits, ranks = np.full(N, np.nan), np.zeros(N, np.int64)
    expected, probabilities = np.zeros((N, count), np.int64), np.zeros((N, count))
    for start in range(1, N, _ROWS):
        rows = slice(start, min(start + _ROWS, N))
        predicting, own = logits[rows.start - 1 : rows.stop - 1], ids[rows].astype(np.int64)
        # the loss of a unit that is nearly certain may round to -1e-17
        bits[rows] = np.maximum(0.0, cross_entropy(predicting.copy(), own) / math.log(2))
        ranks[rows] = ranks_of(predicting, own)
        log_p = predicting.astype(np.float64)
        log_p -= log_p.max(axis=1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
        best = np.sort(np.argpartition(-log_p, count - 1, axis=1)[:, :count], axis=1)
        order = np.argsort(-np.take_along_axis(log_p, best, axis=1), axis=1, kind="stable")
        expected[rows] = np.take_along_axis(best, order, axis=1)
        probabilities[rows] = np.exp(np.take_along_axis(log_p, expected[rows], axis=1))
    return Surprise(bits, ranks, expected, probabilities)


def hardest_words(stretch: Stretch, bits: Array, count: int = 12) -> list[slice]:
    """The words with the most bits, each at its hardest occurrence; `bits [C]` are the characters'."""
    words = sorted(stretch.words(), key=lambda word: -np.nan_to_num(bits[word].sum(), nan=-1.0))
    hardest: dict[str, slice] = {}
    for word in words:
        if not np.isnan(bits[word]).any():  # every character of the word is predicted
            hardest.setdefault("".join(stretch.letters[word]), word)
    return list(hardest.values())[:count]


class Mean(NamedTuple):
    """The mean bits of some characters."""

    label: str
    bits: float
    characters: int


def by_position(stretch: Stretch, bits: Array) -> dict[str, list[Mean]]:
    """The mean of `bits [C]` by the position of the character in its line, and in its word.

    The first character of a line has the position 1, and its line break the last one. The position
    in a word is 0 between words.
    """
    # the position in a line depends on the characters before
    in_line = position_in_line(["", *stretch.letters])[:-1] + 1
    return {
        "position in the line": _means(in_line, bits, (1, 2, 3, 4, 6, 11, 21, 41, 81, 161)),
        "position in the word": _means(length_of_word(stretch.letters), bits, (*range(9), 10)),
    }


def _means(places: Array, bits: Array, edges: Sequence[int]) -> list[Mean]:
    """The mean of `bits [C]` by `places [C]`, from each edge up to the next; place 0 is `other`."""
    groups = []
    for low, high in pairwise([*edges, math.inf]):
        some = bits[(places >= low) & (places < high) & ~np.isnan(bits)]
        label = f"{low}+" if high == math.inf else f"{low}–{high - 1}" if high - low > 1 else f"{low}"
        if len(some):
            groups.append(Mean(label if low else "other", float(some.mean()), len(some)))
    return groups


@dataclass(frozen=True, eq=False)
class Neurons:
    """The hidden units, layer by layer, state by state."""

    groups: Sequence[tuple[int, str]]
    """The layer and the state of each H units: `(0, "h")`."""
    scales: Array
    """The largest absolute value of each along the whole stretch, `[U]`; 1 of a unit that is always 0."""
    values: npt.NDArray[np.int8]
    """Values at the first characters, in parts of 127 of the scale, `[U, ≤C]`."""
    correlations: Mapping[str, Array]
    """Pearson's r of each unit with each property that varies, `[U]`."""


def neurons(trace: Trace, stretch: Stretch, most: int = MOST_NUMBERS) -> Neurons:
    """The values of the units after each character, and how well they follow each property.

    The values of an LSTM's c are tanh(c): what h can show of it, `h = o tanh(c)`.

    Raises `DivergenceError` if a state is not finite.
    """
    by_group = {
        (layer, name): np.tanh(array[stretch.ends]) if name == "c" else array[stretch.ends]
        for layer, states in enumerate(trace.states.values())
        for name, array in states.items()
    }
    states = np.concatenate(list(by_group.values()), axis=1).T.astype(np.float64)  # [U, C]
    if not np.isfinite(states).all():
        raise DivergenceError("a state of the network is not a finite number: the weights are too large")
    scales = np.abs(states).max(axis=1)
    scales[scales == 0] = 1.0
    length = max(1, min(states.shape[1], most // len(states)))
    values = np.rint(states[:, :length] / scales[:, None] * 127).astype(np.int8)
    properties = {about: measure(stretch.letters) for about, measure in PROPERTIES.items()}
    correlations = {about: correlation(states, p) for about, p in properties.items() if np.ptp(p) > 0}
    return Neurons(list(by_group), scales, values, correlations)


def correlation(states: Array, values: Array) -> Array:
    """Pearson's r of each row `[U, C]` with values `[C]`; 0 of a row that never changes.

    ::

        r = Σ (s - mean s) (v - mean v) / (‖s - mean s‖ ‖v - mean v‖)
    """
    centred, others = states - states.mean(axis=1, keepdims=True), values - values.mean()
    norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(others)
    # rounding leaves a little of a constant row
    varies = np.ptp(states, axis=1) > 1e-9 * np.abs(states).max(axis=1)
    r: Array = np.divide(centred @ others, norms, out=np.zeros(len(states)), where=varies & (norms > 0))
    return r


def ranked(correlations: Array, count: int) -> list[int]:
    """The units that follow a property best, by |r|; of equal ones the first comes first."""
    order: list[int] = np.argsort(-np.abs(correlations), kind="stable")[:count].tolist()
    return order


class Saturation(NamedTuple):
    """The share of the time at which the units of a gate are nearly shut, and nearly open."""

    layer: int
    gate: str
    low: Array
    """Share of the units of the text at which each is below LOW, `[H]`."""
    high: Array
    """Share at which it is above HIGH, `[H]`."""


def saturation(trace: Trace) -> list[Saturation]:
    """The saturation of every gate, which is between 0 and 1; a candidate is not."""
    return [
        Saturation(layer, name, (array < LOW).mean(axis=0), (array > HIGH).mean(axis=0))
        for layer, gates in enumerate(trace.gates.values())
        for name, array in gates.items()
        if array.min() >= 0
    ]
