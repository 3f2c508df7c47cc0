"""Matrix products for the shapes of recurrent networks.

BLAS copies the factors of a large product into its own layout before it multiplies. For the few rows
of a step this costs more than it saves. With AVX-512, OpenBLAS has kernels for small products, which
copy nothing. So the matrix is cut into contiguous tiles and the rows into blocks, and a large product
becomes many small ones: 1.6 times as fast for 32 rows at H = 512, and 2.1 times at H = 1024 (one
thread, SkylakeX kernels). Without these kernels, tiles still make the copies cheaper for few rows:
1.2 times as fast for 8 rows at H = 256 and 512, and 1.05 times for 25 rows (Haswell kernels).

The product with a single row takes as long as reading the matrices. The matrices of all gates then
stand side by side: one long product reads memory 1.2 times as fast as four products at H = 512, and
1.1 times at H = 256 and 1024.

Letters: `R` rows of a step in `k` blocks of `r`, `I` inputs, `O` outputs in `n` tiles of `w`:
`R = k r`, `O = n w`.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array
from charlm.nn.tuning import Tuning
from charlm.nn.workspace import Memory


@dataclass(frozen=True)
class Tiles:
    """Matrices `[G, I, O]` in tiles, for products with R rows.

    ::

        y = x matrices        as        np.matmul(row_blocks(x), tiles, in_tiles(y))

    Where there is one tile or one block, the axis of n or k is left out of all three: every axis
    adds to the time of a call.
    """

    tiles: Array
    """`[G, n, 1, I, w]`; `[I, G O]` where the matrices stand side by side."""
    rows: int
    """r."""
    left_out: tuple[int, ...]
    """Axes, counted from the last."""
    side_by_side: bool = False
    """Whether one product with one row computes all gates."""

    def row_blocks(self, x: Array) -> Array:
        """A view of `x [..., R, I]` as `[..., 1, k, r, I]`."""
        if self.side_by_side:
            return x
        *leading, R, inputs = x.shape
        return x.reshape(*leading, 1, R // self.rows, self.rows, inputs).squeeze(self.left_out)

    def in_tiles(self, y: Array) -> Array:
        """A view of `y [..., R, O]` as `[..., n, k, r, w]`; of `[G, 1, O]` as `[1, G O]`."""
        if self.side_by_side:
            return y.reshape(1, -1)
        *leading, R, outputs = y.shape
        w = self.tiles.shape[-1]
        parts = y.reshape(*leading, R // self.rows, self.rows, outputs // w, w)
        return parts.swapaxes(-2, -3).swapaxes(-3, -4).squeeze(self.left_out)


@functools.cache
def tile_shape(rows: int, inputs: int, outputs: int, tuning: Tuning) -> tuple[int, int]:
    """`r, w` for products `[R, I] @ [I, O]`: divisors of R and O, or R and O where cutting would not help."""
    if rows == 1:
        return rows, outputs  # a product with a vector reads the matrix once in any layout
    vector, small = tuning.vector, tuning.small
    # without kernels for small products, BLAS copies the rows again for every tile
    widest = tuning.widest if small else max(tuning.widest, 4 * rows)
    widths = {outputs, *(w for w in range(vector, widest + 1) if outputs % w == 0)}
    # the width that leaves least of its last vector empty comes first; of those the widest tile
    best = sorted(widths, key=lambda w: (w / math.ceil(w / vector), w <= widest, w), reverse=True)
    if not small:
        return rows, best[0]
    for w in best:
        r = max((r for r in range(1, rows + 1) if rows % r == 0 and r * inputs * w <= small), default=0)
        if r >= min(rows, tuning.fewest_rows):
            return r, w
    return rows, outputs


def tiled(
    matrices: Array,
    rows: int,
    steps: int,
    memory: Memory,
    name: str,
    tuning: Tuning,
    same_rows: bool = False,
) -> Tiles:
    """`matrices [G, I, O]` for `steps` products with `rows` rows each.

    `same_rows`: all G matrices are multiplied with the same rows, so that they may stand side by side.
    The tiles are usually a copy, called `name` in `memory`. For a transposed view the copy also saves
    time: a product with the view takes 1.6 times as long.
    """
    G, inputs, outputs = matrices.shape
    if rows == 1 and G > 1 and same_rows:
        copy = memory.array(name, (inputs, G * outputs), matrices.dtype)
        return Tiles(side_by_side(matrices, copy), rows, (), side_by_side=True)
    worth_copying = steps >= tuning.worth_copying
    r, w = tile_shape(rows, inputs, outputs, tuning) if worth_copying else (rows, outputs)
    tiles = matrices.reshape(G, inputs, outputs // w, w).swapaxes(1, 2)  # [G, n, I, w]
    if worth_copying and not tiles.flags.c_contiguous:
        copy = memory.array(name, tiles.shape, tiles.dtype)
        copy[...] = tiles
        tiles = copy
    left_out = (*((-4,) if w == outputs else ()), *((-3,) if r == rows else ()))
    return Tiles(tiles[:, :, None].squeeze(left_out), r, left_out)


def side_by_side(matrices: Array, out: Array | None = None) -> Array:
    """A copy of `matrices [G, I, O]` as one `[I, G O]`, written to `out` if given."""
    G, inputs, outputs = matrices.shape
    copy = np.empty((inputs, G * outputs), matrices.dtype) if out is None else out
    copy.reshape(inputs, G, outputs)[...] = matrices.swapaxes(0, 1)
    return copy


def column_sums(rows: Array, out: Array) -> Array:
    """Sums over the rows of `[N, O]`, written to `out [O]`, which is returned.

    A product with ones is several times as fast as NumPy's sum.
    """
    return np.matmul(np.ones(len(rows), rows.dtype), rows, out)
