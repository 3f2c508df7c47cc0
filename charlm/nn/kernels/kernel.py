"""Kernels: the recurrence of a cell over a whole window.

Letters: `T` time steps, `B` streams (batch), `H` hidden units, `G` gates, `S` states of the cell.
Each gate's activations of a step are one contiguous block. With the gates side by side in rows of
`G·H`, NumPy goes through them row by row, and elementwise work takes 2 to 3 times as long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from charlm.arrays import Array, Signal
from charlm.nn.cells.cell import Cell
from charlm.nn.layers.layer import Step
from charlm.nn.layers.linear import Linear, LinearPass
from charlm.nn.layers.one_hot_linear import OneHotLinear, OneHotPass
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Scratch, Workspace


class Kernel(ABC):
    """What runs a recurrent layer: whole windows, or one character at a time."""

    @abstractmethod
    def forward(self, params: Params, x: Signal, state: Array, workspace: Workspace) -> Pass:
        """Run a window.

        `params` are the layer's, by their short names. `x` is `[T, B]` ids or `[T, B, I]`, and
        `state [S, B, H]` the state before the window, which is only read.
        """

    @abstractmethod
    def stepper(self, params: Params, state: Array) -> Step:
        """See `Layer.stepper`."""


class Window(Pass):
    """The recurrence of one kind of cell over a window, from `a = x Wx + b`, and back to it.

    A subclass is a fused kernel. Its constructor takes the memory of the window, `stepper` runs it
    forward, and `backward` gives the gradient with respect to `a`, `[G, T, B, H]`, in the memory of
    `a`. It overwrites the gradients of the recurrent parameters; `Wx` and `b` are the caller's.

    Attributes
    ----------
    a
        `[G, T, B, H]`; the forward pass overwrites it with the gates.
    states
        `[S, T+1, B, H]`: the state before the window, then the state after each step.
    """

    def __init__(self, params: Params, a: Array, states: Array, workspace: Workspace) -> None:
        self.params, self.a, self.states, self.workspace = params, a, states, workspace
        self.output, self.state = states[0, 1:], states[:, -1]

    @abstractmethod
    def stepper(self, scratch: Scratch) -> Callable[[int], None]:
        """A function that does step `t`: it computes `states[:, t + 1]` from `states[:, t]`.

        `scratch` has memory for arrays that only the steps need.
        """


class FusedPass(Pass):
    """A window of a recurrent layer whose input product was made for all steps at once."""

    def __init__(self, cell: Cell, inputs: LinearPass | OneHotPass, window: Window) -> None:
        self.cell, self.inputs, self.window = cell, inputs, window
        self.output, self.state = window.output, window.state

    @property
    def values(self) -> Mapping[str, Array]:
        """See `Pass.values`."""
        gates = zip(self.cell.gates, self.window.a, strict=True)
        # the only gate of an RNN is its state
        return {**dict(gates), **dict(zip(self.cell.states, self.window.states[:, 1:], strict=True))}

    def backward(self, grads: Params, doutput: Array, dstate: Array) -> tuple[Array, Array]:
        """See `Pass.backward`."""
        da, dstate_before = self.window.backward(grads, doutput, dstate)
        # doutput has been used: its memory is free for dx
        dx, _ = self.inputs.backward(grads, da, dstate, out=doutput)
        return dx, dstate_before


class Fused(Kernel):
    """`a = x Wx + b` for a whole window at once, which does not recur, then the recurrence over it."""

    def __init__(self, cell: Cell, window: type[Window], inputs: OneHotLinear | Linear) -> None:
        """`inputs` makes `a [G, T, B, H]`."""
        self.cell, self.window, self.inputs = cell, window, inputs

    def forward(self, params: Params, x: Signal, state: Array, workspace: Workspace) -> FusedPass:
        """See `Kernel.forward`."""
        inputs = self.inputs.forward(params, x, state, {}, workspace)
        a = inputs.output
        _, T, B, H = a.shape
        states = workspace.array("states", (len(state), T + 1, B, H), a.dtype)
        states[:, 0] = state
        window = self.window(params, a, states, workspace)
        # the exponential of a gate may overflow: see `sigmoid_by_exp_into`
        with workspace.scratch() as scratch, np.errstate(over="ignore"):
            step = window.stepper(scratch)
            for t in range(T):
                step(t)
        return FusedPass(self.cell, inputs, window)

    def stepper(self, params: Params, state: Array) -> Step:
        """See `Layer.stepper`."""
        dtype, (G, H) = params["b"].dtype, params["b"].shape
        workspace = Workspace()
        a = np.empty((G, 1, 1, H), dtype)
        states = np.empty((len(state), 2, 1, H), dtype)  # before and after a step
        states[:, 0] = state
        before, after = states[:, 0], states[:, 1]
        h: Array = states[0, 0]
        project = self.inputs.stepper(params, state, out=a[:, 0])
        advance = self.window(params, a, states, workspace).stepper(workspace.scratch())

        def step(x: Signal | int) -> Array:
            project(x)
            advance(0)
            before[...] = after
            return h

        return step


def recurrent_gradients(dWh: Array, h: Array, du: Sequence[Array] | Array) -> None:
    """`dWh[g] = Σ_t h_{t-1}ᵀ du_t[g]`: one product per gate for the whole window.

    `h [T+1, B, H]` is the state before the window and after each step; `du` holds G arrays
    `[T, B, H]`, the gradients with respect to the recurrent products.
    """
    H = h.shape[-1]
    before = h[:-1].reshape(-1, H)
    for gate, rows in enumerate(du):
        np.matmul(before.T, rows.reshape(-1, H), dWh[gate])


_BLOCK = 1 << 16
"""Numbers in a block of steps: a fraction of the second-level cache in float32. The limit is in numbers,
not bytes, so a check in float64 runs through the blocks of training."""


def blocks(T: int, step: int) -> Iterator[slice]:
    """The steps `0 … T-1`, of `step` numbers each, in blocks of about `_BLOCK` numbers, last block first.

    Elementwise work that does not recur is done one block at a time. The operations are fewer and
    larger than step by step, and the block is still in the cache.
    """
    size = block_steps(T, step)
    for stop in range(T, 0, -size):
        yield slice(max(0, stop - size), stop)


def block_steps(T: int, step: int) -> int:
    """Steps of the longest block."""
    return min(T, max(1, _BLOCK // step))
