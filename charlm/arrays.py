"""Types of arrays."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
"""Numbers: parameters, activations, gradients."""

Ids = npt.NDArray[np.integer[Any]]
"""Whole numbers: units of a text, places."""

Signal = npt.NDArray[Any]
"""What one layer of a network hands to the next: ids at the bottom, activations above."""

Shape = tuple[int, ...]
