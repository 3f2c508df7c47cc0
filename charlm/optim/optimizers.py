"""Update rules on the flat buffer.

`p` parameters, `g` their gradients, `lr` the learning rate; every other letter is a slot, an
array that the optimiser keeps from update to update. Names, order of operations and results are
those of `torch.optim` (2.13), against whose values the tests hold them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array

_WHOLE = slice(None)

_BLOCK = 1 << 15
"""Numbers updated at a time: a block's arrays stay in the cache from one operation to the next."""


@dataclass(frozen=True)
class Hyperparameters:
    """What the rules below read; each reads its own (see their docstrings)."""

    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    rms_decay: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.01


class Optimizer(ABC):
    """An update rule with its slots.

    `slots` and `updates` are all the state there is: copied into another optimiser of the same
    kind, they continue exactly here. `zeros` makes the arrays for both: in memory shared by
    processes, if several of them are to do one update together.
    """

    slot_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        size: int,
        dtype: npt.DTypeLike,
        hyperparameters: Hyperparameters,
        zeros: Callable[[tuple[int, ...], npt.DTypeLike], npt.NDArray[Any]] = np.zeros,
    ) -> None:
        self.hyperparameters = hyperparameters
        self._updates = zeros((1,), np.int64)
        self.slots: dict[str, Array] = {name: zeros((size,), dtype) for name in self.slot_names}

    @property
    def updates(self) -> int:
        """Updates done. The caller counts them, since an update may be done in parts."""
        return int(self._updates[0])

    @updates.setter
    def updates(self, number: int) -> None:
        self._updates[0] = number

    def update(self, parameters: Array, gradients: Array, lr: float, part: slice = _WHOLE) -> None:
        """Change `parameters` in place by the update that follows those done, or a part of them."""
        start, stop, _ = part.indices(parameters.size)
        scratch = np.empty((2, _BLOCK), parameters.dtype)
        for first in range(start, stop, _BLOCK):
            block = slice(first, min(first + _BLOCK, stop))
            p, g = parameters[block], gradients[block]
            slots = [self.slots[name][block] for name in self.slot_names]
            self._rule(p, g, lr, scratch[:, : p.size], *slots)

    @abstractmethod
    def _rule(self, p: Array, g: Array, lr: float, scratch: Array, *slots: Array) -> None:
        """One update of a block; `scratch [2, size]` is free to use."""


class SGD(Optimizer):
    """`p -= lr g`."""

    def _rule(self, p: Array, g: Array, lr: float, scratch: Array, *slots: Array) -> None:
        np.multiply(g, lr, scratch[0])
        np.subtract(p, scratch[0], p)


class Momentum(Optimizer):
    """`v = momentum v + g;  p -= lr v`. Polyak 1964, in the form of Sutskever et al. 2013."""

    slot_names = ("v",)

    def _rule(self, p: Array, g: Array, lr: float, scratch: Array, *slots: Array) -> None:
        (v,) = slots
        np.multiply(v, self.hyperparameters.momentum, v)
        np.add(v, g, v)
        np.multiply(v, lr, scratch[0])
        np.subtract(p, scratch[0], p)


class Adagrad(Optimizer):
    """`s += g²;  p -= lr g / (√s + ε)`. Duchi et al. 2011."""

    slot_names = ("s",)

    def _rule(self, p: Array, g: Array, lr: float, scratch: Array, *slots: Array) -> None:
        (s,) = slots
        np.multiply(g, g, scratch[0])
        np.add(s, scratch[0], s)
        _descend(p, g, s, lr, 1.0, self.hyperparameters.epsilon, scratch)


class RMSprop(Optimizer):
    """`s = α s + (1 - α) g²;  p -= lr g / (√s + ε)`. Tieleman & Hinton 2012; α is `rms_decay`."""

    slot_names = ("s",)

    def _rule(self, p: Array, g: Array, lr: float, scratch: Array, *slots: Array) -> None:
        (s,) = slots
        _average(s, g, g, self.hyperparameters.rms_decay, scratch)
        _descend(p, g, s, lr, 1.0, self.hyperparameters.epsilon, scratch)


class Adam(Optimizer):
    """Adam. Kingma & Ba 2015, Algorithm 1.

    ::

        m = β1 m + (1 - β1) g;    v = β2 v + (1 - β2) g²
        p -= lr / (1 - β1^t) · m / (√(v / (1 - β2^t)) + ε)
    """

    slot_names = ("m", "v")

    def _rule(self, p: Array, g: Array, lr: float, scratch: Array, *slots: Array) -> None:
        m, v = slots
        h, t = self.hyperparameters, self.updates + 1
        _average(m, g, None, h.beta1, scratch)
        _average(v, g, g, h.beta2, scratch)
        _descend(p, m, v, lr / (1 - h.beta1**t), 1 / (1 - h.beta2**t), h.epsilon, scratch)


class AdamW(Adam):
    """Adam with decoupled weight decay: first `p -= lr λ p`, then Adam's update.

    Loshchilov & Hutter 2019. λ is `weight_decay`; it applies to every parameter, as in PyTorch.
    """

    def _rule(self, p: Array, g: Array, lr: float, scratch: Array, *slots: Array) -> None:
        np.multiply(p, 1 - lr * self.hyperparameters.weight_decay, p)
        super()._rule(p, g, lr, scratch, *slots)


def _average(mean: Array, g: Array, factor: Array | None, decay: float, scratch: Array) -> None:
    """`mean = decay · mean + (1 - decay) · g · factor`."""
    np.multiply(mean, decay, mean)
    np.multiply(g, 1 - decay, scratch[0])
    if factor is not None:
        np.multiply(scratch[0], factor, scratch[0])
    np.add(mean, scratch[0], mean)


def _descend(
    p: Array, direction: Array, squares: Array, lr: float, scale: float, epsilon: float, scratch: Array
) -> None:
    """`p -= lr · direction / (√(squares · scale) + ε)`."""
    np.multiply(squares, scale, scratch[0])
    np.sqrt(scratch[0], scratch[0])
    np.add(scratch[0], epsilon, scratch[0])
    np.multiply(direction, lr, scratch[1])
    np.divide(scratch[1], scratch[0], scratch[1])
    np.subtract(p, scratch[1], p)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}
