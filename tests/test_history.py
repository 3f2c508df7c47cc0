"""The logs of runs as arrays, and what several runs are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.config.reading import resolve
from charlm.report.history import names, read
from charlm.runs.log import COLUMNS
from charlm.system.errors import RunError


def write_run(path: Path, lines: list[dict[str, Any]], **keys: Any) -> Path:
    """A run directory with this log; `keys` are those of its configuration, with `__` for the dot."""
    path.mkdir(parents=True)
    settings = {"corpus.path": "/texts/tales.txt", "run.dir": str(path)}
    config = resolve(settings | {key.replace("__", "."): value for key, value in keys.items()}, name="x")
    (path / "config.yaml").write_text(config.to_commented_yaml())
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def log_line(step: int, **values: Any) -> dict[str, Any]:
    """A line of a log, every key of it different."""
    line = {
        "step": step,
        "epoch": step / 50,
        "train_loss": 1 + 20 / step,
        "validation_loss": None,
        "lr": 0.002 / step,
        "grad_norm": 0.5 + 1 / step,
        "clipped": 0.25,
        "chars_per_s": 1000.0 + step,
        "seconds": 3.0 * step,
    }
    assert tuple(line) == tuple(COLUMNS)
    return line | values


def test_every_value_is_in_its_line(tmp_path: Path) -> None:
    """The columns hold what the log does, NaN where it holds nothing, and the axes are those of the lines."""
    lines = [log_line(10), log_line(20, validation_loss=2.5, train_loss=None), log_line(30)]
    history = read(write_run(tmp_path / "run", lines))
    assert history.lines == 3
    for key in COLUMNS:
        wanted = [np.nan if line[key] is None else line[key] for line in lines]
        np.testing.assert_array_equal(history.values[key], wanted)
    np.testing.assert_array_equal(history.over("updates"), [10, 20, 30])
    np.testing.assert_array_equal(history.over("epochs"), [0.2, 0.4, 0.6])
    np.testing.assert_array_equal(history.over("minutes"), [0.5, 1.0, 1.5])


def test_the_best_line_has_the_lowest_validation_loss(tmp_path: Path) -> None:
    """It is the first of the lowest; without a validation there is none."""
    losses = [None, 3.0, 2.0, None, 2.0, 2.5]
    lines = [log_line(10 * n, validation_loss=loss) for n, loss in enumerate(losses, 1)]
    assert read(write_run(tmp_path / "run", lines)).best == 2
    assert read(write_run(tmp_path / "none", [log_line(1), log_line(2)])).best is None


def test_the_share_of_clipped_updates_is_that_of_updates(tmp_path: Path) -> None:
    """A line counts by the updates since the line before, and lines that do not say it do not count."""
    lines = [log_line(100, clipped=1.0), log_line(110, clipped=0.0), log_line(400, clipped=None)]
    assert read(write_run(tmp_path / "run", lines)).clipped_share == pytest.approx(100 / 110)
    assert read(write_run(tmp_path / "old", [log_line(5, clipped=None)])).clipped_share is None


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    """The log of a run that goes on is read as far as it is whole."""
    run = write_run(tmp_path / "run", [log_line(1), log_line(2)])
    with (run / "metrics.jsonl").open("a") as log:
        log.write('{"step": 3, "epo')
    np.testing.assert_array_equal(read(run).values["step"], [1, 2])


def test_a_log_of_an_older_version_has_no_times(tmp_path: Path) -> None:
    """It can be drawn over updates and epochs, and the axis that it lacks is named with them."""
    line = log_line(5)
    del line["seconds"], line["clipped"]
    history = read(write_run(tmp_path / "old", [line, log_line(6)]))
    np.testing.assert_array_equal(history.over("updates"), [5, 6])
    with pytest.raises(RunError, match=r"old: .* no times: draw it over updates or epochs"):
        history.over("minutes")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("", "nothing has been logged so far"),
        ('{"step": 1, "ep', "nothing has been logged so far"),
        ('{"step": 1}\n', "no step or no epoch"),
        ('{"step": 1, "epoch": "one"}\n', "line 1: epoch is not a number: one"),
        (f'{{"step": {10**400}, "epoch": 1}}\n', "line 1: step is not a number"),
        ("[1]\n", r"metrics.jsonl cannot be read: \[1\] is not a JSON object"),
        ("{step\n", r"metrics.jsonl cannot be read"),
        ("[" * 100_000 + "\n", r"metrics.jsonl cannot be read"),
        ("\xff\n", r"metrics.jsonl cannot be read"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, contents: str, message: str) -> None:
    """Whatever the file holds, it is read or refused in one line."""
    run = write_run(tmp_path / "run", [])
    (run / "metrics.jsonl").write_bytes(contents.encode("latin-1"))
    with pytest.raises(RunError, match=message):
        read(run)


def test_infinities_are_nothing_to_draw(tmp_path: Path) -> None:
    """Values that are not finite, which a log that was edited may hold, are as if they were not there."""
    run = write_run(tmp_path / "run", [log_line(1, train_loss=float("inf")), log_line(2, lr=float("nan"))])
    assert not any(np.isinf(column).any() for column in read(run).values.values())


def _names(directory: Path, *runs: tuple[str, dict[str, Any]]) -> list[str]:
    return names([read(write_run(directory / name, [log_line(1)], **keys)) for name, keys in runs])


THREE: dict[str, Any] = {"model__hidden": 5, "model__layers": 1, "train__lr": 0.1}
MANY = THREE | {"train__batch": 2}


@pytest.mark.parametrize(
    ("runs", "named"),
    [
        (
            {
                "a": {"model__hidden": 64, "run__log_every": 5, "train__shards": 1},
                "b": {"model__hidden": 128, "run__threads": 2, "train__shards": 2},
            },
            ["hidden=64", "hidden=128"],
        ),
        (
            {"a": {"corpus__path": "/data/소설.txt"}, "b": {"corpus__path": ("/x/one.txt", "/x/two.txt")}},
            ["path=소설.txt", "path=[one.txt, two.txt]"],
        ),
        ({"a": {}, "b": {}}, ["a", "b"]),
        ({"x/run": {}, "y/run": {}}, ["x/run", "y/run"]),
        (
            {"c": {"train__seed": 1}, "d": {"train__seed": 1}, "e": {"train__seed": 2}},
            ["c (seed=1)", "d (seed=1)", "seed=2"],
        ),
        ({"f": {}, "g": MANY}, ["f", "g"]),
        (
            {"h": THREE, "i": {}},
            ["hidden=5, layers=1, lr=0.1", "hidden=256, layers=2, lr=0.002"],
        ),
        ({"only": {"model__hidden": 5}}, ["only"]),
    ],
)
def test_runs_are_named_by_what_differs(
    tmp_path: Path, runs: dict[str, dict[str, Any]], named: list[str]
) -> None:
    """By the keys that differ, but for logging; by the directory too if these do not tell runs apart."""
    assert _names(tmp_path, *runs.items()) == named


def test_a_configuration_that_cannot_be_read_is_no_obstacle(tmp_path: Path) -> None:
    """A run of another version, whose keys are unknown, has the name of its directory."""
    runs = [
        write_run(tmp_path / name, [log_line(1)], model__hidden=size) for name, size in (("a", 1), ("b", 2))
    ]
    (runs[0] / "config.yaml").write_text("model: {telepathy: true}\n")
    assert names([read(run) for run in runs]) == ["a", "b"]


def test_a_name_can_be_drawn(tmp_path: Path) -> None:
    """Letters are composed, what steers a terminal or is no text is replaced, and the rest is cut off."""
    (name,) = _names(tmp_path, ("소\x1b[1m\u202e" + "n" * 80, {}))
    assert name.startswith("소�[1m�nnn")
    assert len(name) == 71  # one of its characters takes two columns
    assert name.endswith("n…")
    (name,) = _names(tmp_path, ("긴" * 40, {}))
    assert name == "긴" * 35 + "…"
