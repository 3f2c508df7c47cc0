"""Arrays that are used again from window to window, so that training allocates nothing large.

There are two kinds. An `array` of the workspace keeps a value from the forward pass for the backward
pass. `scratch` memory is shared by all layers and given back when its scope ends. A name can be
claimed only once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Shape


class Memory:
    """Arrays by name; the memory of a name grows to the largest shape asked for."""

    def __init__(self) -> None:
        self._flat: dict[str, Array] = {}
        self._claimed: set[str] = set()

    def array(self, name: str, shape: Shape, dtype: npt.DTypeLike) -> Array:
        """An uninitialised array of `shape`; raises `RuntimeError` if the name is claimed."""
        if name in self._claimed:
            raise RuntimeError(f"array {name!r} is claimed twice")
        self._claimed.add(name)
        flat, size = self._flat.get(name), math.prod(shape)
        if flat is None or flat.size < size or flat.dtype != dtype:
            flat = self._flat[name] = np.empty(size, dtype)
        return flat[:size].reshape(shape)

    @contextmanager
    def scope(self) -> Iterator[Memory]:
        """Names that are claimed within it are free at its end; the contents may then be overwritten."""
        before = set(self._claimed)
        try:
            yield self
        finally:
            self._claimed = before


class Workspace(Memory):
    """The arrays of one network, for one window at a time.

    A window starts with `begin`; everything that the window before it left may then be
    overwritten. Two passes that must not disturb each other (training and validation) have a
    workspace each.
    """

    def __init__(self, scratch: Memory | None = None) -> None:
        super().__init__()
        self._layers: dict[str, Workspace] = {}
        self._scratch = Memory() if scratch is None else scratch

    def begin(self) -> None:
        """A new window: every name may be claimed again."""
        self._claimed.clear()
        for layer in self._layers.values():
            layer.begin()

    def scratch(self) -> AbstractContextManager[Memory]:
        """A scope for temporary arrays."""
        return self._scratch.scope()

    def within(self, layer: str) -> Workspace:
        """The workspace of a layer: separate names, scratch memory shared with all layers."""
        if layer not in self._layers:
            self._layers[layer] = Workspace(self._scratch)
        return self._layers[layer]
