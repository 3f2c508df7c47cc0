"""Dropout between layers."""

from __future__ import annotations

import numpy as np

from charlm.arrays import Array, Signal
from charlm.nn.layers.layer import Layer, Masks, Noise, Step
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace


class DropoutPass(Pass):
    """A window of dropout.

    Attributes
    ----------
    mask
        `[1, B, H]` or `[T, B, H]`; None if nothing was dropped.
    """

    def __init__(self, output: Signal, state: Array, mask: Array | None) -> None:
        self.output, self.state, self.mask = output, state, mask

    def backward(self, grads: Params, doutput: Array, dstate: Array) -> tuple[Array, Array]:
        """See `Pass.backward`."""
        # forward: y = mask * x
        return doutput if self.mask is None else np.multiply(doutput, self.mask, doutput), dstate


class Dropout(Layer):
    """`y = mask * x` in training, `y = x` otherwise (Srivastava et al. 2014).

    `window`: one mask for all steps of a window, for each stream (Gal & Ghahramani 2016).
    `step`: a fresh mask for each step (Zaremba et al. 2014).
    """

    def __init__(self, width: int, rate: float, mask: str) -> None:
        """`width` is H; `rate` the chance that a unit is dropped; `mask` is `window` or `step`."""
        self.width, self.rate, self.mask = width, rate, mask

    def noise(self, T: int, B: int) -> dict[str, Noise]:
        """See `Layer.noise`; each stream has its own masks."""
        if not self.rate:
            return {}
        return {"mask": Noise((1 if self.mask == "window" else T, B, self.width), self.rate, streams=1)}

    def forward(
        self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace
    ) -> DropoutPass:
        """See `Layer.forward`."""
        mask = masks.get("mask")
        # y = mask * x
        y = x if mask is None else np.multiply(x, mask, workspace.array("y", x.shape, x.dtype))
        return DropoutPass(y, state, mask)

    def stepper(self, params: Params, state: Array) -> Step:
        """See `Layer.stepper`; nothing is dropped outside training."""
        return np.asarray
