"""Loss and gradients of one window of truncated BPTT, by a team of workers.

Each worker takes some of the streams through the whole window, forward and backward, and has
gradients of its own; they are summed in the workers' order, so that the same number of workers
gives the same bits.
"""

from __future__ import annotations

import numpy as np

from charlm.nn.model import Model
from charlm.nn.ops import softmax_cross_entropy
from charlm.nn.parameters import Array, Parameters
from charlm.nn.workspace import Workspace
from charlm.team import Team, shared
from charlm.text.batches import Streams


class Backprop:
    """Windows of a training text, one at a time.

    Attributes
    ----------
    parameters, gradients
        Shared with the workers: parameters are to be changed in place.
    carried
        Every layer's state `[B, H]`, carried from window to window; likewise.
    """

    def __init__(self, model: Model, parameters: Parameters, streams: Streams, workers: int) -> None:
        B, dtype = streams.batch, parameters.flat.dtype
        self.model, self.streams = model, streams
        flat = shared(parameters.flat.shape, dtype)
        flat[...] = parameters.flat
        self.parameters = Parameters(parameters.shapes, flat=flat)
        self.carried = tuple(
            tuple(shared(array.shape, dtype) for array in layer) for layer in model.zero_state(B, dtype)
        )
        self._masks = [shared(shape, dtype) for shape in model.mask_shapes(streams.seq_len, B)]
        self._window = shared((1,), np.int64)
        self._workspace = Workspace()  # each worker's own, from its fork on
        team = min(workers, B)
        self._losses = shared((team,), np.float64)
        self._partial = [Parameters(parameters.shapes, flat=shared(flat.shape, dtype)) for _ in range(team)]
        self.gradients = self._partial[0]
        self._team = Team(B, workers, self._work)

    def window(self, number: int, rng: np.random.Generator) -> float:
        """Fill `gradients` for window `number` of the epoch and advance `carried`.

        `rng` draws the dropout masks. Returns the mean loss of the window, in nats a character.
        """
        self._window[0] = number
        self.model.draw_masks(rng, self._window_masks(slice(None)))
        self._team.run()
        others = self._partial[1 : len(self._team.parts)]
        for partial in others:
            np.add(self.gradients.flat, partial.flat, self.gradients.flat)
        return float(self._losses[: 1 + len(others)].sum())

    @property
    def worker_bytes(self) -> int:
        """Peak memory of the other workers, beyond what they were made with."""
        return self._team.worker_bytes

    def _window_masks(self, streams: slice) -> list[Array]:
        """The masks of these streams, as long as the window is (or of one step, if shared by all)."""
        steps = self.streams.steps(int(self._window[0]))
        return [mask[:steps, streams] for mask in self._masks]

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is found by the caller
    def _work(self, number: int, part: slice) -> None:
        """One worker's streams: its loss, its gradients, and its part of the carried state."""
        x, y = self.streams.window(int(self._window[0]))
        scored = x.size
        x, y = x[:, part], y[:, part].reshape(-1)
        logits, after, tape = self.model.forward(
            self.parameters,
            x,
            tuple(tuple(array[part] for array in layer) for layer in self.carried),
            self._workspace,
            tuple(self._window_masks(part)),
        )
        loss, dlogits = softmax_cross_entropy(logits.reshape(y.size, self.model.vocab), y, scored)
        gradients = self._partial[number]
        gradients.flat[...] = 0.0
        self.model.backward(self.parameters, gradients, tape, dlogits.reshape(logits.shape), self._workspace)
        self._losses[number] = loss
        for layer, layer_after in zip(self.carried, after, strict=True):
            for array, array_after in zip(layer, layer_after, strict=True):
                array[part] = array_after
