"""Buffers that are used again from step to step, so that the training loop allocates nothing large."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Shape


class Workspace:
    """Arrays by name, made at first use and used again afterwards.

    An array is valid until the same name is asked for again: what a forward pass leaves here
    belongs to the backward pass that follows it, and to nobody later. Two passes that must not
    disturb each other (training and evaluation) get a workspace each.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self._buffers: dict[str, Array] = {}
        self._parts: dict[str, Workspace] = {}

    def array(self, name: str, shape: Shape, dtype: npt.DTypeLike) -> Array:
        """An uninitialised array of `shape`; smaller shapes share the buffer of larger ones."""
        array = self._arrays.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            size = math.prod(shape)
            buffer = self._buffers.get(name)
            if buffer is None or buffer.size < size or buffer.dtype != dtype:
                buffer = self._buffers[name] = np.empty(size, dtype)
            array = self._arrays[name] = buffer[:size].reshape(shape)
        return array

    def within(self, prefix: str) -> Workspace:
        """The part of this workspace that belongs to `prefix` (a layer), with names of its own."""
        return self._parts.setdefault(prefix, Workspace())

    def buffers(self) -> dict[str, Array]:
        """Every buffer by its whole name."""
        own = dict(self._buffers)
        for prefix, part in self._parts.items():
            own |= {f"{prefix}.{name}": buffer for name, buffer in part.buffers().items()}
        return own
