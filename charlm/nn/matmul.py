"""Matrix products for the shapes of recurrent networks.

BLAS copies the factors of a large product into a layout of its own before it multiplies. For the
few rows of a step this costs more than it saves. OpenBLAS has kernels for small products that do
without, and a product with a wide matrix is many products with narrow ones: with the matrix cut
into tiles, each contiguous, 32 rows are multiplied 1.3 times as fast at H = 256 and 512, and 8
rows 3 times as fast at H = 1024 (one thread, SkylakeX kernels).

Letters: `R` rows of a step, `N` rows of a window, `I` inputs, `O` outputs, `n` tiles of `w`
outputs: `O = n w`.
"""

from __future__ import annotations

import math

import numpy as np

from charlm.arrays import Array
from charlm.nn.workspace import Scratch

_SMALL = 1_000_000
"""Multiplications up to which OpenBLAS uses its kernels for small products."""

_VECTOR = 16
"""Numbers in the widest vector register."""

_WIDEST = 64
"""Most outputs of a tile."""

_WORTH_COPYING = 8
"""Products for which it pays to copy a matrix into tiles."""


def tile_width(rows: int, inputs: int, outputs: int) -> int:
    """The width w for products `[R, I] @ [I, O]`: a divisor of O, or O itself if tiles would not help."""
    if rows == 1:
        return outputs  # a product with a vector reads the matrix once, whatever its layout
    divisors = [w for w in range(_VECTOR, _WIDEST + 1) if outputs % w == 0]
    small = [w for w in {*divisors, outputs} if rows * inputs * w <= _SMALL]
    # the width that leaves least of its last vector empty; of those the widest tile
    return max(small, key=lambda w: (w / math.ceil(w / _VECTOR), w <= _WIDEST, w), default=outputs)


def tiled(matrices: Array, rows: int, steps: int, scratch: Scratch, name: str) -> Array:
    """`matrices [G, I, O]` as tiles `[G, n, I, w]`, for `steps` products with `rows` rows each.

    Usually a copy, called `name` in the scratch memory. A transposed view is welcome: multiplied
    as it is, it would take 1.6 times as long.
    """
    if steps < _WORTH_COPYING:
        return matrices[:, None]
    G, inputs, outputs = matrices.shape
    w = tile_width(rows, inputs, outputs)
    if w == outputs and matrices.flags.c_contiguous:
        return matrices[:, None]
    tiles = scratch.array(name, (G, outputs // w, inputs, w), matrices.dtype)
    tiles[...] = in_tiles(matrices, w)
    return tiles


def in_tiles(array: Array, width: int) -> Array:
    """A view of `array [..., R, O]` as `[..., n, R, w]`: where a product with tiles is written to."""
    *leading, rows, outputs = array.shape
    if width == outputs:
        return array[..., None, :, :]
    return array.reshape(*leading, rows, outputs // width, width).swapaxes(-3, -2)


def column_sums(rows: Array, out: Array) -> Array:
    """Sums over the rows of `[N, O]`, written to `out [O]`, which is returned.

    As a product with ones: several times as fast as NumPy's sum.
    """
    return np.matmul(np.ones(len(rows), rows.dtype), rows, out)
