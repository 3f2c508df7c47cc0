"""The network: a stack of layers that turns characters into logits, and gradients back.

::

    x [T, B] ids -> layers.0 -> dropout.0 -> layers.1 -> … -> output -> logits [T, B, V]

Parameters are called `layers.L.NAME` and `output.NAME`. Letters: `T` time steps, `B` streams
(batch), `V` vocabulary, `H` hidden units, `L` recurrent layers, `S` states of a cell.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids, Shape, Signal
from charlm.nn.cells.cell import Cell
from charlm.nn.kernels import make_recurrent
from charlm.nn.layers.dropout import Dropout
from charlm.nn.layers.layer import Layer, Noise
from charlm.nn.layers.linear import Linear
from charlm.nn.parameters import Parameters, Params, under
from charlm.nn.passes import Pass
from charlm.nn.tuning import TUNED, Tuning
from charlm.nn.workspace import Workspace

OUTPUT = "output"
"""Name of the layer that makes the logits, the last of the stack."""


@dataclass(frozen=True)
class Model:
    """The shape of a network and the mathematics on it; parameters, state and noise are arguments."""

    cell: Cell
    """The recurrence of every recurrent layer."""
    vocab: int
    """V."""
    hidden: int
    """H."""
    layers: int
    """L."""
    dropout: float = 0.0
    """Share of hidden units dropped after each recurrent layer."""
    dropout_mask: str = "window"
    """`window` or `step`; see `Dropout`."""
    kernel: str = "fused"
    """`fused` or `textbook`; see `make_recurrent`."""
    weight_drop: float = 0.0
    """Share of recurrent weights dropped; see `Recurrent`."""
    tuning: Tuning = TUNED
    """Of the fused kernels."""

    @cached_property
    def stack(self) -> tuple[tuple[str, int, Layer], ...]:
        """The layers from the bottom: name, depth, layer; the state of a layer is in `state[depth]`."""
        V, H = self.vocab, self.hidden
        stack: list[tuple[str, int, Layer]] = []
        for depth in range(self.layers):
            sizes = (V, H, True) if depth == 0 else (H, H, False)  # the lowest one reads ids
            recurrent = make_recurrent(self.kernel, self.tuning, self.cell, *sizes, self.weight_drop)
            stack.append((f"layers.{depth}", depth, recurrent))
            stack.append((f"dropout.{depth}", depth, Dropout(H, self.dropout, self.dropout_mask)))
        return (*stack, (OUTPUT, depth, Linear(H, V)))

    def shapes(self) -> dict[str, Shape]:
        """Shape of every parameter by name, in the order of the flat buffer."""
        return {
            f"{name}.{short}": shape
            for name, _, layer in self.stack
            for short, shape in layer.shapes().items()
        }

    def initialise(
        self, rng: np.random.Generator, init: str, dtype: npt.DTypeLike = np.float32
    ) -> Parameters:
        """Fresh parameters; `init` is `orthogonal` or `uniform` (see `Cell.initialise`)."""
        params = Parameters(self.shapes(), dtype)
        for name, _, layer in self.stack:
            layer.initialise(under(params, name), rng, init)
        return params

    def zero_state(self, B: int, dtype: npt.DTypeLike = np.float32) -> Array:
        """The state of `B` streams that begin, `[L, S, B, H]`."""
        return np.zeros((self.layers, len(self.cell.states), B, self.hidden), dtype)

    def named(self, state: Array, prefix: str) -> dict[str, Array]:
        """Views of a state `[L, S, B, H]`, one `[B, H]` for each layer and name, by `PREFIX + LAYER.NAME`."""
        return {
            f"{prefix}{layer}.{name}": array
            for layer, states in enumerate(state)
            for name, array in zip(self.cell.states, states, strict=True)
        }

    def noise(self, T: int, B: int) -> dict[str, Noise]:
        """The masks of a window in training, by `LAYER.NAME`."""
        return {
            f"{name}.{short}": noise
            for name, _, layer in self.stack
            for short, noise in layer.noise(T, B).items()
        }

    def forward(
        self,
        params: Params,
        x: Ids,
        state: Array,
        workspace: Workspace,
        masks: Mapping[str, Array] | None = None,
    ) -> Pass:
        """Run a window of `B` streams; the output is the logits `[T, B, V]`.

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
        signal: Signal = x
        after = np.empty_like(state)
        passes: dict[str, Pass] = {}
        for name, depth, layer in self.stack:
            own, S = under(masks or {}, name), len(layer.states)
            window = layer.forward(under(params, name), signal, state[depth, :S], own, workspace.within(name))
            signal, after[depth, :S], passes[name] = window.output, window.state, window

        def backward(grads: Params, dlogits: Array, dstate: Array) -> tuple[Array, Array]:
            dsignal, dbefore = dlogits, np.empty_like(dstate)
            for name, depth, layer in reversed(self.stack):
                S = len(layer.states)
                window, own = passes[name], under(grads, name)
                dsignal, dbefore[depth, :S] = window.backward(own, dsignal, dstate[depth, :S])
            return dsignal, dbefore

        def values() -> Mapping[str, Array]:
            return {
                f"{name}.{short}": array
                for name, window in passes.items()
                for short, array in window.values.items()
            }

        return Pass(signal, after, backward, values)

    def decoder(self, params: Params, state: Array) -> Callable[[int], Array]:
        """The network one character at a time, for generating.

        Returns a function that takes the id of a character and gives the logits `[V]` after it,
        valid until the next one. `state [L, S, 1, H]` is the state before the first; only read.
        Views and buffers are made once, here: for a single character the calls take as long as
        the arithmetic.
        """
        first, *others = (
            layer.stepper(under(params, name), state[depth, : len(layer.states)])
            for name, depth, layer in self.stack
        )

        def step(character: int) -> Array:
            signal = first(character)
            for other in others:
                signal = other(signal)
            logits: Array = signal[0]
            return logits

        # the exponential of a gate may overflow: see `sigmoid_by_exp_into`
        return np.errstate(over="ignore")(step) if len(self.cell.gates) > 1 else step
