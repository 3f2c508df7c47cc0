"""Products in tiles are products."""

from __future__ import annotations

import numpy as np
import pytest

from charlm.nn.matmul import tile_shape, tiled
from charlm.nn.tuning import Tuning
from charlm.nn.workspace import Memory

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("steps", [1, 7, 8, 50])
@pytest.mark.parametrize("small", [0, 200_000, 1_000_000])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"),
    [
        (1, 64, 64),
        (1, 512, 512),
        (4, 48, 96),
        (5, 7, 48),
        (32, 256, 256),
        (64, 256, 64),
        (3, 20, 37),
        (6, 40, 200),
    ],
)
def test_products_with_tiles(
    rows: int,
    inputs: int,
    outputs: int,
    small: int,
    steps: int,
    transposed: bool,
) -> None:
    """A product with tiles, written through the view, is the plain product; cut or not, copied or not."""
    tuning = Tuning(small=small)
    shape = (3, outputs, inputs) if transposed else (3, inputs, outputs)
    matrices = RNG.standard_normal(shape)
    matrices = matrices.swapaxes(1, 2) if transposed else matrices
    x, out = RNG.standard_normal((3, rows, inputs)), np.full((3, rows, outputs), np.nan)
    tiles = tiled(matrices, rows, steps, Memory(), "Wh", tuning)
    np.matmul(tiles.row_blocks(x), tiles.tiles, tiles.in_tiles(out))
    np.testing.assert_allclose(out, np.einsum("gri,gio->gro", x, matrices), atol=1e-12)
    np.matmul(tiles.row_blocks(x[0]), tiles.tiles, tiles.in_tiles(out))
    np.testing.assert_allclose(out, np.einsum("ri,gio->gro", x[0], matrices), atol=1e-12)
    same = tiled(matrices, rows, steps, Memory(), "Wh", tuning, same_rows=True)
    assert same.side_by_side == (rows == 1)
    out[...] = np.nan
    np.matmul(same.row_blocks(x[0]), same.tiles, same.in_tiles(out))
    np.testing.assert_allclose(out, np.einsum("ri,gio->gro", x[0], matrices), atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "shape"),
    [
        (1, 512, 512, (1, 512)),  # a vector
        (25, 128, 128, (25, 64)),
        (32, 256, 256, (32, 64)),
        (32, 512, 512, (16, 64)),  # 32 rows would be too large a product
        (37, 512, 512, (37, 32)),  # rows that cannot be divided
        (64, 512, 512, (16, 64)),
        (25, 1024, 1024, (25, 32)),  # rather than 5 rows
        (4, 2048, 2048, (4, 64)),
        (67, 1024, 1024, (67, 1024)),  # nothing is small enough
        (16, 200, 200, (16, 200)),  # 8 numbers past a whole vector rather than 8 and more
        (32, 200, 200, (16, 200)),
        (32, 257, 257, (8, 257)),  # a prime
    ],
)
def test_small_products(rows: int, inputs: int, outputs: int, shape: tuple[int, int]) -> None:
    """Tiles are whole vectors where that is possible, as wide as can be, and every product is small."""
    assert tile_shape(rows, inputs, outputs, Tuning(small=1_000_000)) == shape


@pytest.mark.parametrize(
    ("rows", "H", "width"),
    [
        (1, 256, 256),
        (8, 256, 64),
        (25, 128, 64),
        (32, 512, 128),
        (64, 256, 256),
        (128, 512, 512),
        (25, 257, 257),
    ],
)
def test_without_kernels_for_small_products(rows: int, H: int, width: int) -> None:
    """Rows stay together, and the more they are, the wider are the tiles."""
    assert tile_shape(rows, H, H, Tuning(small=0)) == (rows, width)
