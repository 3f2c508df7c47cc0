"""Arrays that are used again from window to window, so that training allocates nothing large.

There are two kinds. An `array` of the workspace keeps a value from the forward pass for the backward
pass. `scratch` memory is shared by all layers and given back when its scope ends. A name can be
taken only once.
"""

from __future__ import annotations

import math
from types import TracebackType

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Shape


class _Buffers:
    """Memory by name; it grows to the largest shape asked for."""

    def __init__(self) -> None:
        self.flat: dict[str, Array] = {}
        self._arrays: dict[str, Array] = {}

    def array(self, name: str, shape: Shape, dtype: npt.DTypeLike) -> Array:
        array = self._arrays.get(name)
        if array is None or array.shape != shape or array.dtype != dtype:
            size = math.prod(shape)
            buffer = self.flat.get(name)
            if buffer is None or buffer.size < size or buffer.dtype != dtype:
                buffer = self.flat[name] = np.empty(size, dtype)
            array = self._arrays[name] = buffer[:size].reshape(shape)
        return array


class Scratch:
    """Temporary arrays by name, from memory that all layers of a network share.

    A context manager: at its end the names are free again, and the contents may be overwritten.
    """

    def __init__(self, pool: _Buffers, taken: set[str]) -> None:
        self._pool, self._taken = pool, taken
        self._own: set[str] = set()

    def array(self, name: str, shape: Shape, dtype: npt.DTypeLike) -> Array:
        """An uninitialised array of `shape`; raises `RuntimeError` if the name is in use."""
        if name in self._taken:
            raise RuntimeError(f"scratch array {name!r} is in use")
        self._taken.add(name)
        self._own.add(name)
        return self._pool.array(name, shape, dtype)

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._taken -= self._own
        self._own.clear()


class Workspace:
    """The arrays of one network, for one window at a time.

    A window starts with `begin`; everything that the window before it left may then be
    overwritten. Two passes that must not disturb each other (training and validation) have a
    workspace each.
    """

    def __init__(self, pool: _Buffers | None = None, taken: set[str] | None = None) -> None:
        self._buffers = _Buffers()
        self._claimed: set[str] = set()
        self._layers: dict[str, Workspace] = {}
        self._pool = _Buffers() if pool is None else pool
        self._taken: set[str] = set() if taken is None else taken

    def begin(self) -> None:
        """A new window: every name may be claimed again."""
        self._claimed.clear()
        for layer in self._layers.values():
            layer.begin()

    def array(self, name: str, shape: Shape, dtype: npt.DTypeLike) -> Array:
        """An uninitialised array of `shape`, valid until the next window.

        Raises `RuntimeError` if the window has claimed the name before.
        """
        if name in self._claimed:
            raise RuntimeError(f"array {name!r} is claimed twice in one window")
        self._claimed.add(name)
        return self._buffers.array(name, shape, dtype)

    def scratch(self) -> Scratch:
        """A scope for temporary arrays."""
        return Scratch(self._pool, self._taken)

    def within(self, layer: str) -> Workspace:
        """The workspace of a layer: separate names, scratch memory shared with all layers."""
        if layer not in self._layers:
            self._layers[layer] = Workspace(self._pool, self._taken)
        return self._layers[layer]

    def buffers(self) -> dict[str, Array]:
        """The memory behind every array by its whole name, scratch included."""
        scratch = {f"scratch.{name}": buffer for name, buffer in self._pool.flat.items()}
        return scratch | self._own_buffers()

    def _own_buffers(self) -> dict[str, Array]:
        found = dict(self._buffers.flat)
        for layer, workspace in self._layers.items():
            found |= {f"{layer}.{name}": buffer for name, buffer in workspace._own_buffers().items()}
        return found
