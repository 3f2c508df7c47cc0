"""The command line for the unlucky and the mischievous: advice, terminals, devices, absurd requests."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import ENVIRONMENT, TEXT, Run, on_terminal

from charlm.cli import bar as bars

SMALL = """\
corpus: {path: text.txt, split: [0.8, 0.1, 0.1]}
model: {hidden: 16, layers: 1}
train: {batch: 4, seq_len: 8, epochs: 1}
run: {sample_every: 0}
"""

COMMAND = [sys.executable, "-m", "charlm"]


@pytest.fixture
def typed(charlm: Run, small: Path) -> Any:
    """A function that types a command of charlm into a shell; gives what it printed."""
    tools = small / "tools"
    tools.mkdir()
    (tools / "charlm").write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    (tools / "charlm").chmod(0o755)
    environment = {**ENVIRONMENT, "PATH": f"{tools}:{os.environ['PATH']}"}

    def run(command: str) -> str:
        script = ["/bin/sh", "-c", os.fsencode(command)]
        done = subprocess.run(script, cwd=small, env=environment, stdout=subprocess.PIPE, check=True)
        return charlm(*os.fsdecode(done.stdout).split("\0")[:-1]).stdout

    return run


def _one_line(error: str) -> str:
    assert error.count("\n") == 1, error
    assert error.startswith("Error: ")
    return error


@pytest.mark.parametrize("name", ['it\'s a "$(touch owned)"', "한\n글", "\x1b[2J\udcff"])
def test_advice_can_be_pasted(charlm: Run, small: Path, typed: Any, name: str) -> None:
    """Every command that charlm prints works as it is printed, whatever the directory is called."""
    first = charlm("train", "--config", "small.yaml", "--out", name, "--max-steps", "2")
    assert "\x1b" not in first.stdout + first.stderr
    resume = first.stdout.partition("to continue: ")[2].rstrip("\n")
    finished = typed(resume)
    found = re.search(r"next:\n  (.*)\n  (charlm eval.*)\n  (charlm export.*)\n", finished, re.DOTALL)
    assert found is not None
    assert typed(found[1])
    assert "nats/char" in typed(found[2])
    typed(found[3])
    again = typed(resume)
    assert "this run is finished" in again
    longer = re.search(r"to train longer: (.*train.epochs=2)\n", again, re.DOTALL)
    assert longer is not None
    assert "trained 2 epochs" in typed(longer[1])
    assert not (small / "owned").exists()


def test_early_stopping_is_announced(charlm: Run, small: Path, typed: Any) -> None:
    """The run says that patience ended it, and when; what it prints goes on to the last epoch."""
    done = charlm(
        *("train", "--config", "small.yaml", "--set", "train.patience=1", "--set", "train.lr=0.3"),
        *("--set", "train.epochs=9"),
    )
    found = re.search(
        r"ended early, after update (\d+) \(([\d.]+) of 9 epochs\): 1 validation in a row", done.stdout
    )
    assert found is not None, done.stdout
    assert float(found[2]) < 9
    resume = re.search("to go on: (.*)", done.stdout)
    assert resume is not None
    assert "trained 9 epochs" in typed(resume[1])


def test_a_finished_run_says_so(charlm: Run, trained: Path) -> None:
    """Resuming it trains nothing and repeats no speed; fewer epochs than it has are refused."""
    before = {file.name: file.read_bytes() for file in (trained / "runs/small").iterdir()}
    again = charlm("train", "--config", "runs/small", "--resume").stdout
    assert "this run is finished: 1 of 1 epoch" in again
    assert "chars/s" not in again
    refused = charlm("train", "--config", "runs/small", "--resume", "--set", "train.epochs=0.05", status=2)
    assert "train.epochs: 0.05 epochs end before update 11" in _one_line(refused.stderr)
    assert "it must be 1 at least" in refused.stderr
    after = {file.name: file.read_bytes() for file in (trained / "runs/small").iterdir()}
    assert after == before


ABSURD = [
    "model.hidden=1000000",
    "model.hidden=99999999999999999999",
    "model.layers=100000",
    "train.epochs=1e300",
    "run.sample_length=100000000",
    "run.threads=2000",
    "train.shards=100000",
]


@pytest.mark.parametrize("setting", ABSURD)
@pytest.mark.parametrize("command", ["train", "bench", "eval gradients"])
def test_what_cannot_be_is_refused(charlm: Run, small: Path, setting: str, command: str) -> None:
    """Sizes that no machine has and counts that no life is long enough for are one line, at once."""
    key = setting.partition("=")[0]
    done = charlm(*command.split(), "--config", "small.yaml", "--set", setting, status=2)
    assert key in _one_line(done.stderr)
    assert not (small / "runs").exists()


def test_long_windows_are_fitted_or_refused(charlm: Run, small: Path) -> None:
    """A window beyond the text is reduced with a warning; `bench`, which has no text, refuses it."""
    absurd = ("--set", "train.seq_len=1000000000")
    assert "train.seq_len from 1000000000 to" in charlm("train", "--config", "small.yaml", *absurd).stderr
    refused = charlm("bench", *absurd, status=2).stderr
    assert "train.seq_len (1,000,000,000)" in _one_line(refused)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "small.yaml"], ["--config"]),
        (["train", "--config", "small.yaml", "more.yaml"], ["more.yaml", "--config"]),
        (["info", "runs/small"], ["runs/small", "--checkpoint"]),
        (["sample", "runs/small"], ["runs/small", "--checkpoint"]),
        (["eval", "perplexity", "runs/small"], ["runs/small", "--checkpoint"]),
        (["bench", "small.yaml"], ["small.yaml", "--config"]),
        (["train", "--corpus", "text.txt", "text.txt"], ["pattern", "quotes", "--corpus '*.txt'"]),
        (
            ["eval", "perplexity", "--corpus", "./text.txt", "small.yaml", "."],
            ["3 follow it", "--corpus 'texts/*'"],
        ),
        (["train", "--corpus", "text.txt", "more"], ["more", "--config"]),
        (["train", "--config", "small.yaml", "--out", ""], ["--out", "path is empty"]),
        (["train", "--config", ""], ["--config", "path is empty"]),
        (["sample", "--checkpoint", ""], ["--checkpoint", "path is empty"]),
        (["sample", "--prime-file", ""], ["--prime-file", "path is empty"]),
        (["sample", "--temperature", "nan"], ["--temperature", "not a finite number"]),
        (["sample", "--temperature", "0"], ["--temperature", "--greedy takes the likeliest"]),
        (["sample", "The "], ["--prime"]),
        (["train", "text.txt"], ["--corpus"]),
        (["sample", "--temperature", "inf"], ["--temperature", "not a finite number"]),
        (["sample", "--top-p", "nan"], ["--top-p", "not a finite number"]),
        (["bench", "--seconds", "nan"], ["--seconds", "not a finite number"]),
        (["bench", "--seconds", "inf"], ["--seconds", "inf is not in the range"]),
        (["train", "--config", "small.yaml", "--set", "train.seq_len=1:30"], ["base 60"]),
        (["train", "--config", "small.yaml", "--set", "model.cell=yes"], ["yes", "put it in quotes"]),
        (
            ["train", "--config", "small.yaml", "--set", "corpus.split=[1,1,1]"],
            ["Error: --set: corpus.split"],
        ),
    ],
)
def test_a_mistake_is_answered_with_what_is_right(
    charlm: Run, small: Path, arguments: list[str], words: list[str]
) -> None:
    """Arguments without their option, empty paths and values of no meaning are one line."""
    refused = _one_line(charlm(*arguments, status=2).stderr)
    assert [word for word in words if word not in refused] == []
    assert not (small / "runs").exists()
    assert not (small / "metrics.jsonl").exists()


def test_a_tilde_is_the_home(charlm: Run, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home in `--out=~/a`, which no shell expands, and in every other option that names a path."""
    monkeypatch.setenv("HOME", str(small))
    tilde = ("--config=~/small.yaml", "--corpus=~/text.txt", "--out=~/runs/a")
    charlm("train", *tilde, "--max-steps", "1")
    charlm("train", "--config=~/runs/a", "--resume", "--max-steps", "2")
    charlm("sample", "--checkpoint=~/runs/a", "--prime-file=~/text.txt", "--length", "1")
    assert not (small / "~").exists()
    assert charlm("train", *tilde, "--out=~/runs/a", status=1).stderr.startswith("Error: ")


@pytest.mark.parametrize("option", ["--out", "--config", "--corpus", "--checkpoint", "--prime-file"])
def test_names_that_are_too_long(charlm: Run, small: Path, option: str) -> None:
    """A name that the file system refuses is one line, wherever it is given."""
    charlm("train", "--config", "small.yaml", "--out", "runs/other")
    command = "train" if option in ("--out", "--config", "--corpus") else "sample"
    config = () if command == "sample" or option == "--config" else ("--config", "small.yaml")
    status = 2 if option == "--config" else 1
    refused = charlm(command, *config, option, "n" * 300, status=status).stderr
    assert "file name too long" in _one_line(refused)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [["sample"], ["info"], ["train", "--help"]])
def test_a_full_disk_behind_the_output(trained: Path, arguments: list[str]) -> None:
    """What cannot be printed is one line on stderr, if there is room for it, and status 1."""
    with Path("/dev/full").open("wb") as full:
        for stderr in (subprocess.PIPE, full)[: 2 if arguments == ["info"] else 1]:
            done = subprocess.run(
                [*COMMAND, *arguments], cwd=trained, env=ENVIRONMENT, stdout=full, stderr=stderr, check=False
            )
            assert done.returncode == 1
            if done.stderr is not None:
                *_, error = done.stderr.decode().splitlines()
                assert error == "Error: standard output cannot be written: no space left on device"
                assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "streams", "status", "said"),
    [
        ("sample --greedy --length 5", "2>&-", 0, ""),
        ("info", ">&-", 1, "Error: standard output cannot be written: bad file descriptor\n"),
        ("train --config small.yaml --overwrite", "<&- >&- 2>&-", 1, ""),
        ("train --config small.yaml --corpus - --out new", "<&-", 1, "standard input is empty\n"),
    ],
)
def test_closed_streams(charlm: Run, small: Path, command: str, streams: str, status: int, said: str) -> None:
    """A command works without any of its streams, and no file gets the number of one that is closed."""
    charlm("train", "--config", "small.yaml", "--max-steps", "1")
    script = shlex.join([*COMMAND, *command.split()])
    done = subprocess.run(
        ["/bin/sh", "-c", f"{script} {streams}"], cwd=small, env=ENVIRONMENT, capture_output=True, check=False
    )
    assert done.returncode == status
    assert done.stderr.decode().endswith(said)
    assert done.stderr.count(b"\n") == said.count("\n")
    assert bool(done.stdout) == (not status)
    run = json.loads(charlm("info", "--checkpoint", "runs/small/last.npz", "--json").stdout)
    assert run["step"] == (11 if "--overwrite" in command else 1)
    assert not (small / "new").exists()


def test_a_directory_that_was_removed(small: Path) -> None:
    """A command in a directory that does not exist any more is one line."""
    script = f"mkdir gone; cd gone; rmdir ../gone; {shlex.join(COMMAND)} train --corpus text.txt"
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=small, env=ENVIRONMENT, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert "the current directory does not exist any more" in _one_line(done.stderr.decode())


def test_files_and_pipes_get_utf_8(charlm: Run, small: Path) -> None:
    """Whatever the encoding of the locale, no character is lost on its way into a file or a pipe."""
    (small / "text.txt").write_text("한국어 ĳ€ “quoted” " * 30, encoding="utf-8")
    charlm("train", "--config", "small.yaml", "--out", "한")
    sample = ("sample", "--checkpoint", ".", "--greedy", "--prime", "한국어 ĳ€")
    wanted = charlm(*sample)
    done = subprocess.run(
        [*COMMAND, *sample],
        cwd=small,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=True,
    )
    assert (done.stdout.decode(), done.stderr.decode()) == (wanted.stdout, wanted.stderr)
    assert "한/best.npz" in wanted.stderr


def test_a_sample_can_be_written_into_a_file(charlm: Run, small: Path) -> None:
    """It holds what would be printed, is replaced whole or left alone, and nothing else is printed."""
    (small / "text.txt").write_text("“ab”\n" * 100, encoding="utf-8")
    charlm("train", "--config", "small.yaml")
    for more in ([], ["--num", "3"], ["--raw"]):
        sample = ["sample", "--length", "9", "--seed", "1", "--prime", "“", *more]
        printed = charlm(*sample).stdout
        written = charlm(*sample, "--out", "one.txt")
        text = (small / "one.txt").read_bytes()
        count = "3 samples" if "--num" in more else "1 sample"
        assert text.decode() == printed
        assert (written.stdout, written.stderr.splitlines()[-1]) == (
            "",
            f"one.txt: {count}, {len(text)} bytes",
        )
    assert charlm(*sample, "--out", "-").stdout == printed
    before = sorted(small.iterdir())
    assert "no/x.txt cannot be written" in charlm(*sample, "--out", "no/x.txt", status=1).stderr
    refused = charlm("sample", "--out", "one.txt", "--prime", "é", status=1).stderr
    assert "é" in refused
    assert (small / "one.txt").read_bytes() == text
    assert sorted(small.iterdir()) == before


class _Terminal(io.StringIO):
    """What a terminal is told; `lines` are what it then shows."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        shown = []
        for line in self.getvalue().split("\n"):
            cells: list[str] = []
            for part in line.split("\r"):
                cells[: len(part)] = part
            shown.append("".join(cells).rstrip())
        return shown


def test_a_bar_is_removed_before_a_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said while a bar is shown stands alone on its line, and the bar comes back after it."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(bars, "_DELAY", 0)
    bar = bars.ReadingBar()
    bar.advance("total", 1_000_000)
    bar.advance("encoding", 500_000)
    assert terminal.lines()[0].startswith("encoding: ")
    bar.advance("measuring the speed of this machine", 0)
    assert terminal.lines() == ["measuring the speed of this machine", ""]
    bar.advance("encoding", 250_000)
    assert terminal.lines()[1].startswith("encoding: ")
    bar.close()
    assert terminal.lines() == ["measuring the speed of this machine", ""]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ("eval perplexity", "scoring"),
        ("eval perplexity --window 7", "scoring"),
        ("eval gradients --config small.yaml --set model.cell=rnn", "checking gradients"),
        ("report", "making the page"),
        ("sample --out text.txt --num 2", "writing"),
    ],
)
def test_long_work_has_a_bar(
    charlm: Run, small: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, what: str
) -> None:
    """The bar of each command that can take long ends at 100 %."""
    (small / "text.txt").write_text("a small vocabulary " * 20)
    charlm("train", "--config", "small.yaml", "--max-steps", "1")
    told: list[tuple[str, int]] = []
    monkeypatch.setattr(bars.ReadingBar, "advance", lambda bar, *news: told.append(news))
    charlm(*arguments.split())
    totals = [place for place, (name, _) in enumerate(told) if name == "total"]
    assert sum(count for name, count in told[totals[-1] :] if name == what) == told[totals[-1]][1] > 2


def test_the_bar_fits_the_window(small: Path) -> None:
    """When the window becomes narrower the bar is drawn anew, and never needs more than a line."""
    shown = on_terminal(
        ["train", "--config", "small.yaml", "--set", "train.epochs=50", "--set", "run.eval_every=1000"],
        small,
        40,
    ).decode()
    before, redrawn, after = shown.partition("\x1b[J")
    assert redrawn
    assert "nats, " in before
    bars = [line for line in re.split("[\r\n]+", after) if re.match(r" *\d+%", line)]
    assert len(bars) > 2
    assert max(map(len, bars)) < 40
    assert "50/" not in "".join(bars)


def test_a_model_cannot_steer_a_terminal(charlm: Run, small: Path) -> None:
    """Control characters are shown as signs on a terminal, and written as they are into a pipe."""
    (small / "text.txt").write_bytes(b"\x1b[2J\r\x08\x07\xc2\x9b31m \xe2\x80\xae" * 60)
    charlm("train", "--config", "small.yaml")
    sample = ["sample", "--length", "60", "--seed", "1"]
    shown = on_terminal(sample, small).decode()
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown.replace("\r\n", "\n")) == []
    assert "␛" in shown
    assert "<U+009B>" in shown
    scored = on_terminal(["score", "text.txt", "--by", "unit"], small).decode()
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", scored.replace("\r\n", "\n")) == []
    piped = charlm(*sample).stdout
    assert "\x1b" in piped
    assert "␛" not in piped
    for arguments in (["info"], ["eval", "perplexity"]):
        assert "\x1b" not in "".join((charlm(*arguments).stdout, charlm(*arguments).stderr))


def test_names_cannot_steer_a_terminal(charlm: Run, small: Path) -> None:
    """A hostile name of a file is shown with signs in headers, warnings, errors and listings."""
    name = "\x1b[2J.txt"
    (small / name).write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    done = charlm("train", "--config", "small.yaml", "--corpus", name)
    shown = done.stdout + done.stderr
    for arguments in (["eval", "perplexity"], ["info"], ["info", "--cache"]):
        done = charlm(*arguments)
        shown += done.stdout + done.stderr
    shown += charlm("train", "--config", "small.yaml", "--corpus", f"no {name}", status=1).stderr
    assert "␛[2J.txt" in shown
    assert "\x1b" not in shown


def test_numpy_does_not_speak_before_the_error(process: Run, small: Path) -> None:
    """A run that diverges, with two workers, is one line: no warning of the arithmetic before it."""
    done = process(
        *("train", "--config", "small.yaml", "--set", "train.lr=3e38", "--set", "run.threads=2"),
        *("--set", "train.batch=16", "--set", "train.epochs=20"),
        status=1,
    )
    assert "encountered in" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: update 2: the loss is not a finite number")


def test_what_is_probably_not_meant_is_a_warning(charlm: Run, small: Path) -> None:
    """A long warm-up, millions of tiny updates, and odd characters in the text are said before training."""
    train = ("train", "--config", "small.yaml", "--overwrite", "--max-steps", "1")
    assert "Warning" not in charlm(*train).stderr
    assert (
        "train.warmup of 12 updates is longer than the run of 11"
        in charlm(*train, "--set", "train.warmup=12").stderr
    )
    tiny = charlm(
        *train, "--set", "train.batch=1", "--set", "train.seq_len=1", "--set", "train.epochs=10000"
    ).stderr
    assert "updates of 1 x 1 characters take long: a larger train.batch" in tiny
    (small / "text.txt").write_text(TEXT.replace(". ", ".\r\n"), newline="")
    assert "corpus.newlines=lf converts them" in charlm(*train).stderr
    assert "Warning" not in charlm(*train, "--set", "corpus.newlines=lf").stderr
    (small / "text.txt").write_text(TEXT + "\0\x1b\ufffd", encoding="utf-8")
    odd = charlm(*train).stderr
    for words in ("NUL characters", "escape characters", "replacement characters"):
        assert f"Warning: the text holds {words}" in odd


def test_options_without_effect_are_named(charlm: Run, trained: Path) -> None:
    """What another option makes pointless is a warning, and the text is the same."""
    greedy = charlm("sample", "--greedy", "--prime", "the", "--length", "9")
    told = charlm(
        "sample", "--greedy", "--prime", "the", "--length", "9", "--temperature", "2", "--top-k", "3"
    )
    assert told.stdout == greedy.stdout
    assert "--temperature has no effect with --greedy" in told.stderr
    assert "--top-k has no effect with --greedy" in told.stderr
    assert "Warning" not in greedy.stderr
    assert (
        "no effect without --prime-file" in charlm("sample", "--encoding", "cp1252", "--length", "1").stderr
    )


def test_an_encoding_is_for_another_text(charlm: Run, trained: Path) -> None:
    """The model's own text has its encoding: `--encoding` without another text is an error."""
    for command in (["eval", "perplexity"], ["report"]):
        refused = charlm(*command, "--encoding", "cp1252", status=2).stderr
        assert "--encoding has no effect on the model's own text" in refused


def test_the_likeliest_is_written_once(charlm: Run, trained: Path) -> None:
    """Several greedy samples would be the same: one is written, and a warning says why."""
    greedy = charlm("sample", "--greedy", "--prime", "the", "--length", "9")
    done = charlm("sample", "--greedy", "--prime", "the", "--length", "9", "--num", "2")
    assert done.stdout == greedy.stdout
    assert "--num has no effect with --greedy" in done.stderr
    assert "--num" not in charlm("sample", "--greedy", "--length", "9", "--num", "1").stderr


def test_a_backslash_is_no_line_break(charlm: Run, small: Path, typed: Any) -> None:
    """A shell leaves backslash and n as they are: a warning names what makes line breaks of them."""
    (small / "text.txt").write_text("it's\n\\n\n" * 40)
    charlm("train", "--config", "small.yaml")
    for option in ("--stop", "--prime"):
        warned = charlm("sample", "--length", "3", option, "it's\\n\\n").stderr
        words = re.search(r"which is (.*)", warned)
        assert words is not None
        assert words[1] == rf"{option} $'it\'s\n\n'"
    assert "Warning" not in charlm("sample", "--length", "3", "--stop", "s\n").stderr


def test_greedy_lines_are_one(charlm: Run, small: Path) -> None:
    """A model of lines writes ten lines, but the likeliest only once."""
    (small / "text.txt").write_text("".join(f"{a}{b}{c}\n" for a in "mnp" for b in "aeo" for c in "lrst"))
    charlm("train", "--config", "small.yaml", "--set", "corpus.mode=lines")
    assert charlm("sample", "--seed", "1").stdout.count("\n") == 10
    assert charlm("sample", "--greedy", "--seed", "1").stdout.count("\n") == 1


def test_the_run_that_was_chosen_is_named(charlm: Run, trained: Path) -> None:
    """On stderr, if the newest was taken; a run that was named is not repeated."""
    for command in (["sample", "--length", "1"], ["eval", "perplexity", "--json"]):
        assert charlm(*command).stderr == "using runs/small/best.npz\n"
        assert charlm(*command, "--checkpoint", "runs").stderr == "using runs/small/best.npz\n"
        assert charlm(*command, "--checkpoint", "runs/small").stderr == ""
        assert charlm(*command, "--checkpoint", "runs/small/last.npz").stderr == ""


def test_losses_and_cached_texts_have_names(charlm: Run, small: Path, cache: Path) -> None:
    """`info` says what a loss is of, and tells two readings of one text apart."""
    charlm("info", "--clear-cache")
    charlm("train", "--config", "small.yaml")
    assert re.search(
        r"^validation loss .* nats .* bits/char\nbest validation loss", charlm("info").stdout, re.MULTILINE
    )
    charlm("train", "--config", "small.yaml", "--out", "whole", "--set", "corpus.split=[1, 0, 0]",
           "--set", "corpus.lowercase=true", "--set", "corpus.normalize=nfd")  # fmt: skip
    assert re.search("^training loss", charlm("info", "--checkpoint", "whole").stdout, re.MULTILINE)
    listed = charlm("info", "--cache").stdout
    assert "chars of text.txt" in listed
    assert re.search(r"chars \(normalize 'nfd', lowercase\) of text.txt", listed), listed


@pytest.mark.parametrize("source", ["/dev/zero", "-"])
def test_what_has_no_end_is_not_begun(small: Path, source: str) -> None:
    """A device is refused as a text, by name or as standard input."""
    with Path("/dev/zero").open("rb") as zero:
        done = subprocess.run(
            [*COMMAND, "train", "--config", "small.yaml", "--corpus", source],
            cwd=small, env=ENVIRONMENT, stdin=zero, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "a device" in _one_line(done.stderr)


@contextmanager
def _started(small: Path, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, "train", "--config", "small.yaml", *arguments],
        cwd=small, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("source", ["pipe", "-"])
def test_a_pipe_without_a_writer_is_named(small: Path, source: str) -> None:
    """Who waits for a text is told so; Ctrl-C ends the wait, since there is nothing to save."""
    os.mkfifo(small / "pipe")
    with _started(small, "--corpus", source, stdin=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert "waiting for a text from" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert not (small / "runs").exists()


def test_a_pipe_may_be_written_late(small: Path) -> None:
    """Who waits for a text goes on when it comes."""
    os.mkfifo(small / "pipe")
    with _started(small, "--corpus", "pipe", "--max-steps", "1") as process:
        assert process.stderr is not None
        assert "waiting" in process.stderr.readline()
        (small / "pipe").write_text(TEXT)
        process.communicate(timeout=20)
        assert process.returncode == 0


def test_a_signal_ends_a_preview(small: Path) -> None:
    """Ctrl-C does not wait for a preview of any length; a second one is announced."""
    settings = ("run.sample_every=0.01", "run.sample_length=1000000", "train.epochs=100")
    with _started(small, *(f"--set={setting}" for setting in settings)) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("run in"):
                break
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        output, shown = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - began < 15
    assert "once more stops at once" in shown
    assert "stopped after update 1;" in output


def test_a_directory_of_a_persons_own(charlm: Run, small: Path) -> None:
    """A config.yaml that belongs to no run is neither a run nor replaced, with --overwrite too."""
    shutil.move(small / "small.yaml", small / "config.yaml")
    for more in ([], ["--overwrite"]):
        refused = charlm("train", "--config", "config.yaml", "--out", ".", *more, status=1).stderr
        assert "config.yaml belongs to no run" in _one_line(refused)
    assert (small / "config.yaml").read_text() == SMALL


def test_help_is_whole(charlm: Run) -> None:
    """No summary of a command is cut."""
    for group in ([], ["eval"]):
        assert "..." not in re.sub(r"\[ARGS\]\.\.\.", "", charlm(*group, "--help").stdout)
