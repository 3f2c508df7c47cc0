"""The guides of configs/SCORE.md, at a small size."""

from __future__ import annotations

import csv
import io
import re
import shlex
from pathlib import Path

import logs
from conftest import ROOT, Run
from test_cli_score import table

import charlm as package

GUIDE = (ROOT / "configs" / "SCORE.md").read_text()


def _commands(heading: str) -> list[list[str]]:
    """The commands of `charlm` in a part of the guide, as words."""
    part = GUIDE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = re.findall(r"charlm .*", "\n".join(re.findall(r"```sh\n(.*?)```", part, re.DOTALL)))
    return [shlex.split(line.replace("…", ""))[1:] for line in lines]


def test_odd_lines_are_the_most_surprising(charlm: Run, tmp_path: Path) -> None:
    """Of odd lines of eight kinds among ordinary ones, with new characters, nearly all are at the top."""
    _, score, live = _commands("Odd lines in a log")
    lines, odd = logs.mixed(800, 16)
    for name, some in (("clean.log", logs.clean(1500)), ("mixed.log", lines)):
        (tmp_path / name).write_text("".join(f"{one}\n" for one in some))
    package.train(
        {},
        corpus=tmp_path / "clean.log",
        out=tmp_path / "runs" / "log",
        settings={
            "corpus.mode": "lines",
            "corpus.split": [1, 0, 0],
            "model.cell": "gru",
            "model.hidden": 48,
            "train.batch": 16,
            "train.lr": 0.01,
            "run.threads": 1,
        },
        max_steps=280,
    )
    top = table(charlm(*score[:-1], "16").stdout)
    assert sum(int(row["line"]) in odd for row in top) >= 0.8 * len(odd)
    rows = table(charlm(*score[:-2]).stdout)
    assert logs.area([float(row["bits_per_char"]) for row in rows], odd) >= 0.97
    assert sum(int(row["unknown"]) for row in rows) > 10
    streamed = table(charlm(*live, input="".join(f"{one}\n" for one in lines[:50])).stdout)
    assert [row["content"] for row in streamed] == lines[:50]


def test_who_wrote_it(charlm: Run, tmp_path: Path) -> None:
    """Pieces of texts of three kinds go to the model of their kind."""
    texts = {
        "tales": (ROOT / "data" / "tales.txt").read_text()[:40_000],
        "korean": (ROOT / "data" / "tales-ko.txt").read_text()[:40_000],
        "log": "\n".join(logs.clean(700)),
    }
    (tmp_path / "pieces").mkdir()
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text[:-5_000])
        for number in range(5):
            start = len(text) - 5_000 + 1_000 * number
            (tmp_path / "pieces" / f"{name}-{number}.txt").write_text(text[start : start + 1_000])
        settings = {"model.hidden": 32, "corpus.split": [1, 0, 0], "train.batch": 16, "train.lr": 0.01}
        out = tmp_path / "runs" / name
        package.train(
            {},
            corpus=tmp_path / f"{name}.txt",
            out=out,
            settings=settings | {"run.threads": 1},
            max_steps=150,
        )
    options = _commands("Who wrote it?")[-1][2:6]
    assert options == ["--by", "text", "--unknown", "count"][: len(options)]
    pieces = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "pieces").iterdir())
    models = [word for name in texts for word in ("--checkpoint", f"runs/{name}")]
    rows = table(charlm("score", *pieces, "--by", "text", "--unknown", "count", *models).stdout)
    assert len(rows) == 15
    assert sum(f"pieces/{row['best']}-" in row["text"] for row in rows) >= 0.95 * len(rows)


def test_words_are_a_table_for_other_programs(charlm: Run, tmp_path: Path) -> None:
    """A reader of tables with the guide's settings reads each word and its numbers."""
    text = (ROOT / "data" / "tales.txt").read_text()[:6_000]
    (tmp_path / "story.txt").write_text(text)
    package.train({}, corpus=tmp_path / "story.txt", out=tmp_path / "runs" / "tales", max_steps=3)
    command = _commands("Reading difficulty")[0]
    shown = charlm(*command[: command.index(">")]).stdout
    rows = list(csv.DictReader(io.StringIO(shown), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [row["word"] for row in rows] == text.split()
    lines = text.split("\n")
    for row in rows:
        assert lines[int(row["line"]) - 1][int(row["column"]) - 1 :].startswith(row["word"])
    assert all(float(row["bits"]) > 0 for row in rows)
    sizes = [(float(row["bits"]), float(row["bits_after"])) for row in rows[:-1]]
    assert sum(after for _, after in sizes) < sum(own for own, _ in sizes)
