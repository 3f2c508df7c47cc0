"""What a layer is: a part of a network that runs a window forward, and the same window backward.

Letters: `T` time steps, `B` streams (batch), `S` states of a cell, `H` hidden units.
"""

from __future__ import annotations

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
"""The noise of one layer for one window, by the names that the layer declares."""

_BY_BYTES = 1 / 32
"""Smallest rate of a mask that is drawn byte by byte, and the smallest share that it keeps."""

Step = Callable[[Signal | int], Array]
"""A layer for one character of one stream: takes its input (at the bottom an id), gives its output."""


@dataclass(frozen=True)
class Noise:
    """A random mask that a layer asks for, drawn again for every window.

    Attributes
    ----------
    shape
        Its shape for a window of `T` steps and `B` streams.
    rate
        Chance of a 0; everything else is `1 / (1 - rate)`, so that the mean is 1 and evaluation
        needs no mask at all (Srivastava et al. 2014, inverted form).
    streams
        The axis of the streams, if each of them has a mask of its own (dropout); None if all
        share one (a mask on weights), however the batch is divided.
    """

    shape: Shape
    rate: float
    streams: int | None

    @property
    def size(self) -> int:
        """How many numbers it takes."""
        return math.prod(self.shape)

    def draw(self, rng: np.random.Generator, out: Array) -> None:
        """Draw into `out`, of `shape`.

        Draws do not depend on the type of `out`, so that a network in float64 gets the masks of
        one in float32. Masks that all streams share are those of weights, which are large: a byte
        is drawn for each number, in a quarter of the time, and the rate is rounded to a multiple of
        1/256. Rates that a byte cannot say to within 7 % are drawn exactly.
        """
        rate = self.rate
        if self.streams is None and _BY_BYTES <= rate <= 1 - _BY_BYTES:
            dropped = round(256 * rate)
            rate = dropped / 256
            kept = rng.integers(0, 256, self.shape, dtype=np.uint8) >= dropped
        else:
            kept = rng.random(self.shape, dtype=np.float32) >= rate
        np.multiply(kept, out.dtype.type(1.0 / (1.0 - rate)), out)

    def cut(self, mask: Array, streams: slice) -> Array:
        """The mask for some of the streams."""
        if self.streams is None:
            return mask
        view: Array = mask[(slice(None),) * self.streams + (streams,)]
        return view


class Layer(ABC):
    """A layer; parameters, state, noise and memory are arguments.

    A layer without parameters, states or noise inherits what says so.
    """

    states: tuple[str, ...] = ()
    """Names of the arrays that it carries from window to window; S of them."""

    def shapes(self) -> dict[str, Shape]:
        """Shape of each parameter by its short name, in the order of the flat buffer."""
        return {}

    def initialise(self, params: Params, rng: np.random.Generator, init: str) -> None:
        """Fill fresh parameters, which are zero, in place; for `init` see `Cell.initialise`."""
        return

    def noise(self, T: int, B: int) -> dict[str, Noise]:
        """The masks that a window in training takes, by name."""
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
            The noise, by name; empty outside training.
        workspace
            The layer's workspace.
        """

    @abstractmethod
    def stepper(self, params: Params, state: Array) -> Step:
        """A function that does one step of one stream, without noise; what it needs is prepared once.

        `state [S, 1, H]` is where it begins, and is only read. The output is valid until the next step.
        """
