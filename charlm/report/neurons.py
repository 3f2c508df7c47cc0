"""The units of a network: what each holds along a text, and which simple property it follows.

Karpathy, Johnson, Li 2015, arXiv 1506.02078. Letters: `N` units of a text that are read, `C`
characters that are shown, `U` hidden units of all layers and states, `P` properties, `H` hidden units of
a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array
from charlm.errors import DivergenceError
from charlm.inference.trace import Trace
from charlm.report.properties import PROPERTIES
from charlm.report.stretch import Stretch

LOW, HIGH = 0.1, 0.9
"""A gate below or above is saturated."""

MOST_NUMBERS = 2_700_000
"""Numbers of all units that a page holds, 3.6 MB: of large networks for a shorter text."""


@dataclass(frozen=True, eq=False)
class Neurons:
    """The hidden units, one after the other."""

    groups: Sequence[tuple[int, str]]
    """The layer and the state that every H of them belong to: `(0, "h")`."""
    scales: Array
    """The largest absolute value of each along the whole stretch, `[U]`; 1 of a unit that is always 0."""
    values: npt.NDArray[np.int8]
    """Along the first characters, in parts of 127 of the scale, `[U, ≤C]`."""
    correlations: Mapping[str, Array]
    """For each property that is not the same everywhere, Pearson's r with each unit `[U]`; of a unit
    that never changes 0."""


def neurons(trace: Trace, stretch: Stretch, most: int = MOST_NUMBERS) -> Neurons:
    """What the units hold after each character, and how well they follow each property.

    Of the c of an LSTM that is tanh(c): what h can show of it, `h = o tanh(c)`.

    Raises `DivergenceError` if a state is not finite.
    """
    named = [
        ((number, name), np.tanh(array[stretch.ends]) if name == "c" else array[stretch.ends])
        for number, states in enumerate(trace.states.values())
        for name, array in states.items()
    ]
    states = np.concatenate([array for _, array in named], axis=1).T.astype(np.float64)  # [U, C]
    if not np.isfinite(states).all():
        raise DivergenceError("a state of the network is not a finite number: the weights are too large")
    scales = np.abs(states).max(axis=1)
    scales[scales == 0] = 1.0
    length = max(1, min(states.shape[1], most // len(states)))
    values = np.rint(states[:, :length] / scales[:, None] * 127).astype(np.int8)
    properties = {about: find(stretch.letters) for about, find in PROPERTIES.items()}
    told = {about: values for about, values in properties.items() if np.ptp(values) > 0}
    return Neurons(
        [group for group, _ in named],
        scales,
        values,
        {about: correlation(states, property_) for about, property_ in told.items()},
    )


def correlation(states: Array, values: Array) -> Array:
    """Pearson's r of each row `[U, C]` with values `[C]`; 0 of a row that never changes.

    ::

        r = Σ (s - mean s) (v - mean v) / (‖s - mean s‖ ‖v - mean v‖)
    """
    centred, others = states - states.mean(axis=1, keepdims=True), values - values.mean()
    norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(others)
    # what is left of a constant by rounding is no change
    changes = np.ptp(states, axis=1) > 1e-9 * np.abs(states).max(axis=1)
    found: Array = np.divide(centred @ others, norms, out=np.zeros(len(states)), where=changes & (norms > 0))
    return found


def ranked(correlations: Array, count: int) -> list[int]:
    """The units that follow a property best, by |r|, the first of equal ones first."""
    order: list[int] = np.argsort(-np.abs(correlations), kind="stable")[:count].tolist()
    return order


@dataclass(frozen=True, eq=False)
class Saturation:
    """How much of the time the units of a gate are nearly shut, and nearly open."""

    layer: int
    gate: str
    low: Array
    """Share of the units of the text at which each is below LOW, `[H]`."""
    high: Array
    """Share at which it is above HIGH, `[H]`."""


def saturation(trace: Trace) -> list[Saturation]:
    """That of every gate that is between 0 and 1; others are no gates but candidates."""
    return [
        Saturation(number, name, (array < LOW).mean(axis=0), (array > HIGH).mean(axis=0))
        for number, gates in enumerate(trace.gates.values())
        for name, array in gates.items()
        if array.min() >= 0
    ]
