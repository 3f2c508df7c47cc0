"""Against PyTorch 2.13: one window, and steps of every optimiser.

Small networks are compared entry by entry. A network of every cell at a shape that training uses,
with dropout, is compared by norms, products with random directions and some entries of its arrays.

The values are frozen in `values/`, made by `values/make_values.py`; no PyTorch is needed here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import NARROW, Ran, clip, run_window
from values import drawn

from charlm.arrays import Array, Ids
from charlm.config.keys import TrainConfig
from charlm.nn.cells import CELL_NAMES, make_cell
from charlm.nn.kernels.fused import Window
from charlm.nn.kernels.gru import GRUAfterWindow
from charlm.nn.kernels.lstm import LSTMWindow
from charlm.nn.model import Model
from charlm.nn.parameters import Parameters, Params
from charlm.nn.tuning import TUNED
from charlm.nn.workspace import Memory
from charlm.optim.optimizers import OPTIMIZERS

VALUES = Path(__file__).with_name("values")
DEPTHS = (1, 2)
ADAM = "adam, norm"
RUNS = (*(f"{optimizer}, norm" for optimizer in OPTIMIZERS), "sgd, value")
"""Optimiser, and what is clipped. All are in the archive of `ALL_RUNS`, the others have `ADAM`."""
ALL_RUNS = ("lstm", 2)

RELATIVE = 1e-10
"""Largest relative error.

Of an entry of a small network: sums in another order leave some 1e-14. Of a number of a summary,
relative to the norm of its array, since a product with a direction is a sum that may cancel: they
leave 3e-15 after one window, and 2e-12 after three steps of Adam, which divides by gradients and so
enlarges the errors of small ones. An array scaled by 1 + 1e-8 is off by a hundred times as much.
"""
ABSOLUTE = 1e-14
"""Largest error of an entry that is zero, or near it by cancellation: all numbers are of order 1."""

Named = dict[str, Array]


@dataclass(frozen=True)
class Given:
    """What one step of training is given: ids and targets `[T, B]`, and its dropout masks by name."""

    x: Ids
    y: Ids
    masks: Mapping[str, Array] | None = None


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

    def windows(self) -> Iterator[Given]:
        """The ten windows."""
        for x, y in zip(self.frozen["x"], self.frozen["y"], strict=True):
            yield Given(x, y)


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


def step(model: Model, parameters: Parameters, window: Given, state: Array) -> Ran:
    """Forward and backward through one window."""
    return run_window(model, parameters, window.x, window.y, state, window.masks)


def first_step(case: Case) -> Ran:
    """Forward and backward through the first window, from where the case begins."""
    return step(case.model, case.parameters, next(case.windows()), case.state)


@dataclass(frozen=True)
class Limits:
    """What gradients are clipped to; 0 is no limit."""

    norm: float
    value: float = 0.0


def train(
    case: Case, windows: Iterable[Given], optimizer_name: str, limits: Limits
) -> tuple[Array, Array, Parameters]:
    """Truncated BPTT over the windows: their losses, their norms, and the parameters after the last."""
    settings = {name: float(value) for name, value in case.group("settings").items()}
    lr = settings.pop("lr")
    parameters, state = case.parameters.copy(), case.state
    optimizer = OPTIMIZERS[optimizer_name](parameters.flat.size, np.float64, TrainConfig(**settings))
    losses, norms = [], []
    for window in windows:
        made = step(case.model, parameters, window, state)
        losses.append(made.loss)
        norms.append(clip(made.grads.flat, limits.norm, limits.value))
        optimizer.update(parameters.flat, made.grads.flat, lr)
        optimizer.updates += 1
        state = made.state
    return np.array(losses), np.array(norms), parameters


def by_name(model: Model, state: Array) -> Named:
    """The arrays of a state under the archive's names, as in `1.h`."""
    return {
        f"{layer}.{name}": array
        for layer, own in enumerate(state)
        for name, array in zip(model.cell.states, own, strict=True)
    }


def different(made: Named, frozen: Named) -> list[str]:
    """Names of arrays that are on one side only or are not equal, as far as rounding allows."""
    return [
        name
        for name in sorted({*made, *frozen})
        if name not in made
        or name not in frozen
        or made[name].shape != frozen[name].shape
        or not np.allclose(made[name], frozen[name], RELATIVE, ABSOLUTE)
    ]


def different_in_run(case: Case, run: str, limits: Limits | None = None) -> list[str]:
    """As `different`, of ten steps: `losses`, `norms` and parameters after the last.

    `limits` are those of the run, if left out.
    """
    frozen = case.run(run)
    limits = limits or Limits(float(frozen["clip_norm"]), float(frozen["clip_value"]))
    losses, norms, parameters = train(case, case.windows(), run.partition(",")[0], limits)
    return different(
        {"losses": losses, "norms": norms, **parameters},
        {
            "losses": frozen["losses"],
            "norms": frozen["norms"],
            **Parameters(case.model.shapes(), flat=frozen["parameters"]),
        },
    )


def test_forward(case: Case) -> None:
    """Logits, loss and the state after a window are PyTorch's, from a carried state that is not zero."""
    made = first_step(case)
    frozen = {name: case.frozen[name] for name in ("logits", "loss")}
    assert different({"logits": made.logits, "loss": np.array(made.loss)}, frozen) == []
    assert different(by_name(case.model, made.state), case.group("after")) == []


def test_backward(case: Case) -> None:
    """The gradient of every parameter and of the carried state is PyTorch's."""
    made = first_step(case)
    assert different(dict(made.grads), case.group("gradients")) == []
    assert different(by_name(case.model, made.dstate), case.group("dstate")) == []


def test_ten_steps(case: Case) -> None:
    """Ten updates with state carried over and clipping have PyTorch's losses, norms and parameters."""
    assert different_in_run(case, ADAM) == []


@pytest.mark.parametrize("run", RUNS)
def test_ten_steps_of_every_optimizer(run: str) -> None:
    """The rule of every optimiser is PyTorch's; what it updates makes no difference to it."""
    assert different_in_run(load(*ALL_RUNS), run) == []


@pytest.mark.parametrize("run", RUNS)
def test_forgotten_clipping_is_found(run: str) -> None:
    """Every run of ten steps depends on its clipping, so that one without it does not pass."""
    assert "losses" in different_in_run(load(*ALL_RUNS), run, Limits(0.0))


# A network at the shape of training

PATHS = ("fused", "narrow", "narrow tiles", "textbook")
"""Ways through the code: the kernel, and its limits of blocks and tiles."""

TUNINGS = {
    "narrow": NARROW,  # so narrow for this shape that a block is one step, and no tile is small enough
    # tiles of 4 outputs, blocks of 4 steps of the LSTM and 5 of the GRU
    "narrow tiles": dataclasses.replace(NARROW, small=drawn.B * drawn.H * 4, block=4 * 4 * drawn.B * drawn.H),
}


def load_training(cell: str, path: str = "fused") -> Case:
    """The case at the shape of training on one of `PATHS`, whose windows are `training_windows`."""
    with np.load(VALUES / f"{cell}-training.npz", allow_pickle=False) as archive:
        frozen = dict(archive)
    kernel = "textbook" if path == "textbook" else "fused"
    sizes = (drawn.V, drawn.H, drawn.LAYERS, drawn.DROPOUT)
    model = Model(make_cell(cell, "after"), *sizes, "step", kernel, tuning=TUNINGS.get(path, TUNED))
    parameters = Parameters(model.shapes(), np.float64)
    for name, array in drawn.parameters(model.shapes()).items():
        parameters[name][...] = array
    return Case(model, parameters, drawn.state(model.cell.states), frozen)


@pytest.fixture(params=list(product(CELL_NAMES, PATHS)), ids=lambda param: f"{param[0]}, {param[1]}")
def training_case(request: pytest.FixtureRequest) -> Case:
    """Every cell at the shape of training, on each of `PATHS`."""
    return load_training(*request.param)


def training_windows(model: Model) -> Iterator[Given]:
    """The windows of a case at the shape of training, with their masks."""
    names = model.noise(drawn.T, drawn.B)
    for number in range(drawn.WINDOWS):
        yield Given(*drawn.ids(number), dict(zip(names, drawn.masks(number), strict=True)))


def first_training_step(case: Case) -> Ran:
    """Forward and backward through the first window."""
    return step(case.model, case.parameters, next(training_windows(case.model)), case.state)


def window_arrays(model: Model, made: Ran) -> Named:
    """All that comes of a window but its loss, under the archive's names."""
    groups = {
        "after": by_name(model, made.state),
        "gradients": made.grads,
        "dstate": by_name(model, made.dstate),
    }
    named = {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()}
    return {"logits": made.logits, **named}


def different_summaries(made: Named, frozen: Named) -> list[str]:
    """Names of arrays that are on one side only or have another summary, as far as rounding allows."""
    return [
        name
        for name in sorted({*made, *frozen})
        if name not in made or name not in frozen or not has_summary(name, made[name], frozen[name])
    ]


def has_summary(name: str, array: Array, frozen: Array) -> bool:
    """Whether an array has this `drawn.summary`, to `RELATIVE` of its norm, and of a typical entry."""
    entries = frozen.size - 1 - drawn.DIRECTIONS
    error = np.abs(drawn.summary(name, array, entries) - frozen)
    norm = float(frozen[0])
    scale = np.repeat([norm, norm / math.sqrt(array.size)], [1 + drawn.DIRECTIONS, entries])
    return bool(np.all(error <= RELATIVE * np.maximum(scale, np.abs(frozen))))


def different_in_training(case: Case, clip_norm: float) -> list[str]:
    """As `different`, of steps at the shape of training: `losses`, `norms` and updated parameters."""
    losses, norms, parameters = train(case, training_windows(case.model), "adam", Limits(clip_norm))
    frozen = case.group("steps")
    return [
        *different(
            {"losses": losses, "norms": norms}, {"losses": frozen["losses"], "norms": frozen["norms"]}
        ),
        *different_summaries(dict(parameters), case.group("updated")),
    ]


def test_window_of_training(training_case: Case) -> None:
    """At the shape of training, with dropout, everything that comes of a window is PyTorch's."""
    made = first_training_step(training_case)
    assert different({"loss": np.array(made.loss)}, {"loss": training_case.frozen["loss"]}) == []
    arrays = window_arrays(training_case.model, made)
    assert different_summaries(arrays, training_case.group("window")) == []


def test_steps_of_training(training_case: Case) -> None:
    """At the shape of training, steps of clipping and Adam end in PyTorch's parameters."""
    assert different_in_training(training_case, float(training_case.frozen["steps/clip_norm"])) == []


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_forgotten_clipping_is_found_in_training(cell: str) -> None:
    """Steps at the shape of training depend on clipping, in the parameters of every layer."""
    case = load_training(cell)
    assert {*case.parameters} <= {*different_in_training(case, 0.0)}


@pytest.mark.parametrize(("cell", "gates"), [("lstm", (0, 1, 3, 2)), ("gru", (1, 0, 2))])
def test_swapped_gates_are_found_in_training(cell: str, gates: tuple[int, ...]) -> None:
    """Two gates of the top layer swapped change what it gives, and nothing below it."""
    case = load_training(cell)
    for name in ("Wx", "Wh", "b"):
        top = case.parameters[f"layers.1.{name}"]
        top[...] = top[list(gates)]
    found = different_summaries(window_arrays(case.model, first_training_step(case)), case.group("window"))
    assert {"logits", "after/1.h"} <= {*found}
    assert "after/0.h" not in found


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_wrong_array_is_found_in_training(cell: str) -> None:
    """An array scaled by 1 + 1e-8 is found, and so is one entry that is off by a thousandth."""
    case = load_training(cell)
    arrays = window_arrays(case.model, first_training_step(case))
    for name, right in arrays.items():
        entry = right.copy()
        entry.flat[right.size // 2] += 1e-3 * np.linalg.norm(right) / math.sqrt(right.size)
        for wrong in (right * (1 + 1e-8), entry):
            assert different_summaries({name: wrong}, {name: case.frozen[f"window/{name}"]}) == [name]


@pytest.mark.parametrize("number", [0, 1, -1])
@pytest.mark.parametrize("path", ["fused", "narrow tiles"])
@pytest.mark.parametrize(("cell", "kind"), [("lstm", LSTMWindow), ("gru", GRUAfterWindow)])
def test_an_error_in_one_block_is_found(
    cell: str, kind: type[Window], path: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several blocks of steps that gets a gradient scaled by 1 + 1e-8 is found."""
    right_backward, right_blocks = kind.backward, kind.blocks

    def backward(self: Window, grads: Params, doutput: Array, dstate: Array) -> Array:
        def blocks(self: Window, memory: Memory) -> Iterator[tuple[slice, Array]]:
            several = list(right_blocks(self, memory))
            assert len(several) > 1
            for block, numbers in several:
                if block == several[number][0]:
                    doutput[block] *= 1 + 1e-8
                yield block, numbers

        monkeypatch.setattr(kind, "blocks", blocks)
        return right_backward(self, grads, doutput, dstate)

    monkeypatch.setattr(kind, "backward", backward)
    case = load_training(cell, path)
    found = different_summaries(window_arrays(case.model, first_training_step(case)), case.group("window"))
    recurrent = {name for name in case.parameters if name.startswith("layers.")}
    assert {name for name in found if name.startswith("gradients/")} == {
        f"gradients/{name}" for name in recurrent
    }
