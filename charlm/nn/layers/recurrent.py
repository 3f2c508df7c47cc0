"""A recurrent layer: a cell, the product with its input, the kernel that runs it, and weight drop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array, Shape, Signal
from charlm.nn.cells.cell import Cell
from charlm.nn.kernels.kernel import AnyKernel, KernelBackward
from charlm.nn.layers.layer import Layer, Masks, Noise, Step
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
    masks: Masks
    """Those of the recurrent matrices; empty if nothing was dropped."""


class Recurrent(Layer[Tape]):
    """`a_t = x_t Wx + b` for a whole window at once, then the recurrence of a cell over it.

    The product with the input does not recur, so it is not made step by step. With weight drop
    (Merity et al. 2018, after Wan et al. 2013), the recurrence of a window in training runs with

    ::

        W' = mask * Wh       so that       dWh = mask * dW'

    in place of each recurrent matrix `Wh [H, H]`: one mask for all steps and streams.
    """

    def __init__(
        self,
        inputs: OneHotLinear | Linear,
        cell: Cell,
        kernel: AnyKernel,
        hidden: int,
        weight_drop: float = 0.0,
    ) -> None:
        """`inputs` makes `a [G, T, B, H]`; its weight is called `WEIGHT`.

        `weight_drop` is the chance that a recurrent weight is dropped.
        """
        self.inputs, self.cell, self.kernel, self.hidden = inputs, cell, kernel, hidden
        self.weight_drop = weight_drop
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

    def noise(self, T: int, B: int) -> dict[str, Noise]:
        """See `Layer.noise`; all streams share the masks of the weights."""
        if not self.weight_drop:
            return {}
        shapes = self.cell.shapes(self.hidden)
        square = (self.hidden, self.hidden)
        return {
            name: Noise(shape, self.weight_drop, streams=None)
            for name, shape in shapes.items()
            if shape[-2:] == square
        }

    def forward(
        self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace
    ) -> tuple[Array, Array, Tape]:
        """See `Layer.forward`."""
        a, input_backward = self.inputs.project(params, x, workspace)
        # W' = mask * Wh
        dropped = {
            name: np.multiply(params[name], mask, workspace.array(name, mask.shape, mask.dtype))
            for name, mask in masks.items()
        }
        h, after, kernel_backward = self.kernel.run({**params, **dropped}, a, state, workspace)
        return h, after, Tape(input_backward, kernel_backward, masks)

    def backward(
        self, params: Params, grads: Params, tape: Tape, dy: Array, dstate: Array, workspace: Workspace
    ) -> tuple[Array, Array]:
        """See `Layer.backward`."""
        da, dbefore = tape.kernel_backward(grads, dy, dstate)
        for name, mask in tape.masks.items():
            # forward was W' = mask * Wh
            np.multiply(grads[name], mask, grads[name])
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
