"""The network: characters in, recurrent layers, logits out; and back.

::

    x [T, B] ids --gather--> layer 0 --dropout--> layer 1 … --dropout--> output --> logits [T, B, V]

Parameters are called `layers.L.NAME` and `output.NAME`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids, Shape
from charlm.nn.cells.contract import Cell, State
from charlm.nn.matmul import multiply
from charlm.nn.ops import Gather, dropout_mask, linear_backward, linear_forward
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace

States = tuple[State, ...]
"""The carried state of the whole network: one `State` a layer, from the bottom."""


Masks = tuple[Array, ...]
"""Dropout masks behind each layer, `[1, B, H]` or `[T, B, H]`; empty without dropout."""


@dataclass(frozen=True)
class Tape:
    """What the backward pass needs of a forward pass; valid until that, or the next one in its workspace."""

    characters: Gather
    """The window's characters, as the first layer's input."""
    inputs: tuple[Array, ...]
    """What each layer above the first, and last the output, received: `[T, B, H]`."""
    masks: Masks
    layers: tuple[Any, ...]
    """Each cell's own tape."""


@dataclass(frozen=True)
class Model:
    """The shape of a network and the mathematics on it; parameters and state are arguments.

    `dropout_mask` is `window` (one mask for all steps of a window, for each stream; Gal &
    Ghahramani 2016) or `step` (a fresh mask each step; Zaremba et al. 2014).
    """

    cell: Cell
    vocab: int
    hidden: int
    layers: int
    dropout: float = 0.0
    dropout_mask: str = "window"

    def shapes(self) -> dict[str, Shape]:
        """Shape of every parameter by name, in the order of the flat buffer."""
        shapes: dict[str, Shape] = {}
        for layer in range(self.layers):
            inputs = self.vocab if layer == 0 else self.hidden
            for name, shape in self.cell.shapes(inputs, self.hidden).items():
                shapes[f"layers.{layer}.{name}"] = shape
        shapes["output.W"] = (self.hidden, self.vocab)
        shapes["output.b"] = (self.vocab,)
        return shapes

    def initialise(
        self, rng: np.random.Generator, init: str, dtype: npt.DTypeLike = np.float32
    ) -> Parameters:
        """Fresh parameters; `init` is `orthogonal` or `uniform` (see `Cell.initialise`).

        Matrices other than the recurrent ones are uniform within ±1/√(inputs that are not zero).
        """
        parameters = Parameters(self.shapes(), dtype)
        for layer in range(self.layers):
            self.cell.initialise(parameters.under(f"layers.{layer}"), rng, init)
        # 1/√H suits a sum over H inputs; a one-hot character is a sum over one, so the first
        # layer's input matrix gets ±1. With 1/√H the gates hardly hear the text at first, and
        # the loss rests for hundreds of updates where the frequencies of characters leave it.
        parameters["layers.0.Wx"][...] *= self.hidden**0.5
        bound = self.hidden**-0.5
        output = parameters["output.W"]
        output[...] = rng.uniform(-bound, bound, output.shape)
        return parameters

    def zero_state(self, batch: int, dtype: npt.DTypeLike = np.float32) -> States:
        """The state of `batch` streams that begin."""
        return tuple(
            tuple(np.zeros((batch, self.hidden), dtype) for _ in self.cell.states) for _ in range(self.layers)
        )

    def mask_shapes(self, T: int, B: int) -> list[Shape]:
        """Shapes of the dropout masks of a window, one a layer; none if there is no dropout."""
        shape = (1 if self.dropout_mask == "window" else T, B, self.hidden)
        return [shape] * self.layers if self.dropout else []

    def draw_masks(self, rng: np.random.Generator, out: Sequence[Array]) -> Masks:
        """Draw the masks of a window into arrays of `mask_shapes`."""
        return tuple(dropout_mask(rng, mask.shape, self.dropout, mask) for mask in out)

    def forward(
        self,
        parameters: Parameters,
        x: Ids,
        state: States,
        workspace: Workspace,
        masks: Masks = (),
    ) -> tuple[Array, States, Tape]:
        """Run a window of `B` streams.

        Parameters
        ----------
        x
            Ids `[T, B]`.
        state
            Carried state before the window; only read.
        masks
            From `draw_masks`; without them there is no dropout, as for evaluation.

        Returns
        -------
        logits
            `[T, B, V]`, in the workspace.
        state
            Carried state after the window, in arrays of its own.
        tape
            For `backward`.
        """
        T, B = x.shape
        H, G, dtype = self.hidden, self.cell.gates, parameters.flat.dtype
        characters = Gather(x.reshape(T * B))
        inputs: list[Array] = []
        tapes = []
        after: list[State] = []
        for layer in range(self.layers):
            own, place = parameters.under(f"layers.{layer}"), workspace.within(f"layers.{layer}")
            projected = place.array("projected", (G, T, B, H), dtype)
            for gate in range(G):
                Wx, b, rows = own["Wx"][gate], own["b"][gate], projected[gate].reshape(T * B, H)
                if layer == 0:
                    characters.forward(Wx, b, rows)
                else:
                    linear_forward(inputs[-1].reshape(T * B, H), Wx, b, rows, place)
            h, final, tape = self.cell.forward(own, projected, state[layer], place)
            after.append(tuple(array.copy() for array in final))
            tapes.append(tape)
            if masks:
                h = np.multiply(h, masks[layer], place.array("dropped", (T, B, H), dtype))
            inputs.append(h)
        logits = workspace.array("logits", (T, B, self.vocab), dtype)
        linear_forward(
            inputs[-1].reshape(T * B, H),
            parameters["output.W"],
            parameters["output.b"],
            logits.reshape(T * B, self.vocab),
            workspace,
        )
        return logits, tuple(after), Tape(characters, tuple(inputs), masks, tuple(tapes))

    def backward(
        self,
        parameters: Parameters,
        gradients: Parameters,
        tape: Tape,
        dlogits: Array,
        workspace: Workspace,
        dstate: States | None = None,
    ) -> States:
        """Run back through the window of `tape`, which is used up; `gradients` are overwritten.

        `dlogits [T, B, V]` is the gradient with respect to the logits, and `dstate` that with
        respect to the state after the window: none, in truncated BPTT. Returns the gradient with
        respect to the state before the window.
        """
        T, B, V = dlogits.shape
        H, dtype = self.hidden, parameters.flat.dtype
        dstate = dstate or self.zero_state(B, dtype)
        dh = workspace.array("dh", (T, B, H), dtype)
        # forward was logits = h W + b
        rows = dlogits.reshape(T * B, V)
        top = tape.inputs[-1].reshape(T * B, H)
        linear_backward(top, gradients["output.W"], gradients["output.b"], rows)
        multiply(rows, parameters["output.W"].T, dh.reshape(T * B, H), workspace)
        before: list[State] = []
        for layer in reversed(range(self.layers)):
            own, place = parameters.under(f"layers.{layer}"), workspace.within(f"layers.{layer}")
            down = gradients.under(f"layers.{layer}")
            if tape.masks:
                np.multiply(dh, tape.masks[layer], dh)
            dprojected, dinitial = self.cell.backward(own, down, tape.layers[layer], dh, dstate[layer], place)
            before.append(dinitial)
            # forward was projected[g] = x Wx[g] + b[g]
            free = workspace.array("free", (T, B, H), dtype)  # for a gate at a time, of any layer
            for gate, array in enumerate(dprojected):
                rows, dW, db = array.reshape(T * B, H), down["Wx"][gate], down["b"][gate]
                if layer == 0:
                    tape.characters.backward(dW, db, rows, free.reshape(T * B, H))
                else:
                    linear_backward(tape.inputs[layer - 1].reshape(T * B, H), dW, db, rows)
                    part = dh if gate == 0 else free
                    multiply(rows, own["Wx"][gate].T, part.reshape(T * B, H), place)
                    if gate > 0:
                        np.add(dh, part, dh)
        return tuple(reversed(before))
