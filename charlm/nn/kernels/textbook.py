"""Any cell, step by step as its equations are written: backpropagation through time, plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from charlm.arrays import Array, Signal
from charlm.nn.cells.cell import Cell, Saved, States
from charlm.nn.kernels.kernel import Kernel
from charlm.nn.layers.layer import Step
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace


class TextbookPass(Pass):
    """A window that ran through the cell's own `step`.

    Attributes
    ----------
    states
        The state before the window, then the state after each step, `T + 1` of them.
    saved
        What the cell saved of each step.
    reads_ids
        Whether the input is ids, which have no gradient.
    """

    def __init__(
        self, cell: Cell, params: Params, states: Sequence[States], saved: Sequence[Saved], reads_ids: bool
    ) -> None:
        self.cell, self.params, self.states, self.saved = cell, params, states, saved
        self.reads_ids = reads_ids
        self.output = np.stack([after[0] for after in states[1:]])
        self.state = np.stack(states[-1])

    @property
    def values(self) -> Mapping[str, Array]:
        """See `Pass.values`; of the gates those that the cell saves under their names."""
        named = [gate for gate in self.cell.gates if gate in getattr(self.saved[0], "_fields", ())]
        gates = {gate: np.stack([getattr(saved, gate) for saved in self.saved]) for gate in named}
        return gates | {
            name: np.stack([after[number] for after in self.states[1:]])
            for number, name in enumerate(self.cell.states)
        }

    def backward(self, grads: Params, doutput: Array, dstate: Array) -> tuple[Array, Array]:
        """See `Pass.backward`."""
        for name in self.params:
            grads[name][...] = 0.0
        dx: list[Array] = []
        dstep = tuple(dstate)
        for t in reversed(range(len(doutput))):
            # h_t is the output of the step and a part of the state after it: its gradients add
            dstep = (dstep[0] + doutput[t], *dstep[1:])
            dx_t, dstep = self.cell.step_backward(self.params, grads, self.saved[t], dstep)
            if not self.reads_ids:
                dx.append(dx_t)
        return np.array(dx[::-1]), np.stack(dstep)


class Textbook(Kernel):
    """A cell through its own `step` and `step_backward`; ids are read as one-hot rows."""

    def __init__(self, cell: Cell, vocab: int | None) -> None:
        """`vocab` is V if the input is ids, else None."""
        self.cell, self.vocab = cell, vocab

    def forward(self, params: Params, x: Signal, state: Array, workspace: Workspace) -> TextbookPass:
        """See `Kernel.forward`."""
        if self.vocab is not None:
            x = np.eye(self.vocab, dtype=state.dtype)[x]  # [T, B, V]
        states, saved = [tuple(state)], []
        for x_t in x:
            after, saved_t = self.cell.step(params, x_t, states[-1])
            states.append(after)
            saved.append(saved_t)
        return TextbookPass(self.cell, params, states, saved, self.vocab is not None)

    def stepper(self, params: Params, state: Array) -> Step:
        """See `Layer.stepper`."""
        current: States = tuple(state)
        rows = None if self.vocab is None else np.eye(self.vocab, dtype=state.dtype)

        def step(x: Signal | int) -> Array:
            nonlocal current
            # a row, or an id that selects a row of the identity
            row = np.asarray(x) if rows is None else rows[x][None]
            current, _ = self.cell.step(params, row, current)
            return current[0]

        return step
