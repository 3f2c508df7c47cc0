"""A recurrent layer: a cell along a window, and weight drop."""

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from charlm.arrays import Array, Shape, Signal
from charlm.nn.cells.cell import Cell
from charlm.nn.layers.layer import Layer, Masks, Noise
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace


@dataclass(frozen=True)
class Recurrent(Layer):
    """A cell along a window; a subclass is a kernel, which runs it.

    With weight drop (Merity et al. 2018, after Wan et al. 2013), the recurrence of a window in
    training runs with

    ::

        W' = mask * Wh       so that       dWh = mask * dW'

    in place of the recurrent matrices `Wh [G, H, H]`: one mask for all steps and streams.
    """

    cell: Cell
    inputs: int
    """I; of ids V."""
    hidden: int
    """H."""
    one_hot: bool
    """Whether the input is ids below `inputs`, else rows of `inputs` numbers."""
    weight_drop: float
    """Chance that a recurrent weight is dropped."""

    @property
    def states(self) -> tuple[str, ...]:
        return self.cell.states

    def shapes(self) -> dict[str, Shape]:
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
        """All streams share the mask of the weights."""
        if not self.weight_drop:
            return {}
        return {"Wh": Noise(self.shapes()["Wh"], self.weight_drop, streams=None)}

    def forward(self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace) -> Pass:
        mask = masks.get("Wh")
        if mask is None:
            return self.run(params, x, state, workspace)
        # W' = mask * Wh
        dropped = np.multiply(params["Wh"], mask, workspace.array("Wh", mask.shape, mask.dtype))
        window = self.run({**params, "Wh": dropped}, x, state, workspace)

        def backward(grads: Params, doutput: Array, dstate: Array) -> tuple[Array, Array]:
            before = window.backward(grads, doutput, dstate)
            # forward: W' = mask * Wh
            np.multiply(grads["Wh"], mask, grads["Wh"])
            return before

        return replace(window, run_backward=backward)

    @abstractmethod
    def run(self, params: Params, x: Signal, state: Array, workspace: Workspace) -> Pass:
        """The window with these parameters; see `Layer.forward`."""
