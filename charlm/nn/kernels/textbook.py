"""Any cell, step by step as its equations are written: backpropagation through time, plainly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from charlm.arrays import Array, Signal
from charlm.nn.cells.cell import States
from charlm.nn.layers.layer import Step
from charlm.nn.layers.recurrent import Recurrent
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace


class Textbook(Recurrent):
    """A cell through its own `step` and `step_backward`; ids are read as one-hot rows."""

    def run(self, params: Params, x: Signal, state: Array, workspace: Workspace) -> Pass:
        """See `Recurrent.run`."""
        cell = self.cell
        if self.one_hot:
            x = np.eye(self.inputs, dtype=state.dtype)[x]  # [T, B, V]
        states, saved = [tuple(state)], []
        for x_t in x:
            after, saved_t = cell.step(params, x_t, states[-1])
            states.append(after)
            saved.append(saved_t)
        dstates: list[States] = []  # with respect to the state after each step, the last step first

        def backward(grads: Params, doutput: Array, dstate: Array) -> tuple[Array, Array]:
            for name in params:
                grads[name][...] = 0.0
            dx: list[Array] = []
            dstep = tuple(dstate)
            for t in reversed(range(len(x))):
                # h_t is the output of the step and a part of the state after it: its gradients add
                dstep = (dstep[0] + doutput[t], *dstep[1:])
                dstates.append(dstep)
                dx_t, dstep = cell.step_backward(params, grads, saved[t], dstep)
                if not self.one_hot:
                    dx.append(dx_t)
            return np.array(dx[::-1]), np.stack(dstep)

        def values() -> Mapping[str, Array]:
            steps = []
            for t, saved_t in enumerate(saved):
                fields = getattr(saved_t, "_fields", ())
                named = {gate: getattr(saved_t, gate) for gate in cell.gates if gate in fields}
                named |= dict(zip(cell.states, states[t + 1], strict=True))
                if dstates:
                    arriving = cell.arriving(saved_t, dstates[-1 - t])
                    named |= {f"d{name}": array for name, array in zip(cell.states, arriving, strict=True)}
                steps.append(named)
            return {name: np.stack([step[name] for step in steps]) for name in steps[0]}

        return Pass(np.stack([after[0] for after in states[1:]]), np.stack(states[-1]), backward, values)

    def stepper(self, params: Params, state: Array) -> Step:
        """See `Layer.stepper`."""
        current: States = tuple(state)
        rows = np.eye(self.inputs, dtype=state.dtype) if self.one_hot else None

        def step(x: Signal | int) -> Array:
            nonlocal current
            # a row, or an id that selects a row of the identity
            row = np.asarray(x) if rows is None else rows[x][None]
            current, _ = self.cell.step(params, row, current)
            return current[0]

        return step
