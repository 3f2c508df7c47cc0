"""Any cell, step by step as its equations are written: backpropagation through time, plainly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from charlm.arrays import Array
from charlm.nn.cells.cell import Cell, Saved
from charlm.nn.kernels.kernel import Kernel
from charlm.nn.parameters import Params
from charlm.nn.workspace import Scratch, Workspace


@dataclass(frozen=True)
class Steps:
    """What backward needs of a window."""

    a: Array
    """`[G, T, B, H]`; backward writes its gradient here."""
    saved: dict[int, Saved] = field(default_factory=dict)
    """What the cell saved of each step."""


class Textbook(Kernel[Steps]):
    """The recurrence of a cell through its own `step` and `step_backward`."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def prepare(
        self, params: Params, a: Array, states: Array, workspace: Workspace, scratch: Scratch
    ) -> tuple[Steps, Callable[[int], None]]:
        """See `Kernel.prepare`."""
        tape = Steps(a)

        def step(t: int) -> None:
            after, tape.saved[t] = self.cell.step(params, a[:, t], tuple(states[:, t]))
            for array, value in zip(states[:, t + 1], after, strict=True):
                array[...] = value

        return tape, step

    def backward(
        self, params: Params, grads: Params, tape: Steps, dh: Array, dstate: Array, workspace: Workspace
    ) -> tuple[Array, Array]:
        """See `Kernel.backward`."""
        for name in self.cell.shapes(dh.shape[-1]):
            grads[name][...] = 0.0
        back = tuple(dstate)
        for t in reversed(range(len(dh))):
            # h_t is the output of the step and a part of the state after it
            back = (back[0] + dh[t], *back[1:])
            tape.a[:, t], back = self.cell.step_backward(params, grads, tape.saved[t], back)
        return tape.a, np.stack(back)
