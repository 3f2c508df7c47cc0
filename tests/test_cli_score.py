"""`charlm score`: the table, its sums, what it is given, and how it ends."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import select
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ENVIRONMENT, Run

import charlm as package
from charlm.cli.score import _most, _Table
from charlm.inference.rows import Columns
from charlm.runs import checkpoint

TRICKY = "Thé ferry\tcame\\n over\r\n\r\n  at \u3000noon e\u0301 👍🏽🇰🇷\x0b\x1c\u2028한글\n\n\\ end"
"""White space of every kind, backslashes, and characters of several code points; no last line break."""

PLAIN = (
    "The ferry came over at noon, and the lamp was lit. " * 6 + "\n" + "Nobody waited.\nOnce more.\n\n" * 8
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes runs, each once: a text and settings, trained for some updates."""
    made: dict[str, Path] = {}

    def run(name: str, text: str = PLAIN + TRICKY * 3, **settings: Any) -> Path:
        if name not in made:
            directory = tmp_path_factory.mktemp(name)
            file = directory / "text.txt"
            file.write_bytes(text.encode())
            values = {"model.hidden": 12, "train.batch": 2, "train.seq_len": 20, "corpus.split": [1, 0, 0]}
            values |= {key.replace("__", "."): value for key, value in settings.items()}
            made[name] = package.train(
                None if not values else {}, corpus=file, out=directory / name, settings=values, max_steps=20
            ).path
        return made[name]

    return run


def table(output: str) -> list[dict[str, str]]:
    """The rows of a table, the texts as they were."""
    header, *lines = output.removesuffix("\n").split("\n")
    names = header.split("\t")
    return [dict(zip(names, map(plain, line.split("\t")), strict=True)) for line in lines]


def plain(text: str) -> str:
    """A text without its escapes."""
    pieces, rest = [], iter(text)
    for character in rest:
        pieces.append(
            {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}[next(rest)] if character == "\\" else character
        )
    return "".join(pieces)


def bits(rows: list[dict[str, str]], suffix: str = "") -> float:
    """The bits of all rows."""
    return math.fsum(
        float(row.get(f"{name}{suffix}") or 0) for row in rows for name in ("bits", "bits_after")
    )


SETTINGS: dict[str, dict[str, Any]] = {
    "char": {},
    "byte": {"corpus__unit": "byte"},
    "jamo": {"corpus__normalize": "nfd", "model__cell": "gru"},
    "folded": {"corpus__newlines": "lf", "corpus__lowercase": True, "model__cell": "rnn"},
    "lines": {"corpus__mode": "lines"},
    "rare": {"corpus__min_count": 4},
    "split": {"corpus__split": [0.8, 0.2, 0.0]},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_bits_add_up_to_the_evaluation(
    name: str, runs: Callable[..., Path], charlm: Run, tmp_path: Path
) -> None:
    """All bits of every kind of row are those of `eval perplexity`, of a file and of a directory of files."""
    run = str(runs(name, **SETTINGS[name]))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_bytes((PLAIN + TRICKY).encode())
    (tmp_path / "texts" / "b.txt").write_bytes(TRICKY.encode())
    for text in ("texts", "texts/a.txt", "texts/*.txt"):
        scored = json.loads(
            charlm("eval", "perplexity", "--checkpoint", run, "--corpus", text, "--json").stdout
        )
        expected = scored["nats_per_char"] * scored["characters"] / math.log(2)
        for by in ("unit", "word", "line", "text"):
            rows = table(charlm("score", text, "--checkpoint", run, "--by", by).stdout)
            assert bits(rows) == pytest.approx(expected, rel=1e-9)
            if by in ("line", "text"):
                assert sum(int(row["characters"]) for row in rows) == scored["original_characters"]
            assert {row["text"] for row in rows} <= {"texts/a.txt", "texts/b.txt"}


def test_a_text_comes_back_exactly(runs: Callable[..., Path], charlm: Run, tmp_path: Path) -> None:
    """The units of a table are the text, whatever it holds; so are those of JSON lines."""
    run = str(runs("byte", **SETTINGS["byte"]))
    (tmp_path / "text").write_bytes(TRICKY.encode())
    for extra in ((), ("--reset", "line")):
        rows = table(charlm("score", "text", "--checkpoint", run, "--by", "unit", *extra).stdout)
        assert "".join(row["unit"] for row in rows) == TRICKY
        lines = charlm(
            "score", "text", "--checkpoint", run, "--by", "unit", "--format", "jsonl", *extra
        ).stdout
        objects = [json.loads(line) for line in lines.split("\n")[:-1]]
        assert "".join(one["unit"] for one in objects) == TRICKY
        for row, one in zip(rows, objects, strict=True):
            assert list(row) == list(one)
            assert row["bits"] == ("" if one["bits"] is None else f"{one['bits']:.12g}")
            assert row["rank"] == ("" if one["rank"] is None else str(one["rank"]))
    words = table(charlm("score", "text", "--checkpoint", run, "--by", "word").stdout)
    # a separator that is not white space by Unicode is part of a word
    assert [row["word"] for row in words] == [
        *("Thé", "ferry", "came\\n", "over", "at", "noon", "e\u0301", "👍🏽🇰🇷"),
        *("\x1c", "한글", "\\", "end"),
    ]


def test_columns(runs: Callable[..., Path], charlm: Run, tmp_path: Path) -> None:
    """Every kind of row has its columns, in this order; several models have theirs side by side."""
    one, other = str(runs("char")), str(runs("jamo", **SETTINGS["jamo"]))
    (tmp_path / "text").write_text(PLAIN)
    expected = {
        "unit": "text line column unit bits rank",
        "word": "text line column word bits bits_after",
        "line": "text line characters bits bits_per_char content",
        "text": "text characters bits bits_per_char",
    }
    for by, columns in expected.items():
        shown = charlm("score", "text", "--checkpoint", one, "--by", by).stdout
        assert shown.split("\n")[0].split("\t") == columns.split()
        counted = charlm("score", "text", "--checkpoint", one, "--by", by, "--unknown", "count").stdout
        assert counted.split("\n")[0].split("\t") == [*columns.split(), "unknown"]
        both = ["score", "text", "--checkpoint", one, "--checkpoint", other, "--by", by]
        rows = table(charlm(*both).stdout)
        assert bits(rows, ":char") == pytest.approx(bits(table(shown)), rel=1e-9)
        alone = table(charlm("score", "text", "--checkpoint", other, "--by", by).stdout)
        assert bits(rows, ":jamo") == pytest.approx(bits(alone), rel=1e-9)
        for row in rows:
            if row["bits:char"]:
                assert row["best"] == min(("char", "jamo"), key=lambda name: float(row[f"bits:{name}"]))
            else:
                assert row["best"] == ""
    line = table(charlm("score", "text", "--checkpoint", one).stdout)[1]
    assert (line["text"], line["line"], line["content"]) == ("text", "2", "Nobody waited.")
    assert float(line["bits_per_char"]) == pytest.approx(float(line["bits"]) / int(line["characters"]))


@pytest.mark.parametrize("by", ["unit", "word", "line", "text"])
def test_top_has_the_most_surprising_rows(
    by: str, runs: Callable[..., Path], charlm: Run, tmp_path: Path
) -> None:
    """In the order of their bits, lines and texts in that of their bits per character."""
    run = str(runs("char"))
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(PLAIN[number * 7 :] + TRICKY)
    command = ["score", *(f"{n}.txt" for n in range(4)), "--checkpoint", run, "--by", by]
    rows = table(charlm(*command).stdout)
    key = "bits_per_char" if by in ("line", "text") else "bits"
    expected = sorted((row for row in rows if row[key]), key=lambda row: -float(row[key]))
    assert table(charlm(*command, "--top", "3").stdout) == expected[:3]
    assert len(table(charlm(*command, "--top", "100000").stdout)) == len(expected) <= len(rows)


def test_the_least_surprised_model_ranks_and_the_first_of_equal_rows_comes_first() -> None:
    """A row is as surprising as it is to the model that it surprises least."""
    bits: list[list[float | None]] = [[1.0, 3.0, 3.0, None, 8.0], [9.0, 4.0, 5.0, None, 2.0]]
    one, none = [1] * 5, [[0] * 5] * 2
    rows = Columns("word", "t", [*range(5)], one, one, one, ["x"] * 5, bits, bits, none, [one] * 2, none)
    for cuts in ([0, 5], [0, 1, 2, 4, 5]):
        some = [rows.between(start, stop) for start, stop in pairwise(cuts)]
        assert [row.line for row in _most(some, 3)] == [[1], [2], [4]]


@pytest.mark.parametrize("name", ["char", "lines", "split"])
def test_dynamic_is_that_of_the_evaluation(
    name: str, runs: Callable[..., Path], charlm: Run, tmp_path: Path
) -> None:
    """All bits are those of `eval perplexity --dynamic`, in rows of units too."""
    run = str(runs(name, **SETTINGS[name]))
    (tmp_path / "text").write_bytes((PLAIN + TRICKY).encode())
    scored = json.loads(
        charlm("eval", "perplexity", "--checkpoint", run, "--corpus", "text", "--json", "--dynamic").stdout
    )
    for by in ("unit", "line"):
        done = charlm("score", "text", "--checkpoint", run, "--dynamic", "--by", by)
        assert "choosing the rates" in done.stderr
        rows = table(done.stdout)
        assert bits(rows) * math.log(2) == pytest.approx(
            scored["nats_per_char"] * scored["characters"], rel=1e-9
        )
    assert scored["static_nats_per_char"] != scored["nats_per_char"]


def test_reset(runs: Callable[..., Path], charlm: Run, tmp_path: Path) -> None:
    """The files of a path are one text, or each its own; lines begin from zero where that is asked for."""
    run, lines = str(runs("char")), str(runs("lines", **SETTINGS["lines"]))
    (tmp_path / "texts").mkdir()
    for name in "ab":
        (tmp_path / "texts" / name).write_text(PLAIN)

    def totals(*arguments: str, of: str = run) -> list[str]:
        return [
            row["bits"]
            for row in table(charlm("score", *arguments, "--by", "text", "--checkpoint", of).stdout)
        ]

    joined, apart = totals("texts"), totals("texts", "--reset", "text")
    assert totals("texts/a", "texts/b") == apart
    assert joined == totals("texts", "--reset", "none")
    assert apart[0] == apart[1] != joined[1]
    rows = table(charlm("score", "texts", "--reset", "line", "--checkpoint", run).stdout)
    assert [row["content"] for row in rows] == 2 * PLAIN.split("\n")[:-1]
    by_line = totals("texts", "--reset", "line")
    assert float(by_line[0]) == pytest.approx(float(by_line[1]), rel=1e-6)
    assert float(by_line[0]) != pytest.approx(float(apart[0]), rel=1e-3)
    assert totals("texts", of=lines) == totals("texts", "--reset", "line", of=lines)
    assert totals("texts", of=lines) != totals("texts", "--reset", "text", of=lines)


@pytest.mark.parametrize(
    ("contents", "arguments", "status", "message"),
    [
        ("The ferry\nThe Ξ", (), 1, "lacks 'Ξ' (U+039E); --unknown count counts"),
        ("The e\u0310", (), 1, "line 1, column 6: the model's vocabulary"),
        ("The ferry\nThe Ξ", ("--reset", "line"), 1, "text, line 2, column 5: "),
        (b"The \xff", (), 1, "text text is not UTF-8: byte 4 (0xff, line 1)"),
        ("The", ("--encoding", "nonsense"), 2, "--encoding: 'nonsense'"),
        ("The", ("--top", "0"), 2, "--top"),
        ("The", ("missing",), 1, "missing cannot be read"),
        ("The", ("",), 2, "the path is empty"),
        ("The", ("-", "-"), 1, "standard input has been read"),
        ("The", ("--dynamic",), 1, "--dynamic needs the text that the model was trained on"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    contents: str | bytes,
    arguments: tuple[str, ...],
    status: int,
    message: str,
    runs: Callable[..., Path],
    charlm: Run,
    tmp_path: Path,
) -> None:
    """What cannot be scored is one line that says what and where."""
    saved = checkpoint.load(
        runs("char") / "best.npz" if (runs("char") / "best.npz").exists() else runs("char") / "last.npz"
    )
    saved.corpus["digest"] = "0" * 64
    checkpoint.save(tmp_path / "model.npz", saved)
    (tmp_path / "text").write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    done = charlm("score", "text", "--checkpoint", "model.npz", *arguments, status=status, input="The")
    assert message in done.stderr
    assert done.stderr.count("Error: ") == 1
    assert len(done.stderr.strip().split("\n")) <= 4  # click shows the usage


@pytest.mark.parametrize("last", ["The Ξ\n".encode(), b"The \xff\n"])
@pytest.mark.parametrize("reset", ["text", "line"])
def test_an_error_loses_no_row_before_it(
    last: bytes, reset: str, runs: Callable[..., Path], charlm: Run, tmp_path: Path
) -> None:
    """Texts that wait to be scored side by side have their rows before the error of a later one."""
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("The ferry\n" * (number + 1))
    (tmp_path / "last.txt").write_bytes(last)
    names = [f"{number}.txt" for number in range(3)]
    score = ("score", "--by", "text", "--reset", reset, "--checkpoint", str(runs("char")))
    done = charlm(*score, *names, "last.txt", status=1)
    assert done.stderr.count("Error: ") == 1
    assert table(done.stdout) == table(charlm(*score, *names).stdout)


@pytest.mark.parametrize(
    ("contents", "rows"),
    [
        ("", []),
        ("\n", [("", "0", "")]),
        ("The", [("The", "4", "x")]),
        ("The\n\nThe\r\n", [("The", "4", "x"), ("", "0", ""), ("The", "4", "x")]),
        ("Th\u0416e\n", [("Th\u0416e", "4", "x")]),
    ],
)
def test_odd_lines_have_right_rows(
    contents: str, rows: list[tuple[str, str, str]], runs: Callable[..., Path], charlm: Run, tmp_path: Path
) -> None:
    """Empty texts and lines, a missing line break, CRLF, and a character that the model lacks."""
    (tmp_path / "text").write_bytes(contents.encode())
    shown = charlm(
        "score", "text", "--checkpoint", str(runs("char")), "--reset", "line", "--unknown", "count"
    )
    found = table(shown.stdout)
    assert [(row["content"], row["characters"], row["bits"] and "x") for row in found] == rows
    assert [row["unknown"] for row in found] == ["1" if "\u0416" in row[0] else "0" for row in rows]
    whole = table(
        charlm(
            "score", "text", "--checkpoint", str(runs("char")), "--unknown", "count", "--by", "text"
        ).stdout
    )
    assert [row["characters"] for row in whole] == [str(max(0, len(contents) - ("\u0416" in contents) - 1))]


def test_a_byte_that_is_no_text_has_a_row(runs: Callable[..., Path], charlm: Run, tmp_path: Path) -> None:
    """A model of bytes scores any file."""
    run = str(runs("byte", **SETTINGS["byte"]))
    (tmp_path / "text").write_bytes(b"The \xf0\x9f ferry")
    command = [
        "score",
        "text",
        "--checkpoint",
        run,
        "--by",
        "unit",
        "--format",
        "jsonl",
        "--unknown",
        "count",
    ]
    rows = [json.loads(line) for line in charlm(*command).stdout.splitlines()]
    assert "".join(row["unit"] for row in rows).encode("utf-8", "surrogateescape") == b"The \xf0\x9f ferry"
    assert bits(table(charlm("score", "text", "--checkpoint", run).stdout)) > 0


@pytest.mark.parametrize("live", [False, True])
def test_progress_counts_the_bytes_of_files(
    live: bool, runs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The total is the size of all files, packed ones as they are stored; standard input has none."""
    (tmp_path / "a.txt").write_text(PLAIN)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(TRICKY.encode()))
    model = checkpoint.load(runs("jamo", **SETTINGS["jamo"]) / "last.npz")
    files = [str(tmp_path / name) for name in ("a.txt", "b.txt.gz")]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"The")))
    told: list[tuple[str, int]] = []
    with package.interface.surprisal(package.interface.judges_of([model])) as reading:
        paths = [*files, *(["-"] if live else [])]
        corpus = model.config.corpus
        list(
            package.interface.pieces_of(
                reading, paths, "none", corpus, progress=lambda *one: told.append(one)
            )
        )
    size = sum(Path(file).stat().st_size for file in files)
    assert told[:1] == ([] if live else [("total", size)])
    assert sum(count for _, count in told[1:]) == (0 if live else size)


def test_what_is_not_finite_is_null_in_json() -> None:
    """A model that diverged has rows that every reader of JSON takes."""
    row = Columns("line", "t", [1], [1], [0], [2], ["at"], [[math.inf]], [], [[0]], [[2]], [[0]])
    shown = json.loads(_Table("line", [], False, "jsonl")._objects(row))
    assert (shown["bits"], shown["bits_per_char"], shown["characters"]) == (None, None, 2)


def _started(run: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "charlm", "score", "--checkpoint", str(run), *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    )


def _next(process: subprocess.Popen[bytes]) -> bytes:
    """What a process writes next; it must come while its input is open."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 30)[0]
    return os.read(process.stdout.fileno(), 65536)


def test_rows_come_with_their_lines(runs: Callable[..., Path]) -> None:
    """Each line from a pipe has its row at once, while the pipe stays open."""
    with _started(runs("char"), "-", "--reset", "line") as process:
        assert process.stdin is not None
        for number, line in enumerate(("The ferry", "came", "over"), 1):
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
            shown = _next(process)
            while b"\tcontent\n" in shown and not shown.endswith(f"{line}\n".encode()):
                shown += _next(process)  # the header comes alone
            fields = shown.decode().split("\n")[-2].split("\t")
            assert fields[:3] == ["-", str(number), str(len(line) + 1)]
            assert fields[-1] == line
        process.stdin.write(b"at no")
        process.stdin.close()
        process.stdin = None
        assert _next(process).endswith(b"\tat no\n")
        assert process.wait(30) == 0


def test_a_broken_pipe_ends_quietly(runs: Callable[..., Path], tmp_path: Path) -> None:
    """A reader that has enough ends the command without a word, and no process is left."""
    (tmp_path / "text").write_text(PLAIN * 40)
    with _started(runs("char"), str(tmp_path / "text"), "--by", "unit") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 1
        assert process.stderr.read() == b""


def test_python_has_the_same_rows(runs: Callable[..., Path], charlm: Run, tmp_path: Path) -> None:
    """`model.surprisal` gives the rows of the command, and `model.scores` the scores of `model.score`."""
    model = package.load(runs("char"))
    (tmp_path / "text").write_bytes(TRICKY.encode())
    for by in ("unit", "word", "line"):
        for extra, reset in (((), None), (("--reset", "line"), "line")):
            rows = table(
                charlm("score", "text", "--checkpoint", str(runs("char")), "--by", by, *extra).stdout
            )
            found = model.surprisal(TRICKY, by=by, reset=reset)  # type: ignore[arg-type]
            name = {"unit": "unit", "word": "word", "line": "content"}[by]
            assert [row.text for row in found] == [row[name] for row in rows]
            assert [TRICKY[row.start : row.stop] for row in found] == [row[name] for row in rows]
            for row, shown in zip(found, rows, strict=True):
                assert row.line == int(shown["line"])
                assert ("" if row.bits is None else f"{row.bits:.9g}") == (
                    f"{float(shown['bits']):.9g}" if shown["bits"] else ""
                )
                assert (row.rank is None) == (by != "unit" or row.bits is None)
                assert (row.bits_after is not None) <= (by == "word")
            html = found._repr_html_()
            assert html.startswith("<table>")
            assert html.count("<tr>") == min(200, len(found)) + 1
    texts = ["The ferry", "at", PLAIN, "noon"]
    for one, text in zip(model.scores(texts), texts, strict=True):
        alone = model.score(text)
        assert (one.characters, one.nll) == (alone.characters, pytest.approx(alone.nll, rel=1e-5))
    assert model.scores([]) == []
    lines = package.load(runs("lines", **SETTINGS["lines"]))
    found_scores = lines.scores(["The\nferry\n", "at"])
    assert [one.characters for one in found_scores] == [10, 3]
    assert found_scores[1].nll == pytest.approx(lines.score("at").nll, rel=1e-5)
    long = PLAIN * 30
    np.testing.assert_allclose(model.losses(long).sum(), model.score(long).nll, rtol=1e-9)
    assert model.surprisal("The Ξ", unknown="count")[1].bits is None
    with pytest.raises(package.VocabularyError, match="column 5"):
        model.surprisal("The Ξ")


def test_a_line_of_megabytes_has_a_row(runs: Callable[..., Path], charlm: Run, tmp_path: Path) -> None:
    """It is scored in parallel streams, and comes back whole."""
    line = "The ferry came over at noon. " * 9_000
    (tmp_path / "text").write_text(f"Once\n{line}\nmore")
    rows = table(charlm("score", "text", "--checkpoint", str(runs("char")), "--reset", "line").stdout)
    assert [row["content"] for row in rows] == ["Once", line, "more"]
    assert [int(row["characters"]) for row in rows] == [5, len(line) + 1, 5]
