"""What a kernel is: the recurrence of a cell over a whole window.

Letters: `T` time steps, `B` streams (batch), `H` hidden units, `G` gates, `S` states of the cell.
Each gate's activations of a step are one contiguous block. With the gates side by side in rows of
`G·H`, NumPy goes through them row by row, and elementwise work takes 2 to 3 times as long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np

from charlm.arrays import Array
from charlm.nn.parameters import Params
from charlm.nn.workspace import Scratch, Workspace

Tape = TypeVar("Tape")

KernelBackward = Callable[[Params, Array, Array], tuple[Array, Array]]
"""`Kernel.backward` of one window: takes `grads`, `dh` and `dstate`."""


class AnyKernel(Protocol):
    """A kernel, whatever its tape."""

    def prepare(
        self, params: Params, a: Array, states: Array, workspace: Workspace, scratch: Scratch
    ) -> tuple[object, Callable[[int], None]]:
        """See `Kernel.prepare`."""

    def run(
        self, params: Params, a: Array, state: Array, workspace: Workspace
    ) -> tuple[Array, Array, KernelBackward]:
        """See `Kernel.run`."""


class Kernel(ABC, Generic[Tape]):
    """The recurrence of one kind of cell, forward over a window and backward through it."""

    @abstractmethod
    def prepare(
        self, params: Params, a: Array, states: Array, workspace: Workspace, scratch: Scratch
    ) -> tuple[Tape, Callable[[int], None]]:
        """Make ready for a window.

        Parameters
        ----------
        params
            The parameters of one layer by their short names.
        a
            `x Wx + b`, `[G, T, B, H]`; may be overwritten.
        states
            `[S, T+1, B, H]`: the state before the window, and room for that after each step.
        workspace, scratch
            Where the arrays of the window are, and those that only its steps need.

        Returns
        -------
        tape
            What `backward` needs.
        step
            Does step `t` of the window: computes `states[:, t + 1]` from `states[:, t]`.
        """

    def forward(
        self, params: Params, a: Array, state: Array, workspace: Workspace
    ) -> tuple[Array, Array, Tape]:
        """Run the recurrence over a window.

        `state [S, B, H]` is that before the window, and only read. Returns `h [T, B, H]`, the state
        after the window `[S, B, H]` (views into the workspace), and the tape.
        """
        _, T, B, H = a.shape
        states = workspace.array("states", (len(state), T + 1, B, H), a.dtype)
        states[:, 0] = state
        # the exponential of a gate may overflow: see `sigmoid_by_exp_into`
        with workspace.scratch() as scratch, np.errstate(over="ignore"):
            tape, step = self.prepare(params, a, states, workspace, scratch)
            for t in range(T):
                step(t)
        return states[0, 1:], states[:, -1], tape

    def run(
        self, params: Params, a: Array, state: Array, workspace: Workspace
    ) -> tuple[Array, Array, KernelBackward]:
        """`forward`, and the `backward` that belongs to it."""
        h, after, tape = self.forward(params, a, state, workspace)

        def backward(grads: Params, dh: Array, dstate: Array) -> tuple[Array, Array]:
            return self.backward(params, grads, tape, dh, dstate, workspace)

        return h, after, backward

    @abstractmethod
    def backward(
        self, params: Params, grads: Params, tape: Tape, dh: Array, dstate: Array, workspace: Workspace
    ) -> tuple[Array, Array]:
        """Run back through the window of `tape`.

        Overwrites `grads` of the recurrent parameters; those of `Wx` and `b` are the caller's to
        compute, from what is returned.

        Parameters
        ----------
        dh
            Gradient with respect to `h`, `[T, B, H]`; only read.
        dstate
            Gradient with respect to the state after the window, `[S, B, H]`, beyond what `dh`
            holds; only read.

        Returns
        -------
        da
            Gradient with respect to `a`, `[G, T, B, H]`, in the memory of `a`.
        dstate
            Gradient with respect to the state before the window, `[S, B, H]`.
        """


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
"""Numbers in a block of steps: in float32 a fraction of the second-level cache. Counted in numbers,
not bytes, so that a check in float64 runs through the blocks of training."""


def blocks(T: int, step: int) -> Iterator[slice]:
    """The steps `0 … T-1`, of `step` numbers each, in blocks of about `_BLOCK`, from the last to the first.

    Elementwise work of a backward pass that does not recur is done a block at a time: in fewer
    and larger operations than step by step, and while the block is in the cache.
    """
    size = block_steps(T, step)
    for stop in range(T, 0, -size):
        yield slice(max(0, stop - size), stop)


def block_steps(T: int, step: int) -> int:
    """Steps of the longest block."""
    return min(T, max(1, _BLOCK // step))
