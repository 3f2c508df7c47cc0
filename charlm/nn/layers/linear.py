"""A linear layer, or one for each gate."""

from __future__ import annotations

import numpy as np

from charlm.arrays import Array, Shape, Signal
from charlm.nn.layers.layer import Layer, Masks, Step
from charlm.nn.matmul import column_sums, side_by_side
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace


class LinearPass(Pass):
    """A window of a linear layer.

    Attributes
    ----------
    x
        Its input, `[T, B, I]`.
    W
        Its matrices, `[G, I, O]`.
    """

    def __init__(
        self, layer: Linear, W: Array, x: Signal, y: Array, state: Array, workspace: Workspace
    ) -> None:
        self.layer, self.W, self.x, self.output, self.state = layer, W, x, y, state
        self.workspace = workspace

    def backward(
        self, grads: Params, doutput: Array, dstate: Array, out: Array | None = None
    ) -> tuple[Array, Array]:
        """See `Pass.backward`; `out` is memory for the gradient with respect to `x`, if it fits."""
        x, W, (dW, db) = self.x, self.W, self.layer.by_gate(grads)
        G, inputs, outputs = W.shape
        dx = out
        if dx is None or dx.shape != x.shape:
            dx = self.workspace.array("dx", x.shape, doutput.dtype)
        rows, dx_rows = x.reshape(-1, inputs), dx.reshape(-1, inputs)
        with self.workspace.scratch() as scratch:
            for g, dy_g in enumerate(doutput.reshape(G, -1, outputs)):
                # forward: y = x W + b
                np.matmul(rows.T, dy_g, dW[g])
                column_sums(dy_g, db[g])
                if g == 0:
                    np.matmul(dy_g, W[g].T, dx_rows)
                    summand = scratch.array("rows", dx_rows.shape, doutput.dtype) if G > 1 else dx_rows
                else:
                    np.matmul(dy_g, W[g].T, summand)
                    np.add(dx_rows, summand, dx_rows)
        return dx, dstate


class Linear(Layer):
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
        """W is uniform within ±1/√I; b is zero."""
        W = params[self.weight]
        W[...] = rng.uniform(-(self.inputs**-0.5), self.inputs**-0.5, W.shape)

    def forward(
        self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace
    ) -> LinearPass:
        """See `Layer.forward`."""
        W, b = self.by_gate(params)
        y = workspace.array("y", (*self._leading, *x.shape[:-1], self.outputs), x.dtype)
        rows = x.reshape(-1, self.inputs)
        # y = x W + b
        for W_g, b_g, y_g in zip(W, b, y.reshape(len(W), -1, self.outputs), strict=True):
            np.matmul(rows, W_g, y_g)
            np.add(y_g, b_g, y_g)
        return LinearPass(self, W, x, y, state, workspace)

    def stepper(self, params: Params, state: Array, out: Array | None = None) -> Step:
        """See `Layer.stepper`; `out` is memory for the output."""
        W, b = params[self.weight], params["b"][..., None, :]
        y = np.empty((*self._leading, 1, self.outputs), W.dtype) if out is None else out
        if self._leading:
            W = side_by_side(W)  # one product for all gates
        products = y.reshape(1, -1)

        def step(x: Signal | int) -> Array:
            np.matmul(x, W, products)
            return np.add(y, b, y)

        return step

    def by_gate(self, params: Params) -> tuple[Array, Array]:
        """W `[G, I, O]` and b `[G, O]` among the parameters, or among gradients; G is 1 without gates."""
        W, b = params[self.weight], params["b"]
        return W.reshape(-1, self.inputs, self.outputs), b.reshape(-1, self.outputs)
