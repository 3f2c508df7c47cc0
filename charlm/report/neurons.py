"""The units of a network: the values of each along a text, and the simple property that it follows.

Karpathy, Johnson, Li 2015, arXiv 1506.02078. Letters: `N` units of a text that are read, `C`
characters that are shown, `U` hidden units of all layers and states, `H` hidden units of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array
from charlm.inference.trace import Trace
from charlm.report.stretch import PROPERTIES, Stretch
from charlm.system.errors import DivergenceError

LOW, HIGH = 0.1, 0.9
"""A gate below or above is saturated."""

MOST_NUMBERS = 2_700_000
"""Values in a page, 3.6 MB: a page of a large network holds a shorter text."""


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
