"""A pass: one window of a kernel, a layer or the network that has run forward, and can run backward.

Letters: `T` time steps, `B` streams (batch), `S` states of a cell, `H` hidden units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from charlm.arrays import Array, Signal
from charlm.nn.parameters import Params


class Pass(ABC):
    """A window after its forward pass, with everything that its backward pass needs.

    It is valid until the next window in the same workspace, and `backward` uses it up.
    """

    output: Signal
    """`[T, B, O]`, usually in the workspace."""
    state: Array
    """State after the window, `[S, B, H]`; empty where nothing is carried."""

    @property
    def values(self) -> Mapping[str, Array]:
        """Gates and states of a recurrent layer by the names of the cell, `[T, B, H]` each.

        `backward` overwrites them.
        """
        return {}

    @abstractmethod
    def backward(self, grads: Params, doutput: Array, dstate: Array) -> tuple[Array, Array]:
        """Run the window backward, and overwrite `grads`.

        Parameters
        ----------
        grads
            Gradients of the parameters, by the names that the forward pass used.
        doutput
            Gradient with respect to `output`; may be overwritten.
        dstate
            Gradient with respect to `state`, beyond what `doutput` holds; only read.

        Returns
        -------
        dinput
            Gradient with respect to the input of the window; meaningless if the input was ids.
        dstate
            Gradient with respect to the state before the window, `[S, B, H]`.
        """
