"""Update rules on the flat buffer.

`p` are the parameters, `g` their gradients, and `lr` is the learning rate. Every other letter is a
slot: an array that the optimiser keeps between updates. Names, order of operations and results
are the same as in `torch.optim` (2.13); the tests compare with its values. The docstring of each rule
names the keys of `train` that it reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array

if TYPE_CHECKING:
    from charlm.config.keys import TrainConfig

_WHOLE = slice(None)

_BLOCK = 1 << 15
"""Numbers updated at a time: the arrays of a block stay in the cache between operations."""


class Optimizer(ABC):
    """An update rule with its slots.

    `slots` are its state: copied into another optimiser of the same class, they continue the run
    exactly. `zeros` allocates the slots: in shared memory if several
    processes do one update together.
    """

    slot_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        size: int,
        dtype: npt.DTypeLike,
        settings: TrainConfig,
        zeros: Callable[[tuple[int, ...], npt.DTypeLike], npt.NDArray[Any]] = np.zeros,
    ) -> None:
        self.settings = settings
        self.slots: dict[str, Array] = {name: zeros((size,), dtype) for name in self.slot_names}

    def update(self, parameters: Array, gradients: Array, lr: float, t: int, part: slice = _WHOLE) -> None:
        """Do update number `t`, from 1, on `parameters` in place, or on a part of them."""
        start, stop, _ = part.indices(parameters.size)
        scratch = np.empty((2, _BLOCK), parameters.dtype)
        for first in range(start, stop, _BLOCK):
            block = slice(first, min(first + _BLOCK, stop))
            p, g = parameters[block], gradients[block]
            slots = [self.slots[name][block] for name in self.slot_names]
            self._rule(p, g, lr, t, scratch[:, : p.size], *slots)

    @abstractmethod
    def _rule(self, p: Array, g: Array, lr: float, t: int, scratch: Array, *slots: Array) -> None:
        """Update one block of `n` parameters in place; `scratch [2, n]` is free to use."""


class SGD(Optimizer):
    """`p -= lr g`."""

    def _rule(self, p: Array, g: Array, lr: float, t: int, scratch: Array, *slots: Array) -> None:
        # p = p - lr g
        p -= np.multiply(g, lr, out=scratch[0])


class Momentum(Optimizer):
    """`v = momentum v + g;  p -= lr v`. Polyak 1964, in the form of Sutskever et al. 2013."""

    slot_names = ("v",)

    def _rule(self, p: Array, g: Array, lr: float, t: int, scratch: Array, *slots: Array) -> None:
        (v,) = slots
        # v = momentum v + g
        v *= self.settings.momentum
        v += g
        # p = p - lr v
        p -= np.multiply(v, lr, out=scratch[0])


class Adagrad(Optimizer):
    """`s = s + g²;  p -= lr g / (√s + ε)`. Duchi et al. 2011; ε is `epsilon`."""

    slot_names = ("s",)

    def _rule(self, p: Array, g: Array, lr: float, t: int, scratch: Array, *slots: Array) -> None:
        (s,), (step, root) = slots, scratch
        # s = s + g²
        s += np.multiply(g, g, out=step)
        # root = √s + ε
        np.sqrt(s, out=root)
        root += self.settings.epsilon
        # p = p - lr g / root
        np.multiply(g, lr, out=step)
        step /= root
        p -= step


class RMSprop(Optimizer):
    """RMSprop. Tieleman & Hinton 2012; α is `rms_decay`, ε is `epsilon`.

    ::

        s = α s + (1 - α) g²;    p -= lr g / (√s + ε)
    """

    slot_names = ("s",)

    def _rule(self, p: Array, g: Array, lr: float, t: int, scratch: Array, *slots: Array) -> None:
        (s,), (step, root) = slots, scratch
        h = self.settings
        # s = α s + (1 - α) g²
        s *= h.rms_decay
        np.multiply(g, 1 - h.rms_decay, out=step)
        step *= g
        s += step
        # root = √s + ε
        np.sqrt(s, out=root)
        root += h.epsilon
        # p = p - lr g / root
        np.multiply(g, lr, out=step)
        step /= root
        p -= step


class Adam(Optimizer):
    """Adam. Kingma & Ba 2015, Algorithm 1; β1, β2 and ε are `beta1`, `beta2` and `epsilon`.

    ::

        m = β1 m + (1 - β1) g;    v = β2 v + (1 - β2) g²
        p -= lr / (1 - β1^t) · m / (√(v / (1 - β2^t)) + ε)
    """

    slot_names = ("m", "v")

    def _rule(self, p: Array, g: Array, lr: float, t: int, scratch: Array, *slots: Array) -> None:
        (m, v), (step, root) = slots, scratch
        h = self.settings
        # m = β1 m + (1 - β1) g
        m *= h.beta1
        m += np.multiply(g, 1 - h.beta1, out=step)
        # v = β2 v + (1 - β2) g²
        v *= h.beta2
        np.multiply(g, 1 - h.beta2, out=step)
        step *= g
        v += step
        # root = √(v / (1 - β2^t)) + ε
        np.multiply(v, 1 / (1 - h.beta2**t), out=root)
        np.sqrt(root, out=root)
        root += h.epsilon
        # p = p - lr / (1 - β1^t) · m / root
        np.multiply(m, lr / (1 - h.beta1**t), out=step)
        step /= root
        p -= step


class AdamW(Adam):
    """Adam with decoupled weight decay: first `p -= lr λ p`, then Adam's update.

    Loshchilov & Hutter 2019. λ is `weight_decay`; it applies to every parameter, as in PyTorch.
    """

    def _rule(self, p: Array, g: Array, lr: float, t: int, scratch: Array, *slots: Array) -> None:
        # p = (1 - lr λ) p
        p *= 1 - lr * self.settings.weight_decay
        super()._rule(p, g, lr, t, scratch, *slots)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}
