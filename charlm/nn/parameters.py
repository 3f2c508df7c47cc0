"""Parameters and gradients: named views over one flat buffer each.

Clipping, optimising, saving and checking work on `flat` or on all names; they do not need to know
which cell the arrays belong to.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Shape

Params = Mapping[str, Array]
"""The parameters of one layer by their short names, or their gradients."""


class Parameters(Mapping[str, Array]):
    """Arrays by name, all of them views over the one buffer `flat`.

    Parameters
    ----------
    shapes
        The shape of every array, in the order in which they lie in the buffer.
    flat
        The buffer, `[sum of sizes]`; zeros of `dtype` if left out.

    Raises
    ------
    ValueError
        If `flat` has another size than the shapes ask for.
    """

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        dtype: npt.DTypeLike = np.float32,
        flat: Array | None = None,
    ) -> None:
        self.shapes = dict(shapes)
        size = sum(math.prod(shape) for shape in self.shapes.values())
        self.flat: Array = np.zeros(size, dtype) if flat is None else flat
        if self.flat.shape != (size,):
            raise ValueError(f"a buffer of shape {self.flat.shape} for {size} parameters")
        self._views: dict[str, Array] = {}
        start = 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            self._views[name] = self.flat[start:stop].reshape(shape)
            start = stop

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __reduce__(self) -> tuple[type[Parameters], tuple[Mapping[str, Shape], np.dtype[Any], Array]]:
        """A copy, pickled or not, has one buffer too."""
        return Parameters, (self.shapes, self.flat.dtype, self.flat)

    def span(self, prefix: str) -> slice:
        """The part of `flat` that holds the arrays called `prefix.…`, which are adjacent."""
        ends = [0, *itertools.accumulate(array.size for array in self.values())]
        places = [n for n, name in enumerate(self) if name.startswith(f"{prefix}.")]
        return slice(ends[places[0]], ends[places[-1] + 1])

    def zeros_like(self) -> Parameters:
        """Another buffer of the same layout and type, filled with zeros (for gradients)."""
        return Parameters(self.shapes, self.flat.dtype)

    def copy(self) -> Parameters:
        """A copy in a new buffer."""
        return Parameters(self.shapes, flat=self.flat.copy())


def under(named: Mapping[str, Array], layer: str) -> Params:
    """The arrays called `LAYER.…`, by the rest of their names."""
    return {name[len(layer) + 1 :]: array for name, array in named.items() if name.startswith(f"{layer}.")}
