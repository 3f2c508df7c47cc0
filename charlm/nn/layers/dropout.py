"""Dropout between layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array, Signal
from charlm.nn.layers.layer import Layer, Masks, Noise, Step
from charlm.nn.parameters import Params
from charlm.nn.workspace import Workspace


@dataclass(frozen=True)
class Tape:
    """What backward needs of a window."""

    mask: Array | None
    """`[1, B, H]` or `[T, B, H]`; None if nothing was dropped."""


class Dropout(Layer[Tape]):
    """`y = mask * x` in training, `y = x` otherwise (Srivastava et al. 2014).

    `window`: one mask for all steps of a window, for each stream (Gal & Ghahramani 2016).
    `step`: a fresh mask for each step (Zaremba et al. 2014).
    """

    def __init__(self, width: int, rate: float, mask: str) -> None:
        """`width` is H; `rate` the chance that a unit is dropped; `mask` is `window` or `step`."""
        self.width, self.rate, self.mask = width, rate, mask

    def noise(self, T: int, B: int) -> dict[str, Noise]:
        """See `Layer.noise`; each stream has masks of its own."""
        if not self.rate:
            return {}
        return {"mask": Noise((1 if self.mask == "window" else T, B, self.width), self.rate, streams=1)}

    def forward(
        self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace
    ) -> tuple[Signal, Array, Tape]:
        """See `Layer.forward`."""
        mask = masks.get("mask")
        if mask is None:
            return x, state, Tape(None)
        # y = mask * x
        return np.multiply(x, mask, workspace.array("y", x.shape, x.dtype)), state, Tape(mask)

    def backward(
        self, params: Params, grads: Params, tape: Tape, dy: Array, dstate: Array, workspace: Workspace
    ) -> tuple[Array, Array]:
        """See `Layer.backward`."""
        # forward was y = mask * x
        return dy if tape.mask is None else np.multiply(dy, tape.mask, dy), dstate

    def stepper(self, params: Params, state: Array) -> Step:
        """See `Layer.stepper`; nothing is dropped outside training."""

        def step(x: Signal | int) -> Array:
            return np.asarray(x)

        return step
