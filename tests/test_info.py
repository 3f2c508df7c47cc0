"""`charlm info --metrics`: the log of a run as a table, for people, spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from conftest import Run
from test_history import log_line, write_run

from charlm.runs.directory import LOG_KEYS

LINES = [log_line(100), log_line(200, validation_loss=2.25), log_line(300, train_loss=None, grad_norm=None)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with three lines, below ./runs, which has a checkpoint as far as can be seen."""
    path = write_run(tmp_path / "runs/tales", LINES)
    (path / "last.npz").touch()
    (path / "best.npz").touch()
    return path


def test_csv_is_the_log_to_the_last_digit(charlm: Run, run: Path) -> None:
    """RFC 4180: a header, a row for each line with CRLF, nothing where there is nothing, numbers in full."""
    done = charlm("info", "--metrics", "--csv", "--checkpoint", "runs/tales")
    assert done.stderr == ""
    assert done.stdout.count("\r\n") == done.stdout.count("\n") == 4
    header, *rows = csv.reader(io.StringIO(done.stdout, newline=""))
    assert header == list(LOG_KEYS)
    for line, row in zip(LINES, rows, strict=True):
        assert [json.loads(cell) if cell else None for cell in row] == list(line.values())


def test_csv_of_other_versions(charlm: Run, run: Path) -> None:
    """What an older version did not log is empty; what a newer one logs besides has a column."""
    old = {key: value for key, value in LINES[0].items() if key not in ("clipped", "seconds")}
    new = LINES[1] | {"joy": 'a, "b"'}
    (run / "metrics.jsonl").write_text(f"{json.dumps(old)}\n{json.dumps(new)}\n")
    rows = list(csv.DictReader(io.StringIO(charlm("info", "--metrics", "--csv").stdout, newline="")))
    assert (rows[0]["clipped"], rows[0]["seconds"], rows[0]["joy"]) == ("", "", "")
    assert (rows[1]["clipped"], rows[1]["joy"]) == ("0.25", 'a, "b"')


def test_json_is_one_list(charlm: Run, run: Path) -> None:
    """One JSON value, the lines as they are."""
    assert json.loads(charlm("info", "--metrics", "--json").stdout) == LINES


def test_the_table_is_for_people(charlm: Run, run: Path) -> None:
    """Columns are aligned below their headings, and numbers are rounded."""
    first, heading, *rows = charlm("info", "--metrics").stdout.splitlines()
    assert first == "losses in nats per character"
    assert heading.split()[:4] == ["update", "epoch", "train", "validation"]
    assert {len(row) for row in rows} == {len(heading)}
    assert len(heading) < 80, "or a terminal breaks the lines"
    assert rows[1].split() == ["200", "4.00", "1.1000", "2.2500", "1e-05", "0.505", "25%", "1,200", "600"]
    assert rows[2].split() == ["300", "6.00", "6.67e-06", "25%", "1,300", "900"]


@pytest.mark.parametrize("named", ["runs/tales", "runs/tales/best.npz", "runs", None])
def test_any_way_to_name_a_run(charlm: Run, run: Path, named: str | None) -> None:
    """A run directory, its checkpoint, a directory of runs, or nothing for the newest; the choice is told."""
    done = charlm("info", "--metrics", "--csv", *(["--checkpoint", named] if named else []))
    assert len(done.stdout.splitlines()) == 4
    told = "" if named == "runs/tales" else "using runs/tales/metrics.jsonl\n"
    assert done.stderr == told


def test_a_log_without_lines(charlm: Run, run: Path) -> None:
    """There is a header, and an empty list; a line that is being written is none."""
    (run / "metrics.jsonl").write_text('{"step": ')
    assert charlm("info", "--metrics", "--csv").stdout == ",".join(LOG_KEYS) + "\r\n"
    assert charlm("info", "--metrics", "--json").stdout == "[]\n"
    assert len(charlm("info", "--metrics").stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--csv"], 2, "--csv is for the log: add --metrics."),
        (["--metrics", "--csv", "--json"], 2, "--csv and --json exclude each other."),
        (["--metrics", "--cache"], 2, "--metrics excludes --cache and --clear-cache."),
        (["--metrics", "--checkpoint", "nothing"], 1, "nothing holds no run"),
        (["--metrics", "--checkpoint", "runs/tales/text.txt"], 1, "runs/tales/text.txt holds no run"),
    ],
)
def test_mistakes(charlm: Run, run: Path, arguments: list[str], status: int, message: str) -> None:
    """Each is one line."""
    assert charlm("info", *arguments, status=status).stderr == f"Error: {message}\n"


def test_without_any_run(charlm: Run) -> None:
    """Where there is none, the message says what to do."""
    assert "no run under ./runs: train one" in charlm("info", "--metrics", status=1).stderr
