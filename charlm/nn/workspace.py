"""Buffers that are used again from step to step, so that the training loop allocates nothing large."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from charlm.nn.parameters import Array, Shape


class Workspace:
    """Arrays by name, made at first use and used again afterwards.

    An array is valid until the same name is asked for again: what a forward pass leaves here
    belongs to the backward pass that follows it, and to nobody later. Two passes that must not
    disturb each other (training and evaluation) get a workspace each.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}

    def array(self, name: str, shape: Shape, dtype: npt.DTypeLike) -> Array:
        """An uninitialised array of `shape`; smaller shapes share the buffer of larger ones."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            buffer = self._buffers[name] = np.empty(size, dtype)
        return buffer[:size].reshape(shape)

    def within(self, prefix: str) -> Workspace:
        """The part of this workspace that belongs to `prefix` (a layer), with names of its own."""
        return _Part(self, prefix)


class _Part(Workspace):
    def __init__(self, whole: Workspace, prefix: str) -> None:
        super().__init__()
        self._whole, self._prefix = whole, prefix

    def array(self, name: str, shape: Shape, dtype: npt.DTypeLike) -> Array:
        return self._whole.array(f"{self._prefix}.{name}", shape, dtype)
