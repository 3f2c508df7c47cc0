"""A linear layer, or one for each gate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array, Shape, Signal
from charlm.nn.layers.layer import Masks, Projection, Step
from charlm.nn.matmul import column_sums, side_by_side
from charlm.nn.parameters import Params
from charlm.nn.workspace import Workspace


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    x: Array
    """`[T, B, I]`."""


class Linear(Projection[Tape]):
    """`y = x W + b`; with gates `y[g] = x W[g] + b[g]`.

    `W [I, O]` and `b [O]` make `y [T, B, O]`; with gates `W [G, I, O]` and `b [G, O]` make
    `y [G, T, B, O]`.
    """

    def __init__(self, inputs: int, outputs: int, gates: int | None = None, weight: str = "W") -> None:
        """`weight` is the name of W among the parameters."""
        self.inputs, self.outputs, self.weight = inputs, outputs, weight
        self._leading: Shape = () if gates is None else (gates,)

    def shapes(self) -> dict[str, Shape]:
        """See `Layer.shapes`."""
        return {
            self.weight: (*self._leading, self.inputs, self.outputs),
            "b": (*self._leading, self.outputs),
        }

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """W is uniform within ±1/√O where it feeds gates, else within ±1/√I; b is zero."""
        W = params[self.weight]
        bound = (self.outputs if self._leading else self.inputs) ** -0.5
        W[...] = rng.uniform(-bound, bound, W.shape)

    def forward(
        self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace
    ) -> tuple[Array, Array, Tape]:
        """See `Layer.forward`."""
        W, b = self._by_gate(params)
        y = workspace.array("y", (*self._leading, *x.shape[:-1], self.outputs), x.dtype)
        rows = x.reshape(-1, self.inputs)
        # y = x W + b
        for W_g, b_g, y_g in zip(W, b, y.reshape(len(W), -1, self.outputs), strict=True):
            np.matmul(rows, W_g, y_g)
            np.add(y_g, b_g, y_g)
        return y, state, Tape(x)

    def backward(
        self,
        params: Params,
        grads: Params,
        tape: Tape,
        dy: Array,
        dstate: Array,
        workspace: Workspace,
        out: Array | None = None,
    ) -> tuple[Array, Array]:
        """See `Projection.backward`."""
        (W, _), (dW, db) = self._by_gate(params), self._by_gate(grads)
        dx = out
        if dx is None or dx.shape != tape.x.shape:
            dx = workspace.array("dx", tape.x.shape, dy.dtype)
        rows, dx_rows = tape.x.reshape(-1, self.inputs), dx.reshape(-1, self.inputs)
        with workspace.scratch() as scratch:
            for g, dy_g in enumerate(dy.reshape(len(W), -1, self.outputs)):
                # forward was y = x W + b
                np.matmul(rows.T, dy_g, dW[g])
                column_sums(dy_g, db[g])
                if g == 0:
                    np.matmul(dy_g, W[g].T, dx_rows)
                    summand = scratch.array("rows", dx_rows.shape, dy.dtype) if len(W) > 1 else dx_rows
                else:
                    np.matmul(dy_g, W[g].T, summand)
                    np.add(dx_rows, summand, dx_rows)
        return dx, dstate

    def stepper(self, params: Params, state: Array, out: Array | None = None) -> Step:
        """See `Projection.stepper`."""
        W, b = params[self.weight], params["b"][..., None, :]
        y = np.empty((*self._leading, 1, self.outputs), W.dtype) if out is None else out
        if self._leading:
            W = side_by_side(W)  # one product for all gates
        products = y.reshape(1, -1)

        def step(x: Signal | int) -> Array:
            np.matmul(x, W, products)
            return np.add(y, b, y)

        return step

    def _by_gate(self, params: Params) -> tuple[Array, Array]:
        """W `[G, I, O]` and b `[G, O]`; one gate where there are none."""
        W, b = params[self.weight], params["b"]
        return W.reshape(-1, self.inputs, self.outputs), b.reshape(-1, self.outputs)
