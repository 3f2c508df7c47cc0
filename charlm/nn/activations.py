"""Nonlinearities."""

from __future__ import annotations

import numpy as np

from charlm.arrays import Array


def sigmoid(a: Array) -> Array:
    """`σ(a) = 1 / (1 + exp(-a)) = ½ tanh(½ a) + ½`.

    By the second form, which neither overflows nor divides.
    """
    half: Array = 0.5 * np.tanh(0.5 * a)
    return half + 0.5


def sigmoid_into(a: Array, out: Array) -> Array:
    """`sigmoid(a)` written to `out`, which is returned; `a` is overwritten."""
    np.multiply(a, 0.5, a)
    np.tanh(a, a)
    np.multiply(a, 0.5, a)
    np.add(a, 0.5, out)
    return out
