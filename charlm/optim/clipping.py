"""Gradient clipping on the flat buffer."""

from __future__ import annotations

import math

import numpy as np

from charlm.nn.parameters import Array


def global_norm(gradients: Array) -> float:
    """Euclidean length of all gradients together, summed in float64 over blocks.

    Float32 sums of squares overflow near 1e19; blocks of float64 partial sums do not.
    """
    total = 0.0
    for start in range(0, gradients.size, 1 << 16):
        block = gradients[start : start + (1 << 16)].astype(np.float64)
        total += float(block @ block)
    return math.sqrt(total)


def clip(gradients: Array, clip_norm: float, clip_value: float) -> float:
    """Clip in place, first each value, then the norm, and return the norm before any clipping.

    `clip_value`: every entry is brought into ±clip_value. `clip_norm`: if the global norm is
    longer, all entries are scaled by `clip_norm / norm` (Pascanu et al. 2013). 0 switches either
    off. If the norm is not finite, nothing is clipped: the caller must not use such gradients.
    """
    norm = before = global_norm(gradients)
    if not math.isfinite(norm):
        return norm
    if clip_value > 0:
        np.clip(gradients, -clip_value, clip_value, gradients)
        norm = global_norm(gradients) if clip_norm > 0 else norm
    if 0 < clip_norm < norm:
        np.multiply(gradients, clip_norm / norm, gradients)
    return before
