"""The list of planted errors: each can be planted, so that none is left behind by a change."""

from __future__ import annotations

import pytest
from conftest import ROOT
from mutants import GRADIENTS, MUTANTS, outcome

NUMBER = 655
"""Entries of the list. A merge that loses one fails here; a change that adds one says so here."""


def test_every_error_can_be_planted() -> None:
    """The text that an error replaces is in its file exactly once, and what must find it is there."""
    assert len(MUTANTS) == NUMBER
    assert len({(mutant.file, mutant.right, mutant.wrong) for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        source = (ROOT / "charlm" / mutant.file).read_text()
        assert source.count(mutant.right) == 1, f"{mutant.file}: {mutant.about}"
        assert mutant.wrong not in (mutant.right, source)
        assert mutant.found_by
        for check in mutant.found_by:
            assert check == GRADIENTS or (ROOT / "tests" / check.split("::")[0]).exists(), check


@pytest.mark.parametrize(
    ("status", "output", "answer"),
    [
        (0, b"..\n2 passed in 0.10s\n", "no"),
        (1, b"F\n1 failed, 1 skipped in 0.10s\n", "yes"),
        (0, b"s\n1 skipped in 0.10s\n", "skipped"),
        (0, b".s\n1 passed, 1 skipped in 0.10s\n", "skipped"),
        (4, b"no tests ran in 0.10s\n", "cannot run"),
        (0, b"", "no"),
    ],
)
def test_a_skipped_check_is_no_survivor(status: int, output: bytes, answer: str) -> None:
    """Only a check that ran whole and noticed nothing says that an error survives."""
    assert outcome(status, output) == answer
