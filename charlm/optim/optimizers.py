"""Update rules on the flat buffer.

`p` are the parameters, `g` their gradients, `lr` the learning rate. `m`, `v` and `s` are slots:
arrays that the optimiser keeps from update to update. The rules are those of `torch.optim` (2.13);
the tests compare with its values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array

_ALL = slice(None)

_BLOCK = 1 << 15
"""Parameters updated at a time: the arrays of a block stay in the cache between operations."""


@dataclass(frozen=True)
class Hyperparameters:
    """Settings of all rules; the docstring of a rule says which it uses."""

    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    rms_decay: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.01


class Optimizer(ABC):
    """An update rule with its slots.

    `slots` and `updates` are its whole state: another optimiser of the same kind with copies of
    them continues exactly here. `zeros` allocates both, in shared memory if several processes do
    one update together.
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
        """Updates done; counted by the caller, as an update may be done span by span."""
        return int(self._updates[0])

    @updates.setter
    def updates(self, number: int) -> None:
        self._updates[0] = number

    def update(self, parameters: Array, gradients: Array, lr: float, span: slice = _ALL) -> None:
        """Do the update that follows those done, in place, on all parameters or on a span of them."""
        start, stop, _ = span.indices(parameters.size)
        scratch = np.empty((2, _BLOCK), parameters.dtype)
        for first in range(start, stop, _BLOCK):
            block = slice(first, min(first + _BLOCK, stop))
            p, g = parameters[block], gradients[block]
            slots = [self.slots[name][block] for name in self.slot_names]
            a, b = scratch[:, : p.size]
            self._rule(p, g, lr, a, b, *slots)

    @abstractmethod
    def _rule(self, p: Array, g: Array, lr: float, a: Array, b: Array, *slots: Array) -> None:
        """One update of a block, in place; `a` and `b` are scratch arrays of its size.

        The last argument of each NumPy call is the array that receives the result.
        """


class SGD(Optimizer):
    """`p -= lr g`."""

    def _rule(self, p: Array, g: Array, lr: float, a: Array, b: Array, *slots: Array) -> None:
        # p -= lr g
        np.multiply(g, lr, a)
        np.subtract(p, a, p)


class Momentum(Optimizer):
    """`v = μ v + g;  p -= lr v`. Polyak 1964, in the form of Sutskever et al. 2013; μ is `momentum`."""

    slot_names = ("v",)

    def _rule(self, p: Array, g: Array, lr: float, a: Array, b: Array, *slots: Array) -> None:
        (v,) = slots
        # v = μ v + g
        np.multiply(v, self.hyperparameters.momentum, v)
        np.add(v, g, v)
        # p -= lr v
        np.multiply(v, lr, a)
        np.subtract(p, a, p)


class Adagrad(Optimizer):
    """`s += g²;  p -= lr g / (√s + ε)`. Duchi et al. 2011."""

    slot_names = ("s",)

    def _rule(self, p: Array, g: Array, lr: float, a: Array, b: Array, *slots: Array) -> None:
        (s,) = slots
        # s += g²
        np.multiply(g, g, a)
        np.add(s, a, s)
        # p -= lr g / (√s + ε)
        np.sqrt(s, a)
        np.add(a, self.hyperparameters.epsilon, a)
        np.multiply(g, lr, b)
        np.divide(b, a, b)
        np.subtract(p, b, p)


class RMSprop(Optimizer):
    """`s = α s + (1 - α) g²;  p -= lr g / (√s + ε)`. Tieleman & Hinton 2012; α is `rms_decay`."""

    slot_names = ("s",)

    def _rule(self, p: Array, g: Array, lr: float, a: Array, b: Array, *slots: Array) -> None:
        (s,) = slots
        alpha, epsilon = self.hyperparameters.rms_decay, self.hyperparameters.epsilon
        # s = α s + (1 - α) g²
        np.multiply(s, alpha, s)
        np.multiply(g, 1 - alpha, a)
        np.multiply(a, g, a)
        np.add(s, a, s)
        # p -= lr g / (√s + ε)
        np.sqrt(s, a)
        np.add(a, epsilon, a)
        np.multiply(g, lr, b)
        np.divide(b, a, b)
        np.subtract(p, b, p)


class Adam(Optimizer):
    """Adam. Kingma & Ba 2015, Algorithm 1.

    ::

        m = β1 m + (1 - β1) g;    v = β2 v + (1 - β2) g²
        p -= lr / (1 - β1^t) · m / (√(v / (1 - β2^t)) + ε)
    """

    slot_names = ("m", "v")

    def _rule(self, p: Array, g: Array, lr: float, a: Array, b: Array, *slots: Array) -> None:
        m, v = slots
        beta1, beta2 = self.hyperparameters.beta1, self.hyperparameters.beta2
        t = self.updates + 1
        # m = β1 m + (1 - β1) g
        np.multiply(m, beta1, m)
        np.multiply(g, 1 - beta1, a)
        np.add(m, a, m)
        # v = β2 v + (1 - β2) g²
        np.multiply(v, beta2, v)
        np.multiply(g, 1 - beta2, a)
        np.multiply(a, g, a)
        np.add(v, a, v)
        # p -= lr / (1 - β1^t) · m / (√(v / (1 - β2^t)) + ε)
        np.multiply(v, 1 / (1 - beta2**t), a)
        np.sqrt(a, a)
        np.add(a, self.hyperparameters.epsilon, a)
        np.multiply(m, lr / (1 - beta1**t), b)
        np.divide(b, a, b)
        np.subtract(p, b, p)


class AdamW(Adam):
    """Adam with decoupled weight decay: first `p -= lr λ p`, then Adam's update.

    Loshchilov & Hutter 2019. λ is `weight_decay`; it applies to every parameter, as in PyTorch.
    """

    def _rule(self, p: Array, g: Array, lr: float, a: Array, b: Array, *slots: Array) -> None:
        # p = (1 - lr λ) p
        np.multiply(p, 1 - lr * self.hyperparameters.weight_decay, p)
        super()._rule(p, g, lr, a, b, *slots)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}
