"""How much of the gradient of a loss reaches the states of earlier steps.

For each state of each layer it is the mean, over many places `T` of a text, of

::

    ‖dh_{T-k}‖,    dh_{T-k} = ∂ loss_T / ∂ h_{T-k},    k = 0, 1, 2, …

and, in an LSTM, of `‖dc_{T-k}‖`.

- `loss_T = -ln p(x_{T+1} | x_T, x_{T-1}, …)`: the loss of one unit, not the mean of a window.
- `h_{T-k}`, `c_{T-k}`: the states of a layer after it has read unit `x_{T-k}`; k = 0 is the state that
  has read the last unit before the prediction.
- The textbook calls them `dh_t` and `dc_t`. `dh_t` comes along two paths: through the next step of the
  same layer, and at the same step through the layers above. `dc_t` comes through the memory `c_{t+1}` of
  the next step, and through `h_t = o * tanh(c_t)`.
- Relative to k = 0 it is the mean norm at k over the mean norm at k = 0, at the same places. A unit
  that the model predicts with certainty has nearly no gradient, and so nearly no weight.

Bengio, Simard, Frasconi 1994; Pascanu, Mikolov, Bengio 2013.

Letters: `T` time steps, `B` streams side by side, `P` places, `L` layers, `S` states of a cell, `H`
hidden units, `K` the largest k.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from charlm.arrays import Array, Ids
from charlm.config.limits import STEPS
from charlm.data.texts import Text
from charlm.nn.loss import softmax_cross_entropy
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.system.errors import CorpusError, DivergenceError
from charlm.system.team import ALONE, Team
from charlm.system.workers import shared

PLACES = 200
"""Places of a text, at most: enough for the order of magnitude at 50 steps, where they differ most."""

WARM_UP = 50
"""Units that are read from a zero state before the first step that the gradient may reach."""

DECADES = (-10, 1)
"""Powers of ten at the ends of the axis of every picture: networks compare from picture to picture."""

_FEWEST = 20
"""Places that a step back must have, or half of all places of a text with fewer than twice as many."""

_NUMBERS = 1 << 24
"""Numbers kept for the backward pass at a time, by each process: 128 MB."""

_ROUNDING = 1e-12
"""Mean norm at k = 0 below which there is hardly more than rounding errors of probabilities near 1."""


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """Norms of the gradient with respect to the states of every layer, k steps back."""

    states: tuple[str, ...]
    """Names of the states, such as `h` and `c`; S of them."""
    norms: Array
    """Mean over the places, `[L, S, K+1]`."""
    places: int
    """P."""
    split: str | None = None
    """The part of the text that was read; None for the whole."""
    paths: tuple[str, ...] = ()
    """The files that it comes from."""

    def __repr__(self) -> str:
        """The sizes in a line."""
        L, _, K = self.norms.shape
        layers = f"{L} layer{'s' * (L > 1)}"
        return f"<GradientFlow of {layers}, 0 to {K - 1} steps back, of {' and '.join(self.states)}>"

    @property
    def relative(self) -> Array:
        """The norms relative to k = 0, `[L, S, K+1]`; to h where the loss does not read a state at k = 0."""
        first = self.norms[..., :1]
        return self.norms / np.where(first < _ROUNDING, first[:, :1], first)

    def as_object(self) -> dict[str, Any]:
        """The relative norms as JSON has them: of the last layer, and of each in `layers`."""
        layers = []
        for layer, norms in enumerate(self.relative.tolist()):
            back, of_state = list(range(len(norms[0]))), dict(zip(self.states, norms, strict=True))
            layers.append({"steps_back": back, "gradient_norm": norms[0], "layer": layer, "states": of_state})
        return {**layers[-1], "layers": layers, "places": self.places, "split": self.split}


def gradient_flow(
    model: Model,
    params: Parameters,
    text: Text,
    steps: int = STEPS,
    places: int = PLACES,
    team: Team = ALONE,
) -> GradientFlow:
    """The gradient at up to `steps` steps back, over up to `places` places of a text.

    In float64, so that small gradients are not lost, and without dropout. The places are evenly
    spaced, so that the same text always has the same ones. The state at a place is the state after
    the WARM_UP units before the steps looked at, or from the beginning of the text or line, where it
    is zero. K is less than `steps` where few places of a text, or of the lines, have as many units
    before them.

    Raises `CorpusError` if the loss has no gradient, and `DivergenceError` if one is not finite.
    """
    begins, ends, steps = find_places(text, steps, places)
    params = Parameters(params.shapes, flat=params.flat.astype(np.float64))
    G, S, H, L = len(model.cell.gates), len(model.cell.states), model.hidden, model.layers
    # for each step: the gates and the states five times per layer, the one-hot row, logits, gradients
    per_stream = (steps + 1) * (L * (G + 5 * S) * H + 3 * model.vocab)
    B = max(1, min(len(ends), _NUMBERS // per_stream))
    norms = shared((len(ends), L, S, steps + 1), np.float64)

    @np.errstate(over="ignore", invalid="ignore")  # reported at the end
    def measure(number: int) -> None:
        some = slice(number * B, (number + 1) * B)
        state = _warm_state(model, params, text.ids, begins[some], ends[some] - steps)
        index = ends[some] + np.arange(-steps, 1)[:, None]  # [K+1, B]
        gradients = state_gradients(model, params, text.ids[index], text.ids[ends[some] + 1], state)
        norms[some] = np.linalg.norm(gradients, axis=-1).transpose(3, 0, 1, 2)[..., ::-1]

    count = math.ceil(len(ends) / B)
    with team.pool(count, measure) as pool:
        pool.map(measure, range(count))
    mean: Array = norms.mean(axis=0)
    if not np.isfinite(mean).all():
        raise DivergenceError("a gradient is not a finite number: the weights are too large")
    if (mean[:, 0, 0] < _ROUNDING).any():
        raise CorpusError("the loss has no gradient: every unit of the text is predicted with certainty")
    return GradientFlow(model.cell.states, mean, len(ends))


def find_places(text: Text, steps: int, count: int) -> tuple[Ids, Ids, int]:
    """Up to `count` places of a text, evenly spaced among those with `steps` units before them.

    Returns indices in `text.ids` of the first unit of the text or line of each place, `[P]`, and of the
    last unit that is read there, `[P]`. The next unit is predicted. Also returns the number of steps,
    which is less than `steps` if too few places have as many units before them.
    """
    starts, lengths = (array.astype(np.int64) for array in text.examples())
    fewest = min(_FEWEST, math.ceil(lengths.sum() / 2))
    while np.maximum(lengths - steps, 0).sum() < fewest:
        steps -= 1
    rooms = np.maximum(lengths - steps, 0)  # places of each example
    edges = np.cumsum(rooms)
    total = int(edges[-1])
    count = min(count, total)
    chosen = (2 * np.arange(count) + 1) * total // (2 * count)
    example = np.searchsorted(edges, chosen, side="right")
    begins = starts[example]
    return begins, begins + steps + chosen - (edges - rooms)[example], steps


def _warm_state(model: Model, params: Parameters, ids: Ids, begins: Ids, ends: Ids) -> Array:
    """The state `[L, S, B, H]` before the units at `ends [B]`, from zero, at `begins [B]` at the latest."""
    state, workspace = model.zero_state(len(ends), params.flat.dtype), Workspace()
    for back in range(WARM_UP, 0, -1):
        index = ends - back
        state[:, :, index <= begins] = 0.0  # units before the beginning belong to another text or line
        state = model.forward(params, ids[np.maximum(index, 0)][None], state, workspace).state
    state[:, :, ends <= begins] = 0.0
    return state


def state_gradients(model: Model, params: Parameters, x: Ids, y: Ids, state: Array) -> Array:
    """The gradient of a loss with respect to the states of a window, `[L, S, T, B, H]`.

    The loss of each stream is the loss of its last unit.

    Parameters
    ----------
    x, y
        Ids `[T, B]`, and the ids that follow the last, `[B]`.
    state
        State before the window, `[L, S, B, H]`.
    """
    window = replace(model, kernel="textbook").forward(params, x, state, Workspace())
    dlogits = np.zeros_like(window.output)
    # a sum over the streams, not a mean: each stream has the gradient of its loss alone
    _, dlogits[-1] = softmax_cross_entropy(window.output[-1], y, scored=1)
    window.backward(params.zeros_like(), dlogits)
    values, names = window.values, model.cell.states
    return np.array([[values[f"layers.{layer}.d{name}"] for name in names] for layer in range(model.layers)])
