"""The table of planted errors: each can be planted, so that none is left behind by a change."""

from __future__ import annotations

import pytest
from conftest import ROOT
from mutants import GENERATED, Mutant, arguments_of, generated, outcome, source_of, table

NUMBER = 1225
"""Entries of the table. A merge that loses one fails here; a change that adds one says so here."""


def test_every_error_can_be_planted() -> None:
    """The text that an error replaces is there exactly once, and so is each test that must notice it."""
    mutants, equivalent = table()
    assert len({mutant.name for mutant in mutants}) == len(mutants) == NUMBER
    made = {(one.module, one.planted(source_of(one.module))) for one in generated()}
    faults = []
    for mutant in mutants + equivalent:
        try:
            source = source_of(mutant.module)
            planted = mutant.planted(source)
        except (ValueError, KeyError, OSError) as error:
            faults.append(f"{mutant.name}: {error}")
            continue
        if planted == source or (mutant in equivalent and (mutant.module, planted) not in made):
            faults.append(f"{mutant.name}: not an error, or not a generated one")
    for check in {check for mutant in [*mutants, *generated()] for check in mutant.checks} - {"GRADIENTS"}:
        file, _, test = arguments_of(check)[-1].partition("::")
        text = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).exists() else ""
        if f"def {test.partition('[')[0]}(" not in text and (test or not text):
            faults.append(f"{check}: there is no such test")
    assert faults == []


def test_a_text_is_found_within_its_scope() -> None:
    """A text that is in a module twice is planted in the function that is named, with its indentation."""
    source = "class A:\n    def f(x):\n        y = x\n        return y\n\n    def g(x):\n        y = x\n"
    mutant = Mutant("", "", "A.f", "y = x⏎return y", "return x⏎y = 1", ())
    assert mutant.planted(source) == source.replace("y = x\n        return y", "return x\n        y = 1")
    for wrong in (Mutant("", "", "", "y = x", "y", ()), Mutant("", "", "g", "return", "", ())):
        with pytest.raises(ValueError, match=r"the text is there [02] times"):
            wrong.planted(source)


def test_errors_are_generated_for_every_module() -> None:
    """At most one for each line."""
    mutants = generated()
    assert {mutant.module for mutant in mutants} == set(GENERATED)
    assert len({mutant.name.rpartition(":")[0] for mutant in mutants}) == len(mutants)


@pytest.mark.parametrize(
    ("status", "output", "answer"),
    [
        (0, b"..\n2 passed in 0.10s\n", "no"),
        (1, b"F\n1 failed, 1 skipped in 0.10s\n", "yes"),
        (0, b"s\n1 skipped in 0.10s\n", "skipped"),
        (0, b".s\n1 passed, 1 skipped in 0.10s\n", "skipped"),
        (2, b"1 error in 0.10s\n", "yes"),
        (4, b"no tests ran in 0.10s\n", "cannot run"),
        (0, b"", "no"),
    ],
)
def test_a_skipped_check_is_no_survivor(status: int, output: bytes, answer: str) -> None:
    """Only a check that ran whole and noticed nothing says that an error survives."""
    assert outcome(status, output) == answer
