"""A pass: one window of a kernel, a layer or the network that has run forward, and can run backward.

Letters: `T` time steps, `B` streams (batch), `S` states of a cell, `H` hidden units.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array, Signal
from charlm.nn.parameters import Params


@dataclass(frozen=True, eq=False)
class Pass:
    """A window after its forward pass, with everything that its backward pass needs.

    It is valid until the next window in the same workspace, and `backward` uses it up.
    """

    output: Signal
    """`[T, B, O]`, usually in the workspace; of the network the logits, `[T, B, V]`."""
    state: Array
    """State after the window: `[S, B, H]` of a layer, `[L, S, B, H]` of the network."""
    run_backward: Callable[[Params, Array, Array], tuple[Array, Array]]
    """What `backward` does; it stands below the forward pass that it reverses."""
    read_values: Callable[[], Mapping[str, Array]] = dict
    """What `values` gives."""

    @property
    def values(self) -> Mapping[str, Array]:
        """Gates and states by the names of the cell, `[T, B, H]` each; of the network as `layers.0.h`.

        `backward` overwrites them. The textbook kernel then has the gradients that arrived at the
        states, `dh` for `h`.
        """
        return self.read_values()

    def backward(self, grads: Params, doutput: Array, dstate: Array | None = None) -> tuple[Array, Array]:
        """Run the window backward, and overwrite `grads`.

        Parameters
        ----------
        grads
            Gradients of the parameters, by the names that the forward pass used.
        doutput
            Gradient with respect to `output`; may be overwritten.
        dstate
            Gradient with respect to `state`, beyond what `doutput` holds; only read. None is zero, as
            in truncated backpropagation through time.

        Returns
        -------
        dinput
            Gradient with respect to the input of the window; meaningless if the input was ids.
        dstate
            Gradient with respect to the state before the window.
        """
        return self.run_backward(grads, doutput, np.zeros_like(self.state) if dstate is None else dstate)
