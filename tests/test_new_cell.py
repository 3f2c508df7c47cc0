"""A new cell is one file and one line: it passes the suite of all cells and works in every command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import test_cells
import test_gradcheck
import test_model
from conftest import TEXT, Run

from charlm.nn import cells
from charlm.nn.cells import CELL_NAMES, make_cell, register


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    """The cell in `leaky.py`, registered for one test."""
    register("leaky", "leaky:LeakyRNN")
    yield
    del cells._REGISTRY["leaky"]


def test_a_name_is_given_once() -> None:
    """A registered cell is among the names, and its name cannot be taken again."""
    assert "leaky" in CELL_NAMES
    assert make_cell("leaky").gates == ("s",)
    with pytest.raises(ValueError, match="cell called leaky"):
        register("leaky", "leaky:LeakyRNN")


def test_its_gradients_are_checked() -> None:
    """The check of all cells covers it, its own parameter included."""
    test_gradcheck.test_every_gradient_is_right("leaky", 2, 0.3, "window", 0.4)
    test_gradcheck.test_gradients_are_right_where_training_runs("leaky", "narrow")
    test_gradcheck.test_errors_of_a_thousandth_are_found_and_named("leaky", 0)
    test_gradcheck.test_errors_of_a_thousandth_are_found_and_named("leaky", 1)


def test_it_keeps_the_promises_of_all_cells() -> None:
    """What is tested of every cell holds for it."""
    test_cells.test_three_windows_equal_one("leaky", "fused")
    test_cells.test_forward_only_reads_its_arguments("leaky")
    test_cells.test_gradients_are_overwritten("leaky", "fused")
    test_cells.test_orthogonal_recurrent_matrices("leaky")
    test_model.test_one_character_at_a_time_equals_a_window("leaky", 2, "fused")


def test_it_works_in_every_command(charlm: Run, tmp_path: Path) -> None:
    """It is trained, resumed, sampled from, scored, timed and checked, with nothing else touched."""
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "leaky.yaml").write_text("corpus:\n  path: text.txt\nmodel:\n  cell: leaky\n")
    sizes = ("model.hidden=12", "train.batch=4", "train.seq_len=10", "train.epochs=6", "model.layers=1")
    sets = [f"--set={value}" for value in sizes]

    def run(*arguments: str) -> str:
        return charlm(*arguments).stdout

    run("train", "--config", "leaky.yaml", *sets, "--set", "train.lr=0.02", "--max-steps", "9")
    assert "best" in run("train", "--config", "runs/leaky/config.yaml", "--resume")
    assert len(run("sample", "--seed", "1", "--length", "30", "--prime", "the ")) == len("the \n") + 30
    assert json.loads(run("eval", "perplexity", "--json"))["nats_per_char"] < 3.2
    assert "gradients are right" in run("eval", "gradients", "--config", "leaky.yaml", *sets)
    assert json.loads(run("eval", "gradient-flow", "--json"))["gradient_norm"][0] == 1.0
    assert json.loads(run("bench", "--config", "leaky.yaml", *sets, "--seconds", "0.05", "--json"))
