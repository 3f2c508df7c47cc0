"""Every hand-written gradient against central differences, and the check itself against planted errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from conftest import FORMS, GEOMETRIES, make_model

from charlm.arrays import Array
from charlm.nn.gradcheck import TOLERANCE, check_model, relative_error
from charlm.nn.layers.dropout import Dropout
from charlm.nn.model import Model
from charlm.nn.parameters import Params
from charlm.nn.passes import Pass
from charlm.system.workers import slices

ALL = 10**9
"""Entries to measure: every one."""


def test_tolerance_is_the_promised_one() -> None:
    """A gradient is right if its worst relative error is at most 1e-6."""
    assert TOLERANCE <= 1e-6


@pytest.mark.parametrize(
    ("layers", "dropout", "mask", "weight_drop"),
    [(1, 0.0, "window", 0.0), (2, 0.3, "window", 0.4), (3, 0.3, "step", 0.0)],
)
@pytest.mark.parametrize("form", FORMS)
def test_every_gradient_is_right(
    form: str, layers: int, dropout: float, mask: str, weight_drop: float
) -> None:
    """Every entry of every parameter and of the carried state agrees with central differences."""
    model = make_model(
        form, layers, hidden=3, vocab=5, dropout=dropout, dropout_mask=mask, weight_drop=weight_drop
    )
    checks = check_model(model, "orthogonal", seed=layers, entries=ALL)
    names = {check.name for check in checks}
    assert names >= set(model.shapes()) | {f"state.{layer}.h" for layer in range(layers)}
    for check in checks:
        assert check.checked == check.size
        assert check.right, f"{check.name}: {check.worst:.1e}"


@pytest.mark.parametrize("geometry", ["training", "narrow", "prime"])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_right_where_training_runs(form: str, geometry: str) -> None:
    """Across blocks, tiles and parts of the batch, every array agrees with central differences.

    Each form meets every size; one form of the GRU has noise in the sizes in which the other has none.
    """
    size = GEOMETRIES[geometry]
    noise = 0.3 if (form in ("rnn", "gru before")) == (geometry == "training") else 0.0
    model = size.model(form, dropout=noise, dropout_mask="step", weight_drop=noise)
    checks = check_model(
        model, "orthogonal", seed=1, entries=0, steps=size.T, batch=size.B, shards=slices(size.B, 2)
    )
    assert [f"{check.name}: {check.worst:.1e}" for check in checks if not check.right] == []


@dataclass(frozen=True)
class Broken(Model):
    """A model some of whose gradients are wrong: scaled as a whole, or in one entry."""

    names: Sequence[str] = ()
    entry: float | None = None
    """Which entry, by size: 1 is the largest, 0.5 the median."""
    factor: float = 1.001

    def forward(self, *arguments: Any, **named: Any) -> Pass:
        """See `Model.forward`; some gradients of the backward pass come out wrong."""
        window = super().forward(*arguments, **named)

        def backward(grads: Params, dlogits: Array, dstate: Array) -> tuple[Array, Array]:
            dx, before = window.backward(grads, dlogits, dstate)
            gradients = {**grads, **self.named(before, "state.")}
            for wrong in (gradients[name] for name in self.names):
                if self.entry is None:
                    wrong[...] *= self.factor
                else:
                    by_size = np.abs(wrong).argsort(axis=None)
                    wrong.flat[by_size[int(self.entry * (wrong.size - 1))]] *= self.factor
            return dx, before

        return replace(window, run_backward=backward)


def _broken(form: str, names: Sequence[str], entry: float | None, factor: float = 1.001) -> Broken:
    model = make_model(form, layers=2, hidden=4, vocab=5)
    return Broken(
        model.cell, model.vocab, model.hidden, model.layers, names=names, entry=entry, factor=factor
    )


def _wrong(model: Model, entries: int) -> list[str]:
    """The arrays whose gradients the check reports."""
    return [
        check.name for check in check_model(model, "orthogonal", seed=1, entries=entries) if not check.right
    ]


def _half(form: str, first: int) -> list[str]:
    """Every second array of a model that `_broken` makes."""
    model = make_model(form, layers=2)
    states = [f"state.{layer}.{state}" for layer in range(2) for state in model.cell.states]
    return [*model.shapes(), *states][first::2]


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("form", FORMS)
def test_errors_of_a_thousandth_are_found_and_named(form: str, first: int) -> None:
    """Gradients that are wrong by 0.1 % are reported, and no others are."""
    names = _half(form, first)
    assert _wrong(_broken(form, names, None), entries=3) == names


@pytest.mark.parametrize("entry", [1.0, 0.5])
@pytest.mark.parametrize("first", [0, 1])
def test_errors_in_one_entry_are_found_and_named(first: int, entry: float) -> None:
    """Gradients one entry of which is wrong by 0.1 % are reported, and no others are."""
    names = _half("rnn", first)
    assert _wrong(_broken("rnn", names, entry), entries=ALL) == names


@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_wrong(factor: float) -> None:
    """One entry that is infinite or not a number is found and named like any other error."""
    assert _wrong(_broken("rnn", ["layers.0.Wh"], 1.0, factor), entries=ALL) == ["layers.0.Wh"]


def test_errors_outside_the_measured_entries_are_found() -> None:
    """Where only some entries are measured, random directions still find an error in the others."""
    names = ["layers.0.Wh", "layers.1.Wx", "output.W"]
    assert _wrong(_broken("lstm", names, None), entries=0) == names


def test_a_large_network_is_checked_in_part() -> None:
    """With a limit on entries, every array is still checked, and what was measured is told."""
    checks = check_model(make_model("gru after", hidden=24), "uniform", seed=1, entries=10)
    assert all(check.right and check.checked == min(10, check.size) for check in checks)


def test_noise_is_part_of_what_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dropout layer whose backward pass forgets the mask is found."""
    right = Dropout.forward

    def without_mask(*arguments: Any) -> Pass:
        return replace(right(*arguments), run_backward=lambda grads, doutput, dstate: (doutput, dstate))

    monkeypatch.setattr(Dropout, "forward", without_mask)
    model = make_model("rnn", layers=2, hidden=4, vocab=5, dropout=0.4)
    assert _wrong(model, entries=ALL)


def test_small_gradients_are_compared_relatively() -> None:
    """An error of a thousandth of a gradient of 1e-5 counts; one below what rounding leaves does not."""
    assert relative_error(1.001e-5, 1e-5) == pytest.approx(1e-3, rel=0.01)
    assert relative_error(1e-13, 0.0) <= TOLERANCE < relative_error(1e-11, 0.0)
