"""Against PyTorch 2.13: one window of every cell and depth, and ten steps of every optimiser.

The values are frozen in `values/`, made by `values/make_values.py`; no PyTorch is needed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import clip

from charlm.arrays import Array, Ids
from charlm.nn.cells import CELL_NAMES, make_cell
from charlm.nn.loss import softmax_cross_entropy
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters
from charlm.nn.workspace import Workspace
from charlm.optim.optimizers import OPTIMIZERS, Hyperparameters

VALUES = Path(__file__).with_name("values")
DEPTHS = (1, 2)
RUNS = (*(f"{optimizer}, norm" for optimizer in OPTIMIZERS), "sgd, value")
"""Optimiser, and what is clipped."""

RELATIVE = 1e-10
"""Largest relative error of an entry; sums in another order leave some 1e-14."""
ABSOLUTE = 1e-14
"""Largest error of an entry that is zero, or near it by cancellation: all numbers are of order 1."""

Named = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """A network of one cell and depth, where it begins, and what PyTorch made of it."""

    model: Model
    parameters: Parameters
    state: Array
    frozen: Named
    """The archive; its keys are explained in `values/make_values.py`."""

    def group(self, name: str) -> Named:
        """The frozen arrays `name/…`, by the rest of their keys."""
        start = f"{name}/"
        return {key.removeprefix(start): array for key, array in self.frozen.items() if key.startswith(start)}

    def run(self, name: str) -> Named:
        """The frozen arrays of one run of ten steps."""
        row = list(self.frozen["runs/names"]).index(name)
        return {key: array[row] for key, array in self.group("runs").items()}


@dataclass(frozen=True)
class Step:
    """What charlm makes of a window before it updates anything."""

    logits: Array
    loss: float
    after: Array
    gradients: Parameters
    dstate: Array


def load(cell: str, layers: int) -> Case:
    """The case of one archive."""
    with np.load(VALUES / f"{cell}-{layers}.npz", allow_pickle=False) as archive:
        frozen = dict(archive)
    model = Model(make_cell(cell, "after"), frozen["logits"].shape[-1], frozen["state/0.h"].shape[-1], layers)
    parameters = Parameters(model.shapes(), np.float64)
    for name, view in parameters.items():
        view[...] = frozen[f"parameters/{name}"]
    state = np.array(
        [[frozen[f"state/{layer}.{name}"] for name in model.cell.states] for layer in range(layers)]
    )
    return Case(model, parameters, state, frozen)


@pytest.fixture(params=list(product(CELL_NAMES, DEPTHS)), ids=lambda param: f"{param[0]}-{param[1]}")
def case(request: pytest.FixtureRequest) -> Case:
    """Every cell in every depth."""
    return load(*request.param)


def step(model: Model, parameters: Parameters, x: Ids, y: Ids, state: Array) -> Step:
    """Forward and backward through one window."""
    workspace, gradients = Workspace(), parameters.zeros_like()
    logits, after, tape = model.forward(parameters, x, state, workspace)
    shown = logits.copy()  # the loss leaves its gradient in the place of the logits
    loss, dlogits = softmax_cross_entropy(logits.reshape(-1, model.vocab), y.reshape(-1))
    dstate = model.backward(gradients, tape, dlogits.reshape(logits.shape))
    return Step(shown, loss, after, gradients, dstate)


def first_step(case: Case) -> Step:
    """Forward and backward through the first window, from where the case begins."""
    return step(case.model, case.parameters, case.frozen["x"][0], case.frozen["y"][0], case.state)


def ten_steps(case: Case, run: str) -> Iterator[tuple[float, float, Parameters]]:
    """Truncated BPTT over all windows: after each, its loss, its norm and the parameters."""
    settings = {name: float(value) for name, value in case.group("settings").items()}
    lr = settings.pop("lr")
    longest, largest = (float(case.run(run)[limit]) for limit in ("clip_norm", "clip_value"))
    parameters, state = case.parameters.copy(), case.state
    kind = OPTIMIZERS[run.partition(",")[0]]
    optimizer = kind(parameters.flat.size, np.float64, Hyperparameters(**settings))
    for x, y in zip(case.frozen["x"], case.frozen["y"], strict=True):
        made = step(case.model, parameters, x, y, state)
        norm = clip(made.gradients.flat, longest, largest)
        optimizer.update(parameters.flat, made.gradients.flat, lr)
        optimizer.updates += 1
        state = made.after
        yield made.loss, norm, parameters


def by_name(model: Model, state: Array) -> Named:
    """The arrays of a state under the archive's names, as in `1.h`."""
    return {
        f"{layer}.{name}": array
        for layer, own in enumerate(state)
        for name, array in zip(model.cell.states, own, strict=True)
    }


def different(made: Named, frozen: Named) -> list[str]:
    """Names of arrays that stand on one side alone or are not equal, as far as rounding allows."""
    return [
        name
        for name in sorted({*made, *frozen})
        if name not in made
        or name not in frozen
        or made[name].shape != frozen[name].shape
        or not np.allclose(made[name], frozen[name], RELATIVE, ABSOLUTE)
    ]


def different_in_run(case: Case, run: str) -> list[str]:
    """As `different`, of ten steps: `losses`, `norms` and parameters after the last."""
    losses, norms, ends = zip(*ten_steps(case, run), strict=True)
    made = {"losses": np.array(losses), "norms": np.array(norms), **ends[-1]}
    frozen = case.run(run)
    parameters = Parameters(case.model.shapes(), flat=frozen["parameters"])
    return different(made, {"losses": frozen["losses"], "norms": frozen["norms"], **parameters})


def test_forward(case: Case) -> None:
    """Logits, loss and the state after a window are PyTorch's, from a carried state that is not zero."""
    made = first_step(case)
    frozen = {name: case.frozen[name] for name in ("logits", "loss")}
    assert different({"logits": made.logits, "loss": np.array(made.loss)}, frozen) == []
    assert different(by_name(case.model, made.after), case.group("after")) == []


def test_backward(case: Case) -> None:
    """The gradient of every parameter and of the carried state is PyTorch's."""
    made = first_step(case)
    assert different(dict(made.gradients), case.group("gradients")) == []
    assert different(by_name(case.model, made.dstate), case.group("dstate")) == []


@pytest.mark.parametrize("run", RUNS)
def test_ten_steps(case: Case, run: str) -> None:
    """Ten updates with state carried over and clipping have PyTorch's losses, norms and parameters."""
    assert different_in_run(case, run) == []


@pytest.mark.parametrize("layers", DEPTHS)
@pytest.mark.parametrize(("cell", "gates"), [("lstm", (0, 1, 3, 2)), ("gru", (1, 0, 2))])
def test_swapped_gates_are_found(cell: str, gates: tuple[int, ...], layers: int) -> None:
    """Gate blocks in another order (the LSTM's in PyTorch's own) do not pass the comparison."""
    case = load(cell, layers)
    for name in ("Wx", "Wh", "b"):
        top = case.parameters[f"layers.{layers - 1}.{name}"]
        top[...] = top[list(gates)]
    made = first_step(case)
    assert different({"logits": made.logits}, {"logits": case.frozen["logits"]}) == ["logits"]
    assert f"{layers - 1}.h" in different(by_name(case.model, made.after), case.group("after"))


def test_a_scaled_gradient_is_found(case: Case) -> None:
    """A gradient too large by a part in a thousand million is found, and named."""
    gradients = dict(first_step(case).gradients)
    for name, gradient in gradients.items():
        scaled = {**gradients, name: gradient * (1 + 1e-9)}
        assert different(scaled, case.group("gradients")) == [name]


@pytest.mark.parametrize("run", RUNS)
def test_forgotten_clipping_is_found(case: Case, run: str) -> None:
    """Every run of ten steps depends on its clipping, so that one without it does not pass."""
    limits = {limit: np.zeros(len(RUNS)) for limit in ("runs/clip_norm", "runs/clip_value")}
    forgetful = replace(case, frozen=case.frozen | limits)
    assert "losses" in different_in_run(forgetful, run)
