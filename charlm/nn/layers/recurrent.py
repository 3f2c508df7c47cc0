"""A recurrent layer: a cell, the product with its input, and the kernel that runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array, Shape, Signal
from charlm.nn.cells.cell import Cell
from charlm.nn.kernels.kernel import AnyKernel, KernelBackward
from charlm.nn.layers.layer import Layer, Masks, Step
from charlm.nn.layers.linear import Linear
from charlm.nn.layers.one_hot_linear import OneHotLinear
from charlm.nn.parameters import Params
from charlm.nn.workspace import Workspace

WEIGHT = "Wx"
"""Name of the weights of the input."""


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    input_backward: Callable[[Params, Array, Array], Array]
    """Takes `grads`, `da` and memory for `dx`, which it returns."""
    kernel_backward: KernelBackward


class Recurrent(Layer[Tape]):
    """`a_t = x_t Wx + b` for a whole window at once, then the recurrence of a cell over it.

    The product with the input does not recur, so it is not made step by step.
    """

    def __init__(self, inputs: OneHotLinear | Linear, cell: Cell, kernel: AnyKernel, hidden: int) -> None:
        """`inputs` makes `a [G, T, B, H]`; its weight is called `WEIGHT`."""
        self.inputs, self.cell, self.kernel, self.hidden = inputs, cell, kernel, hidden
        self.states = cell.states

    def shapes(self) -> dict[str, Shape]:
        """See `Layer.shapes`: `Wx`, `Wh`, `b`, and what else the cell has."""
        shapes = {**self.inputs.shapes(), **self.cell.shapes(self.hidden)}
        first = [name for name in (WEIGHT, "Wh", "b") if name in shapes]
        return {name: shapes[name] for name in dict.fromkeys([*first, *shapes])}

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """See `Layer.initialise`."""
        self.inputs.initialise(params, rng, init)
        self.cell.initialise(params, rng, init)

    def forward(
        self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace
    ) -> tuple[Array, Array, Tape]:
        """See `Layer.forward`."""
        a, input_backward = self.inputs.project(params, x, workspace)
        h, after, kernel_backward = self.kernel.run(params, a, state, workspace)
        return h, after, Tape(input_backward, kernel_backward)

    def backward(
        self, params: Params, grads: Params, tape: Tape, dy: Array, dstate: Array, workspace: Workspace
    ) -> tuple[Array, Array]:
        """See `Layer.backward`."""
        da, dbefore = tape.kernel_backward(grads, dy, dstate)
        # dy has been used: its memory is free for dx
        return tape.input_backward(grads, da, dy), dbefore

    def stepper(self, params: Params, state: Array) -> Step:
        """See `Layer.stepper`."""
        dtype, G = params["b"].dtype, len(self.cell.gates)
        workspace = Workspace()
        a = np.empty((G, 1, 1, self.hidden), dtype)
        states = np.empty((len(self.states), 2, 1, self.hidden), dtype)  # before and after a step
        states[:, 0] = state
        before, after = states[:, 0], states[:, 1]
        h: Array = states[0, 0]
        project = self.inputs.stepper(params, state, out=a[:, 0])
        _, advance = self.kernel.prepare(params, a, states, workspace, workspace.scratch())

        def step(x: Signal | int) -> Array:
            project(x)
            advance(0)
            before[...] = after
            return h

        return step
