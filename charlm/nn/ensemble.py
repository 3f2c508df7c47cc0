"""Several networks as one, which predicts with the mean of their probabilities.

::

    p_m = softmax(logits_m),    p = 1/M Σ_m p_m,    output = log p

`softmax(log p)` is p, so that what scores and draws takes `log p` for logits. The networks share a
vocabulary. Each has its own cell, sizes and state.

Letters: `M` networks, `T` time steps, `B` streams, `V` vocabulary, `L` layers, `S` states of a cell,
`H` hidden units.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids, Shape
from charlm.nn.model import Model
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.nn.workspace import Workspace


@dataclass(frozen=True)
class Ensemble:
    """The shapes of M networks and the mathematics on all of them, with the interface of a `Model`.

    The parameters of network m are called `m.NAME`. The state `[1, 1, B, ΣLSH]` holds the states of all
    networks, one after the other.
    """

    networks: tuple[Model, ...]

    @property
    def vocab(self) -> int:
        """V."""
        return self.networks[0].vocab

    def shapes(self) -> dict[str, Shape]:
        """Shape of every parameter by name, in the order of the flat buffer."""
        shapes = enumerate(network.shapes() for network in self.networks)
        return {f"{m}.{name}": shape for m, one in shapes for name, shape in one.items()}

    def zero_state(self, B: int, dtype: npt.DTypeLike = np.float32) -> Array:
        """The state of `B` streams that begin."""
        return _joined([network.zero_state(B, dtype) for network in self.networks])

    def forward(self, params: Params, x: Ids, state: Array, workspace: Workspace) -> Pass:
        """Run a window `x [T, B]` of `B` streams; the output is `log p`, `[T, B, V]`. See `Model.forward`."""
        everything = zip(self.networks, self._own(params), self._states(state), strict=True)
        passes = [
            network.forward(own, x, before, workspace.within(str(m)))
            for m, (network, own, before) in enumerate(everything)
        ]
        log_each = _log_softmax(np.stack([one.output for one in passes]))  # [M, T, B, V]
        log_p = _log_mean(log_each)

        def backward(grads: Params, dlog_p: Array, dstate: Array) -> tuple[Array, Array]:
            # share_m = p_m / Mp;  dlogits_m = share_m dlog_p - p_m Σ_v share_m dlog_p
            dbefore = []
            everything = zip(passes, log_each, self._own(grads), self._states(dstate), strict=True)
            for one, log_own, own_grads, own_dstate in everything:
                shared = np.exp(log_own - log_p - math.log(len(passes))) * dlog_p
                dlogits = shared - np.exp(log_own) * shared.sum(axis=-1, keepdims=True)
                dbefore.append(one.backward(own_grads, dlogits, own_dstate)[1])
            return dlog_p, _joined(dbefore)

        return Pass(log_p, _joined([one.state for one in passes]), backward)

    def decoder(self, params: Params, state: Array) -> Callable[[int], Array]:
        """The networks one character at a time: gives `log p [V]` after each. See `Model.decoder`."""
        everything = zip(self.networks, self._own(params), self._states(state), strict=True)
        steps = [network.decoder(own, before) for network, own, before in everything]
        return lambda character: _log_mean(_log_softmax(np.stack([step(character) for step in steps])))

    def _own(self, params: Params) -> list[Params]:
        """The parameters of each network."""
        return [
            {name: params[f"{m}.{name}"] for name in network.shapes()}
            for m, network in enumerate(self.networks)
        ]

    def _states(self, state: Array) -> list[Array]:
        """The state `[L, S, B, H]` of each network."""
        states, start, B = [], 0, state.shape[2]
        for network in self.networks:
            L, S, _, H = network.zero_state(1).shape
            own = state[0, 0, :, start : start + L * S * H].reshape(B, L, S, H)
            states.append(np.ascontiguousarray(own.transpose(1, 2, 0, 3)))
            start += L * S * H
        return states


Network = Model | Ensemble
"""What predicts the next unit."""


def _joined(states: Sequence[Array]) -> Array:
    """The states `[L, S, B, H]` of all networks as one, `[1, 1, B, ΣLSH]`."""
    rows = [state.transpose(2, 0, 1, 3).reshape(state.shape[2], -1) for state in states]
    return np.concatenate(rows, axis=1)[None, None]


def _log_softmax(logits: Array) -> Array:
    """`log softmax(logits)` over the last axis."""
    below = logits - logits.max(axis=-1, keepdims=True)
    log_p: Array = below - np.log(np.exp(below).sum(axis=-1, keepdims=True))
    return log_p


def _log_mean(log_each: Array) -> Array:
    """`log(1/M Σ_m exp(log_each[m]))`, over the first axis."""
    largest = log_each.max(axis=0)
    log_p: Array = largest + np.log(np.exp(log_each - largest).mean(axis=0))
    return log_p
