"""A running mean of the parameters, which is better than any of them while they still move."""

import numpy as np

from charlm.arrays import Array

_BLOCK = 1 << 15
"""Numbers averaged at a time: the arrays of a block stay in the cache between operations."""


def decay_at(decay: float, t: int) -> float:
    """The decay d_t of update number `t`, from 1: `min(decay, t / (t + 9))`.

    The first values, which are far from the later ones, are forgotten sooner.
    """
    return min(decay, t / (t + 9))


def update_mean(mean: Array, params: Array, decay: float, t: int, span: slice) -> None:
    """Move the mean of the parameters towards their values after an update, in place, in one span.

    ::

        mean = d_t mean + (1 - d_t) p

    An exponential form of the average of Polyak & Juditsky 1992, after every update. `mean [N]`
    and `params [N]` are flat.
    """
    d = decay_at(decay, t)
    start, stop, _ = span.indices(params.size)
    scratch = np.empty(_BLOCK, params.dtype)
    for first in range(start, stop, _BLOCK):
        block = slice(first, min(first + _BLOCK, stop))
        m, p = mean[block], params[block]
        # m = m + (1 - d) (p - m)
        difference = np.subtract(p, m, scratch[: p.size])
        difference *= 1 - d
        m += difference
