"""How the fast kernels cut their work for a processor; the mathematics does not depend on it."""

from collections.abc import Callable
from dataclasses import dataclass

from charlm.arrays import Array
from charlm.nn.activations import sigmoid_into
from charlm.system import blas


@dataclass(frozen=True)
class Tuning:
    """Limits of blocks and tiles. They count numbers, not bytes: float64 is cut where float32 is."""

    small: int = 1_000_000 if blas.kernel() in blas.AVX512_KERNELS else 0
    """Multiplications up to which OpenBLAS uses its kernels for small products; 0 if it has none."""
    vector: int = 16
    """Numbers in the widest vector register."""
    widest: int = 64
    """Most outputs of a tile, for few rows."""
    fewest_rows: int = 8
    """Rows of a block below which a narrower tile and more rows pay."""
    worth_copying: int = 8
    """Fewest products for which copying a matrix into tiles pays."""
    block: int = 1 << 16
    """Numbers in a block of steps: a fraction of the second-level cache in float32."""
    few: int = 1 << 16
    """Numbers up to which the product with a one-hot matrix takes less time than sums for each id."""
    sigmoid: Callable[[Array, Array], Array] = sigmoid_into
    """The form of the sigmoid: `sigmoid(a, out)` overwrites `a`."""


TUNED = Tuning()
"""For this processor."""
