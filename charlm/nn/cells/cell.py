"""A recurrent cell: one step of the recurrence, and the same step backward.

Letters: `B` streams (batch), `I` inputs, `H` hidden units, `G` gates. Each gate has one input matrix,
one recurrent matrix and one bias, so the gate is the first axis of `Wx`, `Wh` and `b`.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from charlm.arrays import Array, Shape
from charlm.nn.parameters import Params

States = tuple[Array, ...]
"""The state that a cell carries from step to step: one array `[B, H]` for each name in `Cell.states`."""

Saved = tuple[Any, ...]
"""What `step` saves for `step_backward`: a named tuple of arrays."""


class Cell(ABC):
    """A recurrence: one step forward, and the same step backward.

    A subclass with `gates`, `step` and `step_backward` is complete. It can be trained, checked,
    sampled from and scored.
    """

    gates: tuple[str, ...]
    """Names of the gates, in the order of `Wx`, `Wh` and `b`."""
    states: tuple[str, ...] = ("h",)
    """Names of the states; the first is the output of the layer."""

    def shapes(self, inputs: int, hidden: int) -> dict[str, Shape]:
        """Shapes of the parameters: `Wx [G, I, H]`, `Wh [G, H, H]`, `b [G, H]`."""
        G = len(self.gates)
        return {"Wx": (G, inputs, hidden), "Wh": (G, hidden, hidden), "b": (G, hidden)}

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """Fill the recurrent matrices in place; the layer fills `Wx`, and every bias is zero.

        Each matrix of `Wh` is `orthogonal` (Saxe et al. 2014) or `uniform` within ±1/√H, as `init` says.
        """
        hidden = params["b"].shape[-1]
        for matrix in params["Wh"]:
            if init == "orthogonal":
                matrix[...] = orthogonal(hidden, rng)
            else:
                matrix[...] = rng.uniform(-(hidden**-0.5), hidden**-0.5, matrix.shape)

    @abstractmethod
    def step(self, params: Params, x: Array, state: States) -> tuple[States, Saved]:
        """One step of all streams.

        Parameters
        ----------
        params
            Parameters by name, of the shapes that `shapes` gives.
        x
            Input `[B, I]`; of the first layer one-hot rows. Only read.
        state
            State before the step, arrays `[B, H]`. Only read.

        Returns
        -------
        state
            State after the step.
        saved
            What `step_backward` needs. The fields that have the name of a gate are shown by `trace`.
        """

    @abstractmethod
    def step_backward(
        self, params: Params, grads: Params, saved: Saved, dstate: States
    ) -> tuple[Array, States]:
        """The same step backward.

        Parameters
        ----------
        params, grads
            Parameters and their gradients by name. The gradients of this step are added to `grads`.
        saved
            What `step` saved.
        dstate
            Gradient with respect to the state after the step.

        Returns
        -------
        dx
            Gradient with respect to the input, `[B, I]`.
        dstate
            Gradient with respect to the state before the step.
        """

    def arriving(self, saved: Saved, dstate: States) -> States:
        """The whole gradients with respect to the states after a step. For inspection only.

        `dstate` lacks one path: if the same step makes h from another state, the gradient of that state
        also comes through h. By default there is no such state.
        """
        return dstate


def orthogonal(size: int, rng: np.random.Generator) -> Array:
    """A random orthogonal matrix `[size, size]`, uniform over all of them (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    # QR leaves the signs of the columns to the algorithm; fixing them makes the draw uniform
    return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
