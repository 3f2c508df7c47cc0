"""The network: a stack of layers that turns characters into logits, and gradients back.

::

    x [T, B] ids -> layers.0 -> dropout.0 -> layers.1 -> … -> output -> logits [T, B, V]

Parameters are called `layers.L.NAME` and `output.NAME`. Letters: `T` time steps, `B` streams
(batch), `V` vocabulary, `H` hidden units, `L` recurrent layers, `S` states of a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids, Shape, Signal
from charlm.nn.cells.cell import Cell
from charlm.nn.layers.dropout import Dropout
from charlm.nn.layers.layer import Layer, Noise, Step
from charlm.nn.layers.linear import Linear
from charlm.nn.layers.recurrent import Recurrent
from charlm.nn.parameters import Parameters
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace

OUTPUT = "output"
"""Name of the layer that makes the logits, the last of the stack."""

STATELESS: Array = np.empty(0)
"""The state of a layer that has none."""


class ModelPass:
    """A window of the network.

    Attributes
    ----------
    logits
        `[T, B, V]`, in the workspace.
    state
        State after the window, `[L, S, B, H]`, not in the workspace.
    layers
        The pass of each layer by its name, from the bottom.
    """

    def __init__(self, logits: Array, state: Array, layers: dict[str, Pass]) -> None:
        self.logits, self.state, self.layers = logits, state, layers

    def backward(
        self,
        grads: Parameters,
        dlogits: Array,
        dstate: Array | None = None,
    ) -> Array:
        """Run the window backward, which uses it up; `grads` are overwritten.

        Parameters
        ----------
        dlogits
            Gradient with respect to the logits, `[T, B, V]`; may be overwritten.
        dstate
            Gradient with respect to the state after the window, `[L, S, B, H]`; None is zero, as in
            truncated backpropagation through time.

        Returns
        -------
        dstate
            Gradient with respect to the state before the window, `[L, S, B, H]`.
        """
        dafter = np.zeros(self.state.shape, dlogits.dtype) if dstate is None else dstate
        dbefore = np.empty_like(dafter)
        dsignal, depth = dlogits, len(self.state)
        for name, layer in reversed(self.layers.items()):
            own = grads.under(name)
            if not layer.state.size:
                dsignal, _ = layer.backward(own, dsignal, STATELESS)
                continue
            depth -= 1
            dsignal, dbefore[depth] = layer.backward(own, dsignal, dafter[depth])
        return dbefore


@dataclass(frozen=True)
class Model:
    """The shape of a network and the mathematics on it; parameters, state and noise are arguments.

    Attributes
    ----------
    cell
        The recurrence of every recurrent layer.
    vocab, hidden, layers
        V, H and L.
    dropout
        Share of hidden units dropped after each recurrent layer.
    dropout_mask
        `window` or `step`; see `Dropout`.
    kernel
        `fused` or `textbook`; see `make_kernel`.
    weight_drop
        Share of recurrent weights dropped; see `Recurrent`.
    """

    cell: Cell
    vocab: int
    hidden: int
    layers: int
    dropout: float = 0.0
    dropout_mask: str = "window"
    kernel: str = "fused"
    weight_drop: float = 0.0

    @cached_property
    def stack(self) -> tuple[tuple[str, Layer], ...]:
        """The layers from the bottom, with their names."""
        H = self.hidden
        stack: list[tuple[str, Layer]] = []
        for depth in range(self.layers):
            lowest = depth == 0
            inputs = self.vocab if lowest else H
            layer = Recurrent(self.cell, self.kernel, inputs, H, lowest, self.weight_drop)
            stack.append((f"layers.{depth}", layer))
            stack.append((f"dropout.{depth}", Dropout(H, self.dropout, self.dropout_mask)))
        return (*stack, (OUTPUT, Linear(H, self.vocab)))

    def shapes(self) -> dict[str, Shape]:
        """Shape of every parameter by name, in the order of the flat buffer."""
        return {
            f"{name}.{short}": shape for name, layer in self.stack for short, shape in layer.shapes().items()
        }

    def initialise(
        self, rng: np.random.Generator, init: str, dtype: npt.DTypeLike = np.float32
    ) -> Parameters:
        """Fresh parameters; `init` is `orthogonal` or `uniform` (see `Cell.initialise`)."""
        params = Parameters(self.shapes(), dtype)
        for name, layer in self.stack:
            layer.initialise(params.under(name), rng, init)
        return params

    def zero_state(self, B: int, dtype: npt.DTypeLike = np.float32) -> Array:
        """The state of `B` streams that begin, `[L, S, B, H]`."""
        return np.zeros((self.layers, len(self.cell.states), B, self.hidden), dtype)

    def noise(self, T: int, B: int) -> dict[str, Noise]:
        """The masks of a window in training, by `LAYER.NAME`."""
        return {
            f"{name}.{short}": noise
            for name, layer in self.stack
            for short, noise in layer.noise(T, B).items()
        }

    def forward(
        self,
        params: Parameters,
        x: Ids,
        state: Array,
        workspace: Workspace,
        masks: Mapping[str, Array] | None = None,
    ) -> ModelPass:
        """Run a window of `B` streams.

        Parameters
        ----------
        x
            Ids `[T, B]`.
        state
            State before the window, `[L, S, B, H]`; only read.
        masks
            What `noise` asks for, drawn; without it nothing is dropped, as in evaluation.
        """
        workspace.begin()
        layers: dict[str, Pass] = {}
        signal: Signal = x
        depth = 0
        after = np.empty_like(state)
        for name, layer in self.stack:
            own = _under(name, masks or {})
            before = state[depth] if layer.states else STATELESS
            layers[name] = layer.forward(params.under(name), signal, before, own, workspace.within(name))
            signal = layers[name].output
            if layer.states:
                after[depth] = layers[name].state
                depth += 1
        return ModelPass(signal, after, layers)

    def decoder(self, params: Parameters, state: Array) -> Callable[[int], Array]:
        """The network one character at a time, for generating.

        Returns a function that takes the id of a character and gives the logits `[V]` after it,
        valid until the next one. `state [L, S, 1, H]` is that before the first, and only read.
        Views and buffers are made once, here: for a single character the calls take as long as
        the arithmetic.
        """
        steps: list[Step] = []
        depth = 0
        for name, layer in self.stack:
            steps.append(layer.stepper(params.under(name), state[depth] if layer.states else STATELESS))
            depth += bool(layer.states)
        first, *others = steps

        def step(character: int) -> Array:
            signal = first(character)
            for other in others:
                signal = other(signal)
            logits: Array = signal[0]
            return logits

        # the exponential of a gate may overflow: see `sigmoid_by_exp_into`
        return np.errstate(over="ignore")(step) if len(self.cell.gates) > 1 else step


def _under(prefix: str, named: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays called `prefix.…`, by the rest of their names."""
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in named.items() if name.startswith(start)}
