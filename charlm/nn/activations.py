"""Nonlinearities.

The sigmoid has two forms, equal to rounding. Which one is faster depends on the instructions that
NumPy uses for `tanh` and `exp`: with AVX2 a `tanh` takes twice the time of an `exp`, elsewhere less.
The form is chosen when this module is loaded, by the features of the processor, so a processor always
computes the same.
"""

import numpy as np
from numpy.lib.introspect import opt_func_info

from charlm.arrays import Array

_SLOW_TANH = ("AVX2", "X86_V3")
"""In the names of NumPy's implementations of `tanh` that are slower than its `exp`."""


def sigmoid(a: Array) -> Array:
    """`σ(a) = 1 / (1 + exp(-a)) = ½ tanh(½ a) + ½`.

    By the second form, which neither overflows nor divides.
    """
    half: Array = 0.5 * np.tanh(0.5 * a)
    return half + 0.5


def sigmoid_by_tanh_into(a: Array, out: Array) -> Array:
    """`½ tanh(½ a) + ½` written to `out`, which is returned; `a` is overwritten."""
    np.multiply(a, 0.5, a)
    np.tanh(a, a)
    np.multiply(a, 0.5, a)
    np.add(a, 0.5, out)
    return out


def sigmoid_by_exp_into(a: Array, out: Array) -> Array:
    """`1 / (1 + exp(-a))` written to `out`, which is returned; `a` is overwritten.

    The exponential of a large number is infinite, and `1 / (1 + ∞)` is the right 0. NumPy warns of the
    overflow. Callers switch the warning off once per window; a limit on `a` would cost time at each step.
    """
    np.negative(a, a)
    np.exp(a, a)
    np.add(a, 1.0, a)
    np.divide(1.0, a, out)
    return out


def sigmoid_form() -> str:
    """The faster form of the sigmoid on this processor: `exp` or `tanh`.

    `tanh` if NumPy does not name its implementation.
    """
    known = opt_func_info("^tanh$", "float32").get("tanh", {})
    used = " ".join(about["current"] for about in known.values())
    return "exp" if any(name in used for name in _SLOW_TANH) else "tanh"


sigmoid_into = {"exp": sigmoid_by_exp_into, "tanh": sigmoid_by_tanh_into}[sigmoid_form()]
"""The faster of the two forms."""
