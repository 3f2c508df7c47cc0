"""Any cell, step by step as its equations are written: backpropagation through time, plainly."""

from collections.abc import Mapping, Sequence

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
        cell = self.cell
        if self.one_hot:
            x = np.eye(self.inputs, dtype=state.dtype)[x]  # [T, B, V]
        states, saved = [tuple(state)], []
        for x_t in x:
            after, saved_t = cell.step(params, x_t, states[-1])
            states.append(after)
            saved.append(saved_t)
        arrived: list[States] = []  # gradients with respect to the states, the last step first

        def backward(grads: Params, doutput: Array, dstate: Array) -> tuple[Array, Array]:
            for name in params:
                grads[name][...] = 0.0
            dx: list[Array] = []
            dstep = tuple(dstate)
            for doutput_t in doutput[::-1]:
                saved_t = saved.pop()
                # h_t is the output of the step and a part of the state after it: its gradients add
                dstep = (dstep[0] + doutput_t, *dstep[1:])
                arrived.append(cell.arriving(saved_t, dstep))
                dx_t, dstep = cell.step_backward(params, grads, saved_t, dstep)
                if not self.one_hot:
                    dx.append(dx_t)
            return np.array(dx[::-1]), np.stack(dstep)

        def values() -> Mapping[str, Array]:
            if arrived:
                return _stacked([f"d{name}" for name in cell.states], arrived[::-1])
            gates = [gate for gate in cell.gates if gate in getattr(saved[0], "_fields", ())]
            of_steps = [[getattr(saved_t, gate) for gate in gates] for saved_t in saved]
            return _stacked(gates, of_steps) | _stacked(cell.states, states[1:])

        return Pass(np.stack([after[0] for after in states[1:]]), np.stack(states[-1]), backward, values)

    def stepper(self, params: Params, state: Array) -> Step:
        current: States = tuple(state)
        rows = np.eye(self.inputs, dtype=state.dtype) if self.one_hot else None

        def step(x: Signal | int) -> Array:
            nonlocal current
            # a row, or an id that selects a row of the identity
            row = np.asarray(x) if rows is None else rows[x][None]
            current, _ = self.cell.step(params, row, current)
            return current[0]

        return step


def _stacked(names: Sequence[str], steps: Sequence[Sequence[Array]]) -> dict[str, Array]:
    """The arrays of all steps by name, `[T, B, H]` each; `steps` has one array per name and step."""
    return {name: np.stack(arrays) for name, arrays in zip(names, zip(*steps, strict=True), strict=True)}
