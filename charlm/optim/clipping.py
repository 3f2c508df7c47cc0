"""Gradient clipping on the flat buffer, in two steps.

First every value is clipped to ±clip_value. Then all are scaled so that their global norm is at
most clip_norm (Pascanu et al. 2013). 0 switches either step off. The norm is taken over all
gradients, so workers that each hold a part of them synchronise between the steps.
"""

import math

import numpy as np

from charlm.arrays import Array


def square_sum(gradients: Array) -> float:
    """Sum of squares, in float64 over blocks.

    Float32 sums of squares overflow near 1e19; blocks of float64 partial sums do not.
    """
    total = 0.0
    for start in range(0, gradients.size, 1 << 16):
        block = gradients[start : start + (1 << 16)].astype(np.float64)
        total += float(block @ block)
    return total


def clip_values(gradients: Array, clip_value: float) -> tuple[float, float]:
    """Clip each value in place; returns the sums of squares before and after.

    Gradients that are not finite are left unchanged; the caller must not use them.
    """
    before = square_sum(gradients)
    if not clip_value or not math.isfinite(before):
        return before, before
    np.clip(gradients, -clip_value, clip_value, gradients)
    return before, square_sum(gradients)


def clip_factor(norm: float, clip_norm: float) -> float:
    """The factor that scales gradients of this global norm to at most `clip_norm`."""
    return clip_norm / norm if 0 < clip_norm < norm else 1.0
