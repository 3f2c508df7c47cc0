"""Weight matrices laid out for products with the few rows of a step.

BLAS packs the factors of a large product into a form of its own, which does not pay for the rows
of a step; OpenBLAS has kernels for small products that do without. A product with a wide matrix
is many with narrow ones: with the matrix cut into tiles, each contiguous, 32 rows are multiplied
1.3 times as fast at H = 256 and 512, and 8 rows 3 times as fast at H = 1024 (one thread, SkylakeX
kernels): as fast as, or faster than, the machine's product of large matrices.

Letters: `R` rows of a step, `I` inputs, `O` outputs, `n` tiles of `w` outputs: `O = n w`.
"""

from __future__ import annotations

import math

import numpy as np

from charlm.arrays import Array
from charlm.nn.workspace import Workspace

_SMALL = 1_000_000
"""Multiplications up to which OpenBLAS takes a product for small."""

_VECTOR = 16
"""Numbers that the widest vector instructions handle at once."""

_WIDEST = 64
"""Outputs of a tile at the most."""

_WORTH_COPYING = 8
"""Products from which on a copy pays."""

_CHUNK = range(16, 33)
"""Rows of a window that are multiplied at a time."""


def tile_width(rows: int, inputs: int, outputs: int) -> int:
    """The width w for products `[R, I] @ [I, O]`: a divisor of O, or O itself if tiles would not help."""
    if rows == 1:
        return outputs  # a product with a vector reads the matrix once, whatever its layout
    divisors = [w for w in range(_VECTOR, _WIDEST + 1) if outputs % w == 0]
    small = [w for w in {*divisors, outputs} if rows * inputs * w <= _SMALL]
    # the one that leaves least of its last vector empty, and then the widest tile
    return max(small, key=lambda w: (w / math.ceil(w / _VECTOR), w <= _WIDEST, w), default=outputs)


def tiled(matrices: Array, rows: int, steps: int, workspace: Workspace) -> Array:
    """`matrices [G, I, O]` in tiles `[G, n, I, w]`, for so many products with so many rows.

    Usually a copy, in the one place that the workspace has for it: valid until the next call.
    A transposed view is welcome; uncopied it would be multiplied at 0.6 times the speed.
    """
    if steps < _WORTH_COPYING:
        return matrices[:, None]
    G, inputs, outputs = matrices.shape
    w = tile_width(rows, inputs, outputs)
    if w == outputs and matrices.flags.c_contiguous:
        return matrices[:, None]
    tiles = workspace.array("tiles", (G, outputs // w, inputs, w), matrices.dtype)
    tiles[...] = in_tiles(matrices, w)
    return tiles


def multiply(rows: Array, matrix: Array, out: Array, workspace: Workspace) -> Array:
    """`out = rows matrix` for all rows of a window at once: `[N, I] @ [I, O]`; returns `out`.

    As small products where there are some (1.1 times as fast as one large product), else as one.
    `matrix` may be a transposed view.
    """
    N, inputs = rows.shape
    outputs = matrix.shape[1]
    chunk = max((r for r in _CHUNK if N % r == 0), default=N)
    w = tile_width(chunk, inputs, outputs)
    if chunk * inputs * w > _SMALL or N // chunk < _WORTH_COPYING:
        return np.matmul(rows, matrix, out)
    tiles = tiled(matrix[None], chunk, N // chunk, workspace)[0]
    np.matmul(rows.reshape(-1, 1, chunk, inputs), tiles, in_tiles(out.reshape(-1, chunk, outputs), w))
    return out


def in_tiles(array: Array, width: int) -> Array:
    """A view of `array [..., R, O]` as `[..., n, R, w]`: where a product with tiles is written to."""
    *leading, rows, outputs = array.shape
    if width == outputs:
        return array[..., None, :, :]
    return array.reshape(*leading, rows, outputs // width, width).swapaxes(-3, -2)
