"""A network and its windows at a shape that training uses, without a file that holds them.

`make_values.py` (PyTorch) and `test_torch_parity.py` (charlm) import the same formula, so that
parameters, state, masks and ids need no archive, and the same `summary` of large arrays, so that an
archive of their results stays small. Everything is in charlm's names and layouts.

Letters: `T` time steps, `B` streams (batch), `V` vocabulary, `H` hidden units.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WINDOWS, T, B, V, H, LAYERS = 3, 18, 20, 40, 96, 2
DROPOUT = 0.25
DIRECTIONS, ENTRIES = 8, 32
"""Numbers of each kind in a `summary`."""
LOGIT_ENTRIES = 256
"""Entries of the logits, of which there is one array only."""


def raw(name: str, count: int) -> npt.NDArray[np.uint64]:
    """`count` random 64-bit numbers, the same for a name on every machine.

    A bit generator's stream never changes with NumPy's version; that of `Generator` may.
    """
    return np.random.PCG64(zlib.crc32(name.encode())).random_raw(count)


def unit(name: str, shape: tuple[int, ...]) -> Floats:
    """Numbers in [0, 1): the upper 53 bits of each `raw` one, which float64 holds exactly."""
    return (raw(name, math.prod(shape)) >> np.uint64(11)).reshape(shape) * 2.0**-53


def uniform(name: str, shape: tuple[int, ...], bound: float = 1.0) -> Floats:
    """Numbers in [-bound, bound)."""
    return bound * (2.0 * unit(name, shape) - 1.0)


def parameters(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    """Parameters of these names and shapes.

    Biases and the rows that characters select are within ±1, and matrices within ±1.5/√H: gates
    are neither closed nor linear, and gradients reach the start of the window.
    """
    wide = {name for name in shapes if name == "layers.0.Wx" or name.rpartition(".")[2].startswith("b")}
    return {
        name: uniform(name, shape, 1.0 if name in wide else 1.5 / math.sqrt(H))
        for name, shape in shapes.items()
    }


def state(names: tuple[str, ...]) -> Floats:
    """The state before the first window, `[LAYERS, len(names), B, H]`."""
    return uniform("state", (LAYERS, len(names), B, H))


def ids(window: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Inputs and targets of a window, `[T, B]` each."""
    x, y = (raw(f"ids {window}", 2 * T * B) % np.uint64(V)).astype(np.int64).reshape(2, T, B)
    return x, y


def masks(window: int) -> list[Floats]:
    """Dropout after each layer, a fresh mask for each step: `[T, B, H]`, entries 0 or 1/(1-p)."""
    return [
        (unit(f"mask {window} {layer}", (T, B, H)) >= DROPOUT) / (1.0 - DROPOUT) for layer in range(LAYERS)
    ]


def summary(name: str, array: Floats, entries: int = ENTRIES) -> Floats:
    """The norm of an array, its products with `DIRECTIONS` random directions, and some entries.

    An error in one entry of an array changes all the products.
    """
    flat = array.ravel()
    directions = uniform(f"directions of {name}", (DIRECTIONS, flat.size))
    chosen = (raw(f"entries of {name}", entries) % np.uint64(flat.size)).astype(np.intp)
    # sums of NumPy's own, in one order; those of a BLAS library depend on its threads
    norm, products = np.sqrt((flat * flat).sum()), (directions * flat).sum(axis=1)
    return np.concatenate([[norm], products, flat[chosen]])
