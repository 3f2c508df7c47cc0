"""How values look: numbers, what could steer a terminal, commands to paste."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.cli import options
from charlm.cli.bar import ReadingBar
from charlm.cli.options import shown_warnings
from charlm.cli.show import (
    counted,
    decimal,
    duration,
    one_line,
    say,
    shell,
    short,
    shown_paths,
    visible,
    with_options,
)
from charlm.system.errors import CharlmError
from charlm.system.team import Team


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.23456, "1.2346"),
        (-1e-9, "0.0000"),
        (-0.5, "-0.5000"),
        (9999.99996, "10000.0000"),
        (5.66e30, "5.7e+30"),
        (float("inf"), "inf"),
    ],
)
def test_decimals(value: float, shown: str) -> None:
    """Four decimals, never a negative zero, never thirty digits."""
    assert decimal(value) == shown


def test_words_for_numbers() -> None:
    """Counts agree with their nouns, epochs have two decimals or digits, durations their largest units."""
    assert [counted(n, "update") for n in (0, 1, 1200)] == ["0 updates", "1 update", "1,200 updates"]
    assert [short(x) for x in (9.0, 100.0, 0.201581, 0.25, 0.5)] == ["9", "100", "0.2", "0.25", "0.5"]
    assert [short(x) for x in (0.0, 0.004217, 0.1, 1e-6)] == ["0", "0.0042", "0.1", "0.000001"]
    assert [duration(x) for x in (12, 59.6, 90, 3900)] == ["12 s", "1 min 0 s", "1 min 30 s", "1 h 5 min"]
    assert shown_paths(["-"]) == "standard input"


def test_what_could_steer_a_terminal_is_shown_as_a_sign() -> None:
    """Control characters, lone surrogates and changes of direction have signs; letters and emoji stay."""
    assert visible("\x1b[2J\b\r\a\x7f\t\n") == "␛[2J␈␍␇␡␉␊"
    assert visible("\x9b31m\u202eabc\u2028\udcff") == "<U+009B>31m<U+202E>abc<U+2028><U+DCFF>"
    plain = "한글 naïve\u00a0\u3000👩\u200d🚀"
    assert visible(plain) == plain
    assert visible("a\n\tb", keep="\n\t") == "a\n\tb"
    assert one_line("no\n  such \x1b file") == "no such ␛ file"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is always full")
def test_what_cannot_be_said_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk behind stderr ends nothing."""
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        say("a warning")
        with pytest.raises(OSError, match="No space left"):
            full.flush()
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(words=st.lists(WORDS, min_size=1, max_size=3))
@example(words=["it's", "", '$HOME `ls` \\ "', "a\nb\n", "\x1b[2J\n", "-x", "~", "한 글"])
@example(words=["\udcff \udc80"])
def test_a_shell_reads_the_words_that_were_quoted(words: list[str]) -> None:
    """Whatever a word holds, a POSIX shell reads it back, and no control character is in the command."""
    command = shell(*words)
    assert visible(command, keep="\n") == command
    printed = subprocess.run(["/bin/sh", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True)
    assert printed.stdout == b"".join(os.fsencode(word) + b"\0" for word in words)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("already holds a run: `resume=True` continues it", "already holds a run: --resume continues it"),
        ("`extend_vocabulary=True` adds them", "--extend-vocabulary adds them"),
        ("`out=DIR` goes elsewhere", "--out DIR goes elsewhere"),
        ("`init=runs/my text` begins a new run", "--init 'runs/my text' begins a new run"),
        ("`stop` holds what", "--stop holds what"),
        ("`corpus.unit=byte`, '`' once", "--set corpus.unit=byte, '`' once"),
    ],
)
def test_the_command_line_shows_options_where_messages_name_arguments(message: str, shown: str) -> None:
    """An argument between backticks becomes the option; a value is quoted for the shell, keys stay."""
    assert with_options(message) == shown


def test_only_warnings_of_the_package_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A user sees what the package warns of, not what Python tells its programmers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with shown_warnings(ReadingBar()):
            warnings.warn("the text is short", stacklevel=1)
            warnings.warn("unclosed file", ResourceWarning, stacklevel=1)
    assert capsys.readouterr().err == "Warning: the text is short\n"


@pytest.mark.parametrize("rank", [0, 1])
def test_warnings_come_before_the_error_that_follows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    """What was warned of may explain the error; ranks other than the first show neither."""
    monkeypatch.setattr(options, "connected", lambda: Team(rank=rank))

    @shown_warnings(ReadingBar())
    def fail() -> None:
        warnings.warn("the text is short", stacklevel=1)
        raise CharlmError("nothing fits")

    with pytest.raises(CharlmError, match="nothing fits"):
        fail()
    assert capsys.readouterr().err == "Warning: the text is short\n" * (rank == 0)
