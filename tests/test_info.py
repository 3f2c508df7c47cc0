"""`charlm info`: what a checkpoint holds, and the log of a run for people, spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, TEXT, Run, make_trainer
from exported import make
from test_history import log_line, write_run

from charlm.config.reading import resolve
from charlm.runs import checkpoint
from charlm.runs.log import COLUMNS
from charlm.training.joining import join
from charlm.web import assembly

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
    assert header == list(COLUMNS)
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


def test_a_number_too_long_for_its_column_is_rounded() -> None:
    """Columns stay below their headings however far a run has come."""
    assert [COLUMNS[key].cell(10**9) for key in ("step", "seconds")] == [" 1.0e+09"] * 2


def test_a_log_without_lines(charlm: Run, run: Path) -> None:
    """There is a header, and an empty list; a line that is being written is none."""
    (run / "metrics.jsonl").write_text('{"step": ')
    assert charlm("info", "--metrics", "--csv").stdout == ",".join(COLUMNS) + "\r\n"
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


@pytest.mark.parametrize(
    ("text", "settings", "trained", "of"),
    [
        (TEXT, {}, int(0.8 * len(TEXT)), "validation"),
        (TEXT[:12], {"corpus__split": (0.9, 0.1, 0.0)}, 10, "validation"),
        (TEXT[:12], {"corpus__split": (0.9, 0.05, 0.05)}, 10, "training"),  # one character is for validation
        (TEXT[:12], {"corpus__split": (1.0, 0.0, 0.0)}, 12, "training"),
        ("ab\ncd\nef\n", {"corpus__mode": "lines", "corpus__split": (0.4, 0.6, 0.0)}, 3, "validation"),
        ("ab\ncd\nef\n", {"corpus__mode": "lines", "corpus__split": (0.9, 0.05, 0.05)}, 6, "training"),
    ],
)
def test_what_was_trained_on_and_what_the_loss_is_of(
    charlm: Run, tmp_path: Path, text: str, settings: dict[str, Any], trained: int, of: str
) -> None:
    """The size of the training split, and no training loss called one of text that was held back."""
    (tmp_path / "text.txt").write_text(text)
    with make_trainer(tmp_path, **settings) as trainer:
        assert (trainer.validate() is not None) == (of == "validation")
        for trainer.tally.step, loss in ((1, 2.0), (2, 3.0)):
            trainer.record_validation(loss)
        checkpoint.save(tmp_path / "made.npz", trainer.snapshot())
    values = json.loads(charlm("info", "--json", "--checkpoint", "made.npz").stdout)
    other = {"validation": "training", "training": "validation"}[of]
    assert values["corpus"]["train"] == trained
    assert (values["step"], values["best_step"]) == (2, 1)
    assert (values[f"{of}_loss"], values[f"best_{of}_loss"]) == (3.0, 2.0)
    assert values[f"{other}_loss"] is values[f"best_{other}_loss"] is None
    shown = charlm("info", "--checkpoint", "made.npz").stdout
    assert f"\n{of} loss 3.0" in shown
    assert f"\nbest {of} loss 2.0" in shown
    assert f"{other} loss" not in shown
    account = assembly.account(checkpoint.load(tmp_path / "made.npz"))
    assert f"trained on {trained} characters" in account
    assert ("held back" in account) == (of == "validation")


def test_what_taught_is_what_the_network_learned_from(charlm: Run, tmp_path: Path) -> None:
    """The counts of the text are named with the first network of a run only."""
    (tmp_path / "text.txt").write_text(TEXT)
    settings = {"train__teacher": "counts", "train__generations": 2, "train__epochs": 0.5}
    told = []

    def tell(saved: checkpoint.Checkpoint) -> None:
        checkpoint.save(tmp_path / "made.npz", saved)
        told.append(charlm("info", "--checkpoint", "made.npz").stdout)

    with make_trainer(tmp_path, **settings) as trainer:
        while not trainer.finished:
            trainer.update()
            if trainer.is_last_of_network:
                tell(trainer.snapshot())
        joined = join(trainer)
        assert joined is not None
        assert joined.best is not None
        tell(joined.best)
    shown = [
        "network 1 of 2, ",
        "network 2 of 2, ",
        f"2 networks joined to one, logits times {joined.factor}",
    ]
    assert [[words in text for words in shown] for text in told] == np.eye(3).tolist()
    assert ["taught by counts" in text for text in told] == [True, False, True]


@pytest.mark.parametrize("version", range(1, checkpoint.FORMAT + 1))
def test_checkpoints_of_older_versions_are_told_as_what_they_are(charlm: Run, version: int) -> None:
    """The format of the file, and the size of a training split that it does not record."""
    file = ROOT / "tests" / "values" / f"format-{version}.npz"
    values = json.loads(charlm("info", "--json", "--checkpoint", str(file)).stdout)
    assert values["format"] == version
    assert values["corpus"]["train"] == int(0.8 * len(TEXT))


def test_what_cannot_be_known_of_older_lines_is_left_out(tmp_path: Path) -> None:
    """Lines are divided at random: without a record, the account names no size of the training split."""
    made = make(tmp_path, kind="lines")
    assert "trained on" in assembly.account(made)
    del made.corpus["train"], made.progress["best_of"]
    checkpoint.save(tmp_path / "old.npz", made)
    account = assembly.account(checkpoint.load(tmp_path / "old.npz"))
    assert "trained on" not in account
    assert "held back" in account


@pytest.mark.parametrize(
    ("characters", "settings", "of", "train"),
    [
        (20, {}, "training", 18),
        (39, {}, "validation", 35),
        (20, {"corpus.validation": "other.txt"}, "validation", 19),
        (20, {"corpus.split": (1.0, 0.0, 0.0)}, "training", 20),
    ],
)
def test_what_older_checkpoints_do_not_record(
    characters: int, settings: dict[str, Any], of: str, train: int
) -> None:
    """It follows from the length of the text, whose validation split may have been too short to score."""
    corpus = {"digest": "", "characters": characters}
    progress = {"step": 0, "epoch": 0, "validation": None, "best": None, "best_step": 0}
    checkpoint.complete(corpus, progress, resolve({"corpus.path": "text.txt", **settings}, "run"))
    assert (corpus["train"], progress["best_of"]) == (train, of)
