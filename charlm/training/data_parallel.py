"""One update of truncated BPTT, by a team of workers.

Each worker takes some of the streams through the whole window, forward and backward, and has
gradients of its own. Then each sums a share of all gradients, in the workers' order, so that the
same number of workers gives the same bits; and once the norm of the whole is known, each brings
its share of the parameters up to date.
"""

from __future__ import annotations

import math

import numpy as np

from charlm.arrays import Array
from charlm.data.batches import Batches
from charlm.nn.model import Model
from charlm.nn.ops import softmax_cross_entropy
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.optim.clipping import clip_factor, clip_values
from charlm.optim.optimizers import Optimizer
from charlm.system.workers import WorkerPool, shard_slices, shared


class Updater:
    """Windows of a training text, one at a time: `backpropagate`, `clip`, `descend`.

    Attributes
    ----------
    parameters, gradients
        Shared with the workers: parameters are to be changed in place.
    carried
        Every layer's state `[B, H]`, carried from window to window; likewise.
    """

    def __init__(
        self,
        model: Model,
        parameters: Parameters,
        streams: Batches,
        optimizer: Optimizer,
        workers: int,
        clip_norm: float = 0.0,
        clip_value: float = 0.0,
    ) -> None:
        """`optimizer` is to have its state in shared memory; for the limits see `optim.clipping`."""
        B, size, dtype = streams.batch, parameters.flat.size, parameters.flat.dtype
        self.model, self.streams, self.optimizer = model, streams, optimizer
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.parameters = Parameters(parameters.shapes, flat=shared((size,), dtype))
        self.parameters.flat[...] = parameters.flat
        self.carried = tuple(
            tuple(shared(array.shape, dtype) for array in layer) for layer in model.zero_state(B, dtype)
        )
        self._masks = [shared(shape, dtype) for shape in model.mask_shapes(streams.seq_len, B)]
        self._step = shared((1,), np.int64)
        self._factors = shared((2,), np.float64)  # of the gradients, and the learning rate
        parts = shard_slices(B, workers)
        count = len(parts)
        self._losses, self._squares = shared((count,), np.float64), shared((count, 2), np.float64)
        self._partial = [Parameters(parameters.shapes, flat=shared((size,), dtype)) for _ in parts]
        self.gradients = self._partial[0]
        self._shares = [slice(size * k // count, size * (k + 1) // count) for k in range(count)]
        self._workspaces = [Workspace() for _ in parts]
        # last: workers know what was made before them
        self._team = WorkerPool(parts, self._backpropagate, self._collect, self._descend)

    def backpropagate(self, step: int, rng: np.random.Generator) -> float:
        """Loss and gradients of the window of update `step` of the run; `carried` advances.

        `rng` draws the dropout masks. Returns the mean loss of the window, in nats a character.
        """
        self._step[0] = step
        self.model.draw_masks(rng, self._window_masks(slice(None)))
        self._team.run(self._backpropagate)
        return float(self._losses.sum())

    def clip(self) -> float:
        """Sum and clip the gradients; returns their global norm before any clipping.

        If it is not finite, nothing is clipped, and `descend` must not follow.
        """
        self._team.run(self._collect)
        before, after = self._squares.sum(axis=0)
        self._factors[0] = clip_factor(math.sqrt(after), self.clip_norm)
        return math.sqrt(before)

    def descend(self, lr: float) -> None:
        """Update the parameters by the clipped gradients."""
        self._factors[1] = lr
        self._team.run(self._descend)
        self.optimizer.updates += 1

    def first_not_finite(self) -> str:
        """Name of the first parameter whose gradient holds a number that is not finite."""
        return next(name for name, array in self.gradients.items() if not np.isfinite(array).all())

    def forget_not_finite(self) -> None:
        """Set the carried state of every stream back to zero where some of it is not finite."""
        for array in (array for layer in self.carried for array in layer):
            array[~np.isfinite(array).all(axis=1)] = 0.0

    @property
    def worker_bytes(self) -> int:
        """Memory of the other workers, beyond what they were made with."""
        return self._team.worker_bytes

    def _window_masks(self, streams: slice) -> list[Array]:
        """The masks of these streams, as long as the window is (or of one step, if shared by all)."""
        steps = self.streams.steps(int(self._step[0]))
        return [mask[:steps, streams] for mask in self._masks]

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is found by the caller
    def _backpropagate(self, number: int, part: slice) -> None:
        """One worker's streams: its loss, its gradients, and its part of the carried state."""
        step = int(self._step[0])
        x, y, real = self.streams.window(step)
        scored = self.streams.characters(step)  # of the whole window
        x, y = x[:, part], y[:, part].reshape(-1)
        real = None if real is None else real[:, part].reshape(-1)
        workspace = self._workspaces[number]
        logits, after, tape = self.model.forward(
            self.parameters,
            x,
            tuple(tuple(array[part] for array in layer) for layer in self.carried),
            workspace,
            tuple(self._window_masks(part)),
        )
        loss, dlogits = softmax_cross_entropy(logits.reshape(y.size, self.model.vocab), y, scored, real)
        self.model.backward(
            self.parameters, self._partial[number], tape, dlogits.reshape(logits.shape), workspace
        )
        self._losses[number] = loss
        for layer, layer_after in zip(self.carried, after, strict=True):
            for array, array_after in zip(layer, layer_after, strict=True):
                array[part] = array_after

    @np.errstate(over="ignore", invalid="ignore")
    def _collect(self, number: int, _: slice) -> None:
        """One worker's share of the gradients: the sum over all workers, its values clipped."""
        share = self._shares[number]
        gradients = self.gradients.flat[share]
        for partial in self._partial[1:]:
            np.add(gradients, partial.flat[share], gradients)
        self._squares[number] = clip_values(gradients, self.clip_value)

    def _descend(self, number: int, _: slice) -> None:
        """One worker's share of the parameters."""
        share = self._shares[number]
        factor, lr = self._factors
        if factor < 1:
            np.multiply(self.gradients.flat[share], factor, self.gradients.flat[share], casting="same_kind")
        self.optimizer.update(self.parameters.flat, self.gradients.flat, lr, share)
