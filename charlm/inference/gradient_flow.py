"""How much of the gradient of a loss reaches the hidden states of earlier steps.

Of each layer `l` it is the mean, over many places `T` of a text, of

::

    ‖dh_{T-k}‖,    dh_{T-k} = ∂ loss_T / ∂ h_{T-k},    k = 0, 1, 2, …

- `loss_T = -ln p(x_{T+1} | x_T, x_{T-1}, …)`: the loss of one unit, not the mean of a window.
- `h_{T-k}`: the hidden state of layer `l` after it has read unit `x_{T-k}`; k = 0 is the state that
  has read the last unit before the prediction. It is what the layer shows, so that the gradient comes
  along two paths: through the steps that follow in the same layer, and at the same step through the
  layers above. Of an LSTM, c_{T-k} is a state of its own: the path from h_{T-k} through the gates into
  c_{T-k+1} counts, the path from c_{T-k} does not.
- Relative to k = 0 it is the mean norm at k over the mean norm at k = 0, at the same places. A unit
  that the model predicts with certainty has nearly no gradient, and so nearly no weight.

Bengio, Simard, Frasconi 1994; Pascanu, Mikolov, Bengio 2013.

Letters: `T` time steps, `B` streams side by side, `P` places, `L` layers, `S` states of a cell, `H`
hidden units, `K` the largest k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from charlm.arrays import Array, Ids
from charlm.data.lines import Text
from charlm.errors import CorpusError, DivergenceError
from charlm.nn.layers.layer import Backward
from charlm.nn.loss import softmax_cross_entropy
from charlm.nn.model import Model, Tape
from charlm.nn.parameters import Parameters, Params
from charlm.nn.workspace import Workspace
from charlm.system.workers import WorkerPool, shared

PLACES = 200
"""Places of a text, at most: enough for the order of magnitude at 50 steps, where they differ most."""

WARM_UP = 50
"""Units that are read from a zero state before the first step that the gradient may reach."""

_FEWEST = 20
"""Places that a step back must have, or half of all places of a text with fewer than twice as many."""

_NUMBERS = 1 << 24
"""Numbers kept for the backward pass at a time, by each process: 128 MB."""


_ROUNDING = 1e-12
"""Mean norm at k = 0 below which there is hardly more than rounding errors of probabilities near 1."""


@dataclass(frozen=True, eq=False)
class GradientFlow:
    """Norms of the gradient with respect to h, k steps back."""

    norms: Array
    """Mean over the places, `[L, K+1]`."""
    places: int
    """P."""

    @property
    def relative(self) -> Array:
        """The norms relative to those at k = 0, `[L, K+1]`."""
        relative: Array = self.norms / self.norms[:, :1]
        return relative


def gradient_flow(
    model: Model, params: Parameters, text: Text, steps: int, places: int = PLACES, threads: int = 1
) -> GradientFlow:
    """The gradient at up to `steps` steps back, over up to `places` places of a text.

    In float64, so that small gradients are not lost, and without dropout. The places are evenly
    spaced, so that the same text always has the same ones. The state at a place is that after the
    WARM_UP units before the steps looked at, or from the beginning of the text or line, where it is
    zero. K is less than `steps` where few places of a text, or of the lines, have as many units
    before them.

    Raises `CorpusError` if the loss has no gradient, and `DivergenceError` if one is not finite.
    """
    begins, ends, steps = find_places(text, steps, places)
    params = Parameters(params.shapes, flat=params.flat.astype(np.float64))
    G, S, H, L = len(model.cell.gates), len(model.cell.states), model.hidden, model.layers
    # of each step and layer the gates, the states before and after, and two arrays more at most
    per_stream = (steps + 1) * (L * (G + 2 * S + 2) * H + model.vocab)
    B = max(1, min(len(ends), _NUMBERS // per_stream))
    norms = shared((len(ends), L, steps + 1), np.float64)
    whole = Workspace()
    workspaces = [whole.within(f"step {step}") for step in range(steps + 1)]

    @np.errstate(over="ignore", invalid="ignore")  # said at the end
    def measure(number: int) -> None:
        some = slice(number * B, (number + 1) * B)
        state = _warm_state(model, params, text.ids, begins[some], ends[some] - steps)
        index = ends[some] + np.arange(-steps, 1)[:, None]  # [K+1, B]
        x, y = text.ids[index], text.ids[ends[some] + 1]
        dh = state_gradients(model, params, x, y, state, workspaces)
        norms[some] = np.linalg.norm(dh, axis=-1).transpose(2, 1, 0)

    count = math.ceil(len(ends) / B)
    with WorkerPool(min(threads, count), measure) as pool:
        pool.map(measure, range(count))
    mean: Array = norms.mean(axis=0)
    if not np.isfinite(mean).all():
        raise DivergenceError("a gradient is not a finite number: the weights are too large")
    if (mean[:, 0] < _ROUNDING).any():
        raise CorpusError("the loss has no gradient: every unit of the text is predicted with certainty")
    return GradientFlow(mean, len(ends))


def find_places(text: Text, steps: int, count: int) -> tuple[Ids, Ids, int]:
    """Up to `count` places of a text, evenly spaced among those with `steps` units before them.

    Returns the index in `text.ids` of the first unit of their text or line `[P]`, the index of the
    last unit that is read there `[P]`, whose next one is predicted, and the number of steps: less
    than `steps` where too few places have as many.
    """
    starts, lengths = (array.astype(np.int64) for array in text.examples())

    def with_steps(k: int) -> Ids:
        """Of each example, how many places have k units before them."""
        many: Ids = np.maximum(lengths - k, 0)
        return many

    fewest = min(_FEWEST, math.ceil(with_steps(0).sum() / 2))
    steps = next(k for k in range(steps, -1, -1) if with_steps(k).sum() >= fewest)
    edges = np.cumsum(with_steps(steps))
    total = int(edges[-1])
    count = min(count, total)
    chosen = (2 * np.arange(count) + 1) * total // (2 * count)
    example = np.searchsorted(edges, chosen, side="right")
    begins = starts[example]
    before = edges[example] - with_steps(steps)[example]
    return begins, begins + steps + (chosen - before), steps


def _warm_state(model: Model, params: Parameters, ids: Ids, begins: Ids, ends: Ids) -> Array:
    """The state `[L, S, B, H]` before the units at `ends [B]`, from zero, at `begins [B]` at the latest."""
    state, workspace = model.zero_state(len(ends), params.flat.dtype), Workspace()
    for back in range(WARM_UP, 0, -1):
        index = ends - back
        state[:, :, index <= begins] = 0.0  # what comes before the beginning is not of this text, or line
        _, state, _ = model.forward(params, ids[np.maximum(index, 0)][None], state, workspace)
    state[:, :, ends <= begins] = 0.0
    return state


def state_gradients(
    model: Model, params: Parameters, x: Ids, y: Ids, state: Array, workspaces: Sequence[Workspace]
) -> Array:
    """`∂ loss / ∂ h` of every step of a window, `[T, L, B, H]`, that of the last step first.

    The loss of each stream is that of its last unit. The network runs forward in windows of one
    step, and back through each of them, with the gradient of the state handed on.

    Parameters
    ----------
    x, y
        Ids `[T, B]`, and those that follow the last, `[B]`.
    state
        State before the window, `[L, S, B, H]`.
    workspaces
        One for each step.
    """
    tapes: list[Tape] = []
    for x_t, workspace in zip(x, workspaces, strict=True):
        logits, state, tape = model.forward(params, x_t[None], state, workspace)
        tapes.append(tape)
    T, B = x.shape
    dh, grads = np.empty((T, model.layers, B, model.hidden), params.flat.dtype), params.zeros_like()
    dstate = np.zeros_like(state)
    # summed over the streams and not their mean, so that each has the gradient of its own loss
    _, dlogits = softmax_cross_entropy(logits.reshape(B, -1), y, scored=1)
    dlogits = dlogits.reshape(logits.shape)
    for dh_t, tape in zip(dh, reversed(tapes), strict=True):
        dstate = model.backward(grads, _watched(model, tape, dh_t), dlogits, dstate)
        dlogits = np.zeros_like(dlogits)
    return dh


def _watched(model: Model, tape: Tape, dh: Array) -> Tape:
    """The tape of a window of one step, which also writes `∂ loss / ∂ h` of each layer to `dh [L, B, H]`."""
    layers = iter(dh)
    return tuple(
        _watching(backward, next(layers)) if layer.states else backward
        for (_, layer), backward in zip(model.stack, tape, strict=True)
    )


def _watching(backward: Backward, dh: Array) -> Backward:
    def watching(grads: Params, dy: Array, dstate: Array) -> tuple[Array, Array]:
        # h_t is the output of the step, and the first part of the state after it
        np.add(dy[0], dstate[0], dh)
        return backward(grads, dy, dstate)

    return watching
