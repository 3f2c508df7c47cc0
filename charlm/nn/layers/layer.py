"""Layers: parts of a network that run a window forward, and the same window backward.

Letters: `T` time steps, `B` streams (batch), `S` states of a cell, `H` hidden units.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array, Shape, Signal
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace

Masks = Mapping[str, Array]
"""Masks of one layer for one window, by the names that the layer declares."""

_BY_BYTES = 1 / 32
"""Smallest rate of a mask that is drawn byte by byte, and the smallest share that it keeps."""

Step = Callable[[Signal | int], Array]
"""One step of one stream through a layer: takes the input (at the bottom an id), returns the output."""


@dataclass(frozen=True)
class Noise:
    """A random mask that a layer asks for, drawn again for every window."""

    shape: Shape
    """The shape for a window of `T` steps and `B` streams."""
    rate: float
    """Chance of a 0. Every other number is `1 / (1 - rate)`, so the mean is 1 and evaluation needs no
    mask (Srivastava et al. 2014, inverted form)."""
    streams: int | None
    """The axis of the streams if each stream has its own mask (dropout). None if all streams share one
    mask (weights), however the batch is divided."""

    @property
    def size(self) -> int:
        """Numbers in the mask."""
        return math.prod(self.shape)

    def draw(self, rng: np.random.Generator, out: Array) -> Array:
        """Draw into `out`, of `shape`, which is returned.

        Draws do not depend on the type of `out`: networks in float64 and float32 get the same masks.
        The masks of weights are large. A byte is drawn for each of their numbers, in a quarter of the
        time, and the rate is rounded to a multiple of 1/256. Rates that a byte cannot express to within
        7 % are drawn exactly.
        """
        rate = self.rate
        if self.streams is None and _BY_BYTES <= rate <= 1 - _BY_BYTES:
            dropped = round(256 * rate)
            rate = dropped / 256
            kept = rng.integers(0, 256, self.shape, dtype=np.uint8) >= dropped
        else:
            kept = rng.random(self.shape, dtype=np.float32) >= rate
        return np.multiply(kept, out.dtype.type(1.0 / (1.0 - rate)), out)

    def cut(self, mask: Array, streams: slice) -> Array:
        """The mask for some of the streams."""
        if self.streams is None:
            return mask
        return mask[(slice(None),) * self.streams + (streams,)]


class Layer(ABC):
    """A layer; parameters, state, noise and memory are arguments.

    By default a layer has no parameters, states or noise.
    """

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the S arrays that the layer carries from window to window."""
        return ()

    def shapes(self) -> dict[str, Shape]:
        """Shape of each parameter by its short name, in the order of the flat buffer."""
        return {}

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """Fill fresh parameters, which are zero, in place; for `init` see `Cell.initialise`."""
        return

    def noise(self, T: int, B: int) -> dict[str, Noise]:
        """The masks of a training window, by name."""
        return {}

    @abstractmethod
    def forward(self, params: Params, x: Signal, state: Array, masks: Masks, workspace: Workspace) -> Pass:
        """Run a window forward.

        Parameters
        ----------
        params
            The layer's parameters by their short names.
        x
            Input, `[T, B]` ids or `[T, B, I]`.
        state
            State before the window, `[S, B, H]`; only read.
        masks
            The masks, by name; empty outside training.
        workspace
            The layer's workspace.
        """

    @abstractmethod
    def stepper(self, params: Params, state: Array) -> Step:
        """A function that does one step of one stream, without noise. Its arrays are prepared once.

        `state [S, 1, H]` is where it begins, and is only read. The output is valid until the next step.
        """
