"""What a recurrent cell is: the equations of one step, and their derivatives.

The product with the input does not recur, so the layer makes it for a whole window at once, the
same way for every cell: a cell receives `a = x Wx + b` and hands back the gradient with respect
to it.

Letters: `B` streams (batch), `H` hidden units, `G` gates. The gate comes first, in parameters and
activations alike: each gate has a matrix of its own, as in the textbook.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from charlm.arrays import Array, Shape
from charlm.nn.parameters import Params

States = tuple[Array, ...]
"""What a cell carries from step to step: one array `[B, H]` for each of `Cell.states`."""

Saved = tuple[Array, ...]
"""What `step_backward` needs of a step."""


class Cell(ABC):
    """A recurrence: one step forward, and the same step backward.

    A subclass with `gates`, `step` and `step_backward` is complete: it can be trained, checked,
    sampled from and scored. `x Wx + b` has one matrix `Wx[g] [I, H]` and one bias `b[g] [H]` a
    gate.
    """

    gates: tuple[str, ...]
    """Names of the gates, in the order of `a`, `Wx`, `Wh` and `b`."""
    states: tuple[str, ...] = ("h",)
    """Names of the states; the first is the output of the layer."""

    def shapes(self, hidden: int) -> dict[str, Shape]:
        """Shapes of the recurrent parameters: `Wh [G, H, H]`, a matrix for each gate."""
        return {"Wh": (len(self.gates), hidden, hidden)}

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """Fill the recurrent parameters of a layer in place; its bias `b` is zero before.

        Square matrices are, each of them, `orthogonal` (Saxe et al. 2014) or `uniform` within
        ±1/√H, as `init` says. Everything else is zero.
        """
        hidden = params["b"].shape[-1]
        for name in self.shapes(hidden):
            if params[name].shape[-2:] != (hidden, hidden):
                params[name][...] = 0.0
                continue
            for matrix in params[name].reshape(-1, hidden, hidden):
                if init == "orthogonal":
                    matrix[...] = orthogonal(hidden, rng)
                else:
                    matrix[...] = rng.uniform(-(hidden**-0.5), hidden**-0.5, matrix.shape)

    @abstractmethod
    def step(self, params: Params, a: Array, state: States) -> tuple[States, Saved]:
        """One step of all streams: the state after it, and what `step_backward` needs.

        `a` is `x Wx + b`, `[G, B, H]`; `state` holds arrays `[B, H]`. Both are only read.
        """

    @abstractmethod
    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """The same step backward.

        `dstate` is the gradient with respect to the state after the step. Adds to `grads` of the
        recurrent parameters. Returns the gradients with respect to `a`, `[G, B, H]`, and to the
        state before the step.
        """

    def activations(self, saved: Saved) -> Sequence[Array]:
        """The gates of a step `[B, H]`, after their nonlinearities, in the order of `gates`.

        They are looked at, and needed for nothing else. A cell that does not say has none to look at.
        """
        return ()

    def arriving(self, saved: Saved, dstate: States) -> States:
        """The gradients with respect to the states of a step, through all that is made of them.

        `dstate` counts what follows the step. A state from which h of the same step is made also has
        the gradient that comes through h. For inspection only. By default there is no such state.
        """
        return dstate


def orthogonal(size: int, rng: np.random.Generator) -> Array:
    """A random orthogonal matrix `[size, size]`, uniform over all of them (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    # QR leaves the signs of the columns to the algorithm; fixing them makes the draw uniform
    signed: Array = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return signed
