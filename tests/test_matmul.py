"""Products in tiles are products."""

from __future__ import annotations

import numpy as np
import pytest

from charlm.nn.matmul import in_tiles, tile_width, tiled
from charlm.nn.workspace import Workspace

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("steps", [1, 7, 8, 50])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"),
    [(1, 64, 64), (4, 48, 96), (5, 7, 48), (32, 256, 256), (3, 20, 37), (6, 40, 200)],
)
def test_products_with_tiles(rows: int, inputs: int, outputs: int, steps: int, transposed: bool) -> None:
    """A product with tiles, written through the view, is the plain product; tiled or not, copied or not."""
    shape = (3, outputs, inputs) if transposed else (3, inputs, outputs)
    matrices = RNG.standard_normal(shape)
    matrices = matrices.swapaxes(1, 2) if transposed else matrices
    x, out = RNG.standard_normal((rows, inputs)), np.full((3, rows, outputs), np.nan)
    tiles = tiled(matrices, rows, steps, Workspace().scratch(), "Wh")
    np.matmul(x, tiles, in_tiles(out, tiles.shape[-1]))
    np.testing.assert_allclose(out, np.einsum("ri,gio->gro", x, matrices), atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "width"),
    [
        (1, 512, 512, 512),  # a vector
        (25, 128, 128, 64),
        (32, 256, 256, 64),
        (32, 512, 512, 32),  # 64 would be too large a product
        (64, 512, 512, 16),
        (128, 512, 512, 512),  # nothing is small enough
        (16, 200, 200, 200),  # small as it is, and 8 numbers past a whole vector rather than 8 and more
        (32, 200, 200, 40),
        (8, 257, 257, 257),
        (32, 257, 257, 257),  # a prime
    ],
)
def test_tile_width(rows: int, inputs: int, outputs: int, width: int) -> None:
    """Tiles are whole vectors where that is possible, small products always, and as wide as can be."""
    assert tile_width(rows, inputs, outputs) == width
