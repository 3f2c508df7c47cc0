"""What every recurrent cell promises.

A cell is stateless and knows only its recurrence. The product with its input does not recur, so
it is made outside, for a whole window at once and the same way for every cell: the cell receives
`x Wx + b` and hands back the gradient with respect to it.

Letters: `T` time steps, `B` streams (batch), `H` hidden units, `G` gates. The gate comes first
wherever there is one, in parameters and activations alike: each gate is a matrix of its own, as in
the textbook, and each gate's activations of a step are one contiguous block. (With the gates side
by side in rows of `G·H`, NumPy walks them row by row, and the elementwise work takes 2 to 3 times
as long.)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from charlm.arrays import Array, Shape
from charlm.nn.workspace import Workspace

State = tuple[Array, ...]
"""What one layer carries from step to step: arrays `[B, H]`, the first of them `h`."""


class Cell(ABC):
    """A recurrence, forward over a window and backward through it."""

    gates: ClassVar[int]
    """G: matrices in `Wx` and `Wh`."""
    states: ClassVar[tuple[str, ...]] = ("h",)
    """Names of the arrays in a layer's state."""

    def shapes(self, inputs: int, hidden: int) -> dict[str, Shape]:
        """Shapes of one layer's parameters: `Wx [G, inputs, H]`, `Wh [G, H, H]`, `b [G, H]`."""
        return {
            "Wx": (self.gates, inputs, hidden),
            "Wh": (self.gates, hidden, hidden),
            "b": (self.gates, hidden),
        }

    def initialise(self, parameters: Mapping[str, Array], rng: np.random.Generator, init: str) -> None:
        """Fill one layer's parameters in place.

        `Wx` is uniform within ±1/√H. `init` says what the recurrent matrices are: `orthogonal`
        (each gate's; Saxe et al. 2014) or `uniform`, within ±1/√H. Biases are zero, but where a
        cell says otherwise.
        """
        hidden = parameters["Wh"].shape[-1]
        bound = hidden**-0.5
        parameters["Wx"][...] = rng.uniform(-bound, bound, parameters["Wx"].shape)
        for matrix in parameters["Wh"]:
            if init == "orthogonal":
                matrix[...] = _orthogonal(hidden, rng)
            else:
                matrix[...] = rng.uniform(-bound, bound, matrix.shape)
        for name, view in parameters.items():
            if name not in ("Wx", "Wh"):
                view[...] = 0.0

    @abstractmethod
    def window(
        self, parameters: Mapping[str, Array], projected: Array, workspace: Workspace
    ) -> tuple[Any, Callable[[int], None]]:
        """Make ready for a window: what it leaves, and the function that does step `t` of it.

        Parameters
        ----------
        parameters
            One layer's arrays by their short names.
        projected
            `x Wx + b`, `[G, T, B, H]`; its contents may be overwritten.
        workspace
            Where the window's arrays live.

        Returns
        -------
        tape
            What `backward` needs, valid until the next window with this workspace. Its `states`
            are arrays `[T+1, B, H]`, one for each of the cell's states: before the window, and
            after each step.
        step
            Computes `states[…][t + 1]` from `states[…][t]`.
        """

    def forward(
        self, parameters: Mapping[str, Array], projected: Array, state: State, workspace: Workspace
    ) -> tuple[Array, State, Any]:
        """Run the recurrence over a window.

        `parameters`, `projected` and `workspace` are those of `window`; `state`, arrays `[B, H]`,
        is the layer's before it, and only read. Returns `h [T, B, H]`, the state after the window
        (views into the workspace), and the tape for `backward`.
        """
        tape, step = self.window(parameters, projected, workspace)
        for array, before in zip(tape.states, state, strict=True):
            array[0] = before
        for t in range(projected.shape[1]):
            step(t)
        return tape.states[0][1:], tuple(array[-1] for array in tape.states), tape

    @abstractmethod
    def backward(
        self,
        parameters: Mapping[str, Array],
        gradients: Mapping[str, Array],
        tape: Any,
        dh: Array,
        dstate: State,
        workspace: Workspace,
    ) -> tuple[Array, State]:
        """Run back through the window of `tape` and write the recurrent gradients.

        Of `gradients`, `Wh` and biases of the recurrent product are overwritten; `Wx` and `b` are
        the caller's, from what is returned.

        Parameters
        ----------
        dh
            Gradient with respect to `h`, `[T, B, H]`; only read.
        dstate
            Gradient with respect to the state after the window (beyond what `dh` says of it).

        Returns
        -------
        dprojected
            Gradient with respect to `projected`, `[G, T, B, H]`, in its place: what forward left
            there is used up.
        dstate
            Gradient with respect to the state before the window.
        """


def _orthogonal(size: int, rng: np.random.Generator) -> Array:
    """A random orthogonal matrix `[size, size]`, uniform over all of them (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    # QR leaves the signs of the columns to the algorithm; fixing them makes the draw uniform
    signed: Array = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return signed


def recurrent_gradients(dWh: Array, h: Array, du: Sequence[Array] | Array) -> None:
    """`dWh[g] = Σ_t h_{t-1}ᵀ du_t[g]`: one product a gate for the whole window.

    `h [T+1, B, H]` is the state before the window and after each step; `du` holds G arrays
    `[T, B, H]`, the gradients with respect to the recurrent products.
    """
    H = h.shape[-1]
    before = h[:-1].reshape(-1, H)
    for gate, rows in enumerate(du):
        np.matmul(before.T, rows.reshape(-1, H), dWh[gate])


_BLOCK = 1 << 16
"""Numbers in a block of steps: in float32 a part of the second-level cache. Counted in numbers, not
bytes, so that a check in float64 runs through the blocks of training."""


def blocks(T: int, step: int) -> Iterator[slice]:
    """The steps `0 … T-1`, of so many numbers each, in blocks of about `_BLOCK`, from the last to the first.

    Elementwise work of a backward pass that does not recur is done a block at a time: in fewer
    and larger operations than step by step, and while the block stays in the cache.
    """
    size = max(1, _BLOCK // step)
    for stop in range(T, 0, -size):
        yield slice(max(0, stop - size), stop)
