"""Dropout between layers."""

import numpy as np

from charlm.arrays import Array, Signal
from charlm.nn.layers.layer import Layer, Masks, Noise, Step
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace


class Dropout(Layer):
    """`y = mask * x` in training, `y = x` otherwise (Srivastava et al. 2014).

    `window`: one mask for all steps of a window, for each stream (Gal & Ghahramani 2016).
    `step`: a fresh mask for each step (Zaremba et al. 2014).
    """

    def __init__(self, width: int, rate: float, mask: str) -> None:
        """`width` is H; `rate` the chance that a unit is dropped; `mask` is `window` or `step`."""
        self.width, self.rate, self.mask = width, rate, mask

    def noise(self, T: int, B: int) -> dict[str, Noise]:
        """Each stream has its own masks."""
        if not self.rate:
            return {}
        return {"mask": Noise((1 if self.mask == "window" else T, B, self.width), self.rate, streams=1)}

    def forward(self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace) -> Pass:
        """Without a mask the input passes through, and its gradient too."""
        mask = masks.get("mask")
        y = x if mask is None else np.multiply(x, mask, workspace.array("y", x.shape, x.dtype))

        def backward(grads: Params, dy: Array, dstate: Array) -> tuple[Array, Array]:
            return dy if mask is None else np.multiply(dy, mask, dy), dstate

        return Pass(y, state, backward)

    def stepper(self, params: Params, state: Array) -> Step:
        """Nothing is dropped outside training."""
        return np.asarray
