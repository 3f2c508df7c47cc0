"""A linear layer, and the products that it is made of."""

import numpy as np

from charlm.arrays import Array, Shape, Signal
from charlm.nn.layers.layer import Layer, Masks, Step
from charlm.nn.matmul import column_sums
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace


def linear(x: Array, W: Array, b: Array, y: Array) -> None:
    """`y[g] = x W[g] + b[g]`, with `x [N, I]`, `W [G, I, O]`, `b [G, O]` and `y [G, N, O]`."""
    for W_g, b_g, y_g in zip(W, b, y, strict=True):
        np.matmul(x, W_g, y_g)
        np.add(y_g, b_g, y_g)


def linear_backward(x: Array, W: Array, dy: Array, dW: Array, db: Array, dx: Array, summand: Array) -> None:
    """`dW[g] = xᵀ dy[g]`, `db[g] = Σ dy[g]`, `dx = Σ_g dy[g] W[g]ᵀ`: all three are overwritten.

    `summand [N, I]` is memory for the terms of `dx` after the first; of one gate there are none.
    """
    for g, dy_g in enumerate(dy):
        np.matmul(x.T, dy_g, dW[g])
        column_sums(dy_g, db[g])
        if g == 0:
            np.matmul(dy_g, W[g].T, dx)
        else:
            np.matmul(dy_g, W[g].T, summand)
            np.add(dx, summand, dx)


class Linear(Layer):
    """`y = x W + b`, with `W [I, O]` and `b [O]`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.inputs, self.outputs = inputs, outputs

    def shapes(self) -> dict[str, Shape]:
        return {"W": (self.inputs, self.outputs), "b": (self.outputs,)}

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """W is uniform within ±1/√I; b is zero."""
        W, bound = params["W"], self.inputs**-0.5
        W[...] = rng.uniform(-bound, bound, W.shape)

    def forward(self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace) -> Pass:
        W, b = params["W"][None], params["b"][None]  # of one gate
        y = workspace.array("y", (*x.shape[:-1], self.outputs), x.dtype)
        rows = x.reshape(-1, self.inputs)
        linear(rows, W, b, y.reshape(1, -1, self.outputs))

        def backward(grads: Params, dy: Array, dstate: Array) -> tuple[Array, Array]:
            dx = workspace.array("dx", rows.shape, dy.dtype)
            dW, db = grads["W"][None], grads["b"][None]
            linear_backward(rows, W, dy.reshape(1, -1, self.outputs), dW, db, dx, dx)
            return dx.reshape(x.shape), dstate

        return Pass(y, state, backward)

    def stepper(self, params: Params, state: Array) -> Step:
        W, b = params["W"], params["b"][None]
        y = np.empty((1, self.outputs), W.dtype)

        def step(x: Signal | int) -> Array:
            np.matmul(x, W, y)
            return np.add(y, b, y)

        return step
