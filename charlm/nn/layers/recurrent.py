"""A recurrent layer: a cell, the kernel that runs it, and weight drop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from charlm.arrays import Array, Shape, Signal
from charlm.nn.cells.cell import Cell
from charlm.nn.kernels import make_kernel
from charlm.nn.layers.layer import Layer, Masks, Noise, Step
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace


class RecurrentPass(Pass):
    """A window of a recurrent layer.

    Attributes
    ----------
    window
        The pass of the kernel.
    masks
        Masks of the recurrent matrices; empty if nothing was dropped.
    """

    def __init__(self, window: Pass, masks: Masks) -> None:
        self.window, self.masks = window, masks
        self.output, self.state = window.output, window.state

    @property
    def values(self) -> Mapping[str, Array]:
        """See `Pass.values`."""
        return self.window.values

    def backward(self, grads: Params, doutput: Array, dstate: Array) -> tuple[Array, Array]:
        """See `Pass.backward`."""
        dx, dstate_before = self.window.backward(grads, doutput, dstate)
        for name, mask in self.masks.items():
            # forward: W' = mask * Wh
            np.multiply(grads[name], mask, grads[name])
        return dx, dstate_before


class Recurrent(Layer):
    """A cell along a window.

    With weight drop (Merity et al. 2018, after Wan et al. 2013), the recurrence of a window in
    training runs with

    ::

        W' = mask * Wh       so that       dWh = mask * dW'

    in place of the recurrent matrices `Wh [G, H, H]`: one mask for all steps and streams.
    """

    def __init__(
        self, cell: Cell, kernel: str, inputs: int, hidden: int, one_hot: bool, weight_drop: float = 0.0
    ) -> None:
        """`one_hot`: the input is ids below `inputs`, else rows of `inputs` numbers.

        `kernel` is `fused` or `textbook`; `weight_drop` is the chance that a recurrent weight is dropped.
        """
        self.cell, self.inputs, self.hidden, self.one_hot = cell, inputs, hidden, one_hot
        self.weight_drop, self.states = weight_drop, cell.states
        self.kernel = make_kernel(cell, kernel, inputs, hidden, one_hot)

    def shapes(self) -> dict[str, Shape]:
        """Shapes of the parameters of the cell."""
        return self.cell.shapes(self.inputs, self.hidden)

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """See `Layer.initialise`; `Wx` is uniform within ±1/√H, or ±1 where the input is one-hot.

        The bound 1/√H suits a sum over many inputs. A one-hot input is a sum over one. With a smaller
        bound the gates hardly react to the text at first, and for hundreds of updates the loss stays
        where the frequencies of characters leave it.
        """
        bound = 1.0 if self.one_hot else self.hidden**-0.5
        params["Wx"][...] = rng.uniform(-bound, bound, params["Wx"].shape)
        self.cell.initialise(params, rng, init)

    def noise(self, T: int, B: int) -> dict[str, Noise]:
        """See `Layer.noise`; all streams share the mask of the weights."""
        if not self.weight_drop:
            return {}
        return {"Wh": Noise(self.shapes()["Wh"], self.weight_drop, streams=None)}

    def forward(
        self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace
    ) -> RecurrentPass:
        """See `Layer.forward`."""
        # W' = mask * Wh
        dropped = {
            name: np.multiply(params[name], mask, workspace.array(name, mask.shape, mask.dtype))
            for name, mask in masks.items()
        }
        return RecurrentPass(self.kernel.forward({**params, **dropped}, x, state, workspace), masks)

    def stepper(self, params: Params, state: Array) -> Step:
        """See `Layer.stepper`."""
        return self.kernel.stepper(params, state)
