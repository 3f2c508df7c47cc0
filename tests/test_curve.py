"""The curve in characters at the end of a run, and where it is shown."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from conftest import TEXT, Run, on_terminal

from charlm.cli.curve import validation_curve

FALLING = [(float(epoch), 3 * math.exp(-epoch / 4) + 1) for epoch in range(1, 21)]


def _drawn(lines: list[str]) -> list[str]:
    """The rows of the curve alone, without the labels before them."""
    return [line[7:] for line in lines[1:-2]]


def _dots(rows: list[str]) -> set[tuple[int, int]]:
    """The dots of rows of braille as (column, row), read off the standard's order of bits."""
    order = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    return {
        (2 * i + across, 4 * j + down)
        for j, row in enumerate(rows)
        for i, character in enumerate(row)
        for bit, (across, down) in enumerate(order)
        if character != " " and (ord(character) - 0x2800) >> bit & 1
    }


def test_the_curve_is_that_of_the_losses() -> None:
    """Each loss has its dot, at its share of the width and of the height, and the curve has no gaps."""
    dots = _dots(_drawn(validation_curve(FALLING, "utf-8", 80)))
    width, height = 2 * (60 - 7), 4 * 5
    losses = [loss for _, loss in FALLING]
    low, high = min(losses), max(losses)
    for epoch, loss in FALLING:
        column = round((epoch - 1) / 19 * (width - 1))
        row = round((high - loss) / (high - low) * (height - 1))
        assert (column, row) in dots
    assert {column for column, _ in dots} == set(range(width))
    assert {row for _, row in dots} == set(range(height))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp949", "nonsense"])
@pytest.mark.parametrize("columns", [200, 61, 40, 28])
def test_it_is_small_and_can_be_shown(encoding: str, columns: int) -> None:
    """At most 8 lines that fit the window, in characters that the terminal has."""
    lines = validation_curve(FALLING, encoding, columns)
    assert len(lines) == 8
    assert max(map(len, _drawn(lines))) + 7 <= min(60, columns - 1)
    if encoding != "utf-8":
        "".join(lines).encode("ascii")


def test_ascii_has_the_same_shape() -> None:
    """Where there is no braille, the line falls from the upper left to the lower right too."""
    rows = _drawn(validation_curve(FALLING, "ascii", 80))
    assert rows[0].startswith("'")
    assert rows[-1].endswith(".")
    assert set("".join(rows)) == set(" '.")
    starts = [len(row) - len(row.lstrip()) for row in rows]
    assert starts == sorted(starts)


def test_first_best_and_last_are_told() -> None:
    """The losses are named, with the epoch of the lowest, and the axis has its ends."""
    lines = validation_curve([(0.5, 2.5), (1, 1.25), (1.5, 2.0)], "utf-8", 80)
    assert lines[1].startswith("2.5000 ")
    assert lines[5].startswith("1.2500 ")
    assert lines[6].split() == ["epoch", "0.5", "1.5"]
    assert lines[7] == "first 2.5000, best 1.2500 (epoch 1), last 2.0000"


@pytest.mark.parametrize(
    ("points", "count"),
    [([], 0), (FALLING[:2], 0), (FALLING[:3], 8), ([(n, 2.0) for n in range(5)], 8), (FALLING * 1, 8)],
)
def test_few_or_equal_losses(points: list[tuple[float, float]], count: int) -> None:
    """Two losses are no curve; equal ones are a straight one."""
    assert len(validation_curve(points, "utf-8", 80)) == count


def test_no_curve_in_a_window_without_room() -> None:
    """A window of a few columns gets none."""
    assert validation_curve(FALLING, "utf-8", 27) == []


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    """The command that trains a tiny run with five validations, in `tmp_path`."""
    (tmp_path / "text.txt").write_text(TEXT)
    keys = ["model.hidden=8", "train.batch=4", "train.seq_len=8", "train.epochs=5", "run.sample_every=0"]
    (tmp_path / "tiny.yaml").write_text("corpus: {path: text.txt, split: [0.8, 0.2, 0]}\n")
    return ["train", "--config", "tiny.yaml", *[f"--set={key}" for key in keys]]


def test_a_run_ends_with_its_curve_on_a_terminal(tiny: list[str], tmp_path: Path) -> None:
    """The curve of the whole log, and the command that draws more; a run that was stopped shows none."""
    shown = on_terminal([*tiny, "--max-steps", "20"], tmp_path).decode()
    assert "validation loss in nats" not in shown
    shown = on_terminal([*tiny, "--resume"], tmp_path).decode()
    log = map(json.loads, (tmp_path / "runs/tiny/metrics.jsonl").read_text().splitlines())
    losses = [line["validation_loss"] for line in log if line["validation_loss"]]
    assert len(losses) == 5
    assert f"first {losses[0]:.4f}, best {min(losses):.4f} (epoch " in shown
    assert f"last {losses[-1]:.4f}" in shown
    assert any(0x2800 < ord(character) < 0x2900 for character in shown)
    assert shown.rstrip().endswith("see it: charlm report runs/tiny")


def test_no_curve_in_a_pipe(tiny: list[str], charlm: Run) -> None:
    """What is no terminal gets neither the curve nor the advice."""
    done = charlm(*tiny)
    assert "validation loss in nats" not in done.stdout
    assert "see it" not in done.stdout
    assert not any(0x2800 <= ord(character) < 0x2900 for character in done.stdout + done.stderr)
