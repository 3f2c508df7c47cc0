"""The fused kernel: a recurrent layer a window at a time, in place and in tiles.

Letters: `T` time steps, `B` streams (batch), `H` hidden units, `G` gates, `S` states of the cell.
Each gate's activations of a step are one contiguous block. With the gates side by side in rows of
`G·H`, NumPy goes through them row by row, and elementwise work takes 2 to 3 times as long.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array, Signal
from charlm.nn.kernels.inputs import DenseInput, OneHotInput
from charlm.nn.layers.layer import Step
from charlm.nn.layers.recurrent import Recurrent
from charlm.nn.matmul import Tiles, tiled
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.tuning import Tuning
from charlm.nn.workspace import Memory, Workspace


class Window(ABC):
    """The recurrence of one kind of cell over a window, from `a = x Wx + b`, and back to it.

    Attributes
    ----------
    a
        `[G, T, B, H]`; the forward pass overwrites it with the gates, and the backward pass with the
        gradient with respect to `a`.
    states
        `[S, T+1, B, H]`: the state before the window, then the state after each step.
    saved
        `[T, B, H]`: one more array for the backward pass, if `saves` is true.
    """

    saves = False

    def __init__(self, params: Params, a: Array, states: Array, workspace: Workspace, tuning: Tuning) -> None:
        self.params, self.a, self.states = params, a, states
        self.workspace, self.tuning = workspace, tuning
        if self.saves:
            self.saved = workspace.array("saved", a.shape[1:], a.dtype)

    @abstractmethod
    def stepper(self, memory: Memory) -> Callable[[int], None]:
        """A function that does step `t`: it computes `states[:, t + 1]` from `states[:, t]`.

        `memory` is for arrays that only the steps need.
        """

    @abstractmethod
    def backward(self, grads: Params, doutput: Array, dstate: Array) -> Array:
        """Write the gradient with respect to `a` to `a`; return the one of the state before the window.

        The gradients of the recurrent parameters are overwritten. The caller does `Wx` and `b`.
        """

    def tiled(self, matrices: Array, memory: Memory, name: str, same_rows: bool = False) -> Tiles:
        """`matrices [G, H, H]` for a product with `B` rows at each step; see `matmul.tiled`."""
        _, T, B, _ = self.a.shape
        return tiled(matrices, B, T, memory, name, self.tuning, same_rows)

    def blocks(self, memory: Memory) -> Iterator[tuple[slice, Array]]:
        """The steps in blocks, the last block first, each with memory for numbers of every gate of it.

        Elementwise work that does not recur is done one block at a time. The operations are fewer and
        larger than step by step, and the block is still in the cache. The memory is `[G, steps, B, H]`.
        """
        G, T, B, H = self.a.shape
        longest = min(T, max(1, self.tuning.block // (G * B * H)))
        numbers = memory.array("block", (G * longest, B, H), self.a.dtype)
        for stop in range(T, 0, -longest):
            block = slice(max(0, stop - longest), stop)
            steps = block.stop - block.start
            yield block, numbers[: G * steps].reshape(G, steps, B, H)


@dataclass(frozen=True)
class Fused(Recurrent):
    """`a = x Wx + b` for a whole window at once, which does not recur, then the recurrence over it."""

    window: type[Window]
    tuning: Tuning

    @property
    def input(self) -> OneHotInput | DenseInput:
        """What makes `a [G, T, B, H]`."""
        return OneHotInput(self.tuning) if self.one_hot else DenseInput()

    def run(self, params: Params, x: Signal, state: Array, workspace: Workspace) -> Pass:
        a, input_backward = self.input.forward(params, x, workspace)
        _, T, B, H = a.shape
        states = workspace.array("states", (len(state), T + 1, B, H), a.dtype)
        states[:, 0] = state
        window = self.window(params, a, states, workspace, self.tuning)
        # the exponential of a gate may overflow: see `sigmoid_by_exp_into`
        with workspace.scratch() as scratch, np.errstate(over="ignore"):
            step = window.stepper(scratch)
            for t in range(T):
                step(t)

        def backward(grads: Params, doutput: Array, dstate: Array) -> tuple[Array, Array]:
            dstate_before = window.backward(grads, doutput, dstate)
            # doutput has been used: its memory is free for dx
            return input_backward(grads, a, doutput), dstate_before

        def values() -> Mapping[str, Array]:
            # the only gate of an RNN is its state
            return dict(zip((*self.cell.gates, *self.cell.states), (*a, *states[:, 1:]), strict=True))

        return Pass(states[0, 1:], states[:, -1], backward, values)

    def stepper(self, params: Params, state: Array) -> Step:
        dtype, (G, H) = params["b"].dtype, params["b"].shape
        memory = Workspace()
        a = np.empty((G, 1, 1, H), dtype)
        states = np.empty((len(state), 2, 1, H), dtype)  # before and after a step
        states[:, 0] = state
        before, after = states[:, 0], states[:, 1]
        h: Array = states[0, 0]
        project = self.input.stepper(params, a[:, 0])
        advance = self.window(params, a, states, memory, self.tuning).stepper(memory)

        def step(x: Signal | int) -> Array:
            project(x)
            advance(0)
            before[...] = after
            return h

        return step


def recurrent_gradients(dWh: Array, h: Array, da: Sequence[Array] | Array) -> None:
    """`dWh[g] = Σ_t h_{t-1}ᵀ da_t[g]`: one product per gate for the whole window.

    `h [T+1, B, H]` is the state before the window and after each step; `da` holds G arrays
    `[T, B, H]`, the gradients with respect to the recurrent products.
    """
    H = h.shape[-1]
    before = h[:-1].reshape(-1, H)
    for gate, rows in enumerate(da):
        np.matmul(before.T, rows.reshape(-1, H), dWh[gate])
