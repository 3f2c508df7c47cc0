"""Everything that a network computes while it reads a text, by name.

Row n of every array belongs to unit n of the text. It is computed from units 0 to n, and unit n+1 is
predicted from it.

Letters: `N` units of a text, `T` of a window, `V` vocabulary, `H` hidden units, `S` states of a cell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from charlm.arrays import Array, Ids
from charlm.nn.loss import cross_entropy, softmax
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters, under
from charlm.nn.workspace import Workspace
from charlm.system.errors import ConfigError
from charlm.system.machine import machine_bytes

STEPS = 100
"""Steps of a window."""

_SHARE = 0.5
"""Part of the machine's memory that a trace may take."""

ByLayer = Mapping[str, Mapping[str, Array]]
"""Arrays `[N, H]` by the name of the layer, as in the parameters (`layers.0`), and their own."""


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """The activations of a network along a text of `N` units.

    `states["layers.0"]["h"][n]` is the hidden state after units 0 to n, `gates["layers.0"]["f"][n]` the
    gate with which unit n was read, and `probabilities[n]` the prediction of unit n+1. The last row
    predicts the unit after the text.
    """

    units: Sequence[str]
    """The name of each unit, as in the vocabulary."""
    ids: Ids
    """The id of each unit, `[N]`."""
    begins: npt.NDArray[np.bool]
    """Which units are read from a zero state, `[N]`: the first; of lines every line break."""
    gates: ByLayer
    """After their nonlinearities, by the names of the cell; a cell may show none."""
    states: ByLayer
    """By the names of the cell: `h`, and of an LSTM `c`."""
    logits: Array
    """`[N, V]`."""

    def __repr__(self) -> str:
        """The names of the arrays in a line, for notebooks."""
        kept = "; ".join(
            f"{layer} {', '.join(dict.fromkeys((*self.gates[layer], *states)))}"
            for layer, states in self.states.items()
        )
        return f"<Trace of {len(self.units):,} units: {kept}; logits [N, {self.logits.shape[1]}]>"

    @property
    def probabilities(self) -> Array:
        """`softmax(logits)`, `[N, V]`: row n predicts unit n+1."""
        return softmax(self.logits)

    @property
    def losses(self) -> Array:
        """`-ln probabilities[n, ids[n+1]]` in nats, `[N-1]`: how much unit n+1 surprises the model."""
        # the unit after the text is unknown: 0 stands in for it, and its loss is left out
        return cross_entropy(self.logits.copy(), np.append(self.ids[1:], 0))[:-1]


def trace(
    model: Model,
    params: Parameters,
    ids: Ids,
    begins: npt.NDArray[np.bool],
    names: Sequence[str],
) -> Trace:
    """Read a text `[N]`, and keep everything that the network computes.

    `begins [N]` says which units are read from a zero state, the first among them; `names [V]` is the
    vocabulary. Raises `ConfigError` if the text is empty, or if its trace would take
    more than half of this machine's memory.
    """
    N, H, dtype = len(ids), model.hidden, params.flat.dtype
    if not N:
        raise ConfigError("the text has nothing to trace: it needs a character")
    _check_memory(model, N, dtype.itemsize)
    arrays = {"logits": np.empty((N, model.vocab), dtype)}
    workspace = Workspace()
    for begin, end in pairwise([*np.flatnonzero(begins).tolist(), N]):
        state = model.zero_state(1, dtype)
        for start in range(begin, end, STEPS):
            rows = slice(start, min(start + STEPS, end))
            window = model.forward(params, ids[rows, None], state, workspace)
            state = window.state
            for name, values in {**window.values, "logits": window.output}.items():
                arrays.setdefault(name, np.empty((N, H), dtype))[rows] = values[:, 0]

    def named(names: Sequence[str]) -> ByLayer:
        return {
            layer: {name: array for name, array in under(arrays, layer).items() if name in names}
            for layer in (f"layers.{depth}" for depth in range(model.layers))
        }

    gates, states = named(model.cell.gates), named(model.cell.states)
    return Trace([names[unit] for unit in ids.tolist()], ids, begins, gates, states, arrays["logits"])


def _check_memory(model: Model, N: int, itemsize: int) -> None:
    per_unit = model.layers * (len(model.cell.gates) + len(model.cell.states)) * model.hidden + model.vocab
    needed, machine = N * per_unit * itemsize, machine_bytes()
    if machine is not None and needed > _SHARE * machine:
        raise ConfigError(
            f"the trace of {N:,} units takes about {needed / 1e9:,.1f} GB, and this machine has "
            f"{machine / 1e9:,.1f} GB: trace a shorter text"
        )
