"""Texts of every kind through the real commands: files in any number, units, lines, the cache."""

from __future__ import annotations

import contextlib
import gzip
import json
import lzma
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ENVIRONMENT, TEXT, Run

SMALL = """\
corpus:
  path: {path}
  split: [0.8, 0.1, 0.1]
model: {{hidden: 16, layers: 1}}
train: {{batch: 4, seq_len: 8, epochs: 2}}
run: {{sample_every: 0}}
"""

NAMES = [f"{first}{last}" for first in ("an", "ber", "cor", "dan", "el") for last in ("a", "na", "is", "ric")]

KOREAN = "나룻배가 강을 건너왔다. 각각 값을 물었다.\n" * 20


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write files, the first of them the text of `small.yaml`."""

    def make(**files: str | bytes) -> Path:
        for name, contents in files.items():
            file = tmp_path / name.replace("__", ".")
            file.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        first = next(iter(files)).replace("__", ".")
        (tmp_path / "small.yaml").write_text(SMALL.format(path=first))
        return tmp_path

    return make


def _train(charlm: Run, *settings: str, **options: Any) -> str:
    sets = [part for setting in settings for part in ("--set", setting)]
    return charlm("train", "--config", "small.yaml", "--overwrite", *sets, **options).stderr


def _eval(charlm: Run, *options: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(charlm("eval", "perplexity", "--json", *options).stdout)
    return values


def test_a_corpus_of_many_files(charlm: Run, write: Any) -> None:
    """Files, patterns, directories and packed files make one text, the separator between two of them."""
    directory = write(
        one__txt=TEXT, two__gz=gzip.compress(b"zwei" * 30), three__xz=lzma.compress(b"drei" * 30)
    )
    (directory / "more").mkdir()
    (directory / "more" / "b.txt").write_text("B" * 40)
    (directory / "more" / "a.txt").write_text("A" * 40)
    _train(charlm, "corpus.path=[one.txt, '*.gz', three.xz, more]", "corpus.separator='|'")
    whole = len(TEXT) + 120 + 120 + 80 + 4
    assert json.loads(charlm("info", "--json").stdout)["corpus"]["characters"] == whole
    assert _eval(charlm, "--split", "train")["characters"] == int(0.8 * whole) - 1


def test_a_corpus_from_standard_input(charlm: Run, process: Run, write: Any) -> None:
    """A text can be piped in, trained on, resumed with the same text, and scored."""
    write(text__txt=TEXT)
    train = ("train", "--config", "small.yaml", "--corpus", "-", "--max-steps", "3")
    assert process(*train, input=TEXT).stdout.endswith("--resume < TEXT\n")
    resume = ("train", "--config", "runs/small/config.yaml", "--resume")
    charlm(*resume, input=TEXT)
    refused = charlm(*resume, status=1, input="other " * 90).stderr
    assert "not the one that this run was trained on" in refused
    scored = json.loads(charlm("eval", "perplexity", "--json", input=TEXT).stdout)
    assert scored == _eval(charlm, "--corpus", "text.txt", "--split", "test")


@pytest.fixture
def pipe() -> Iterator[Callable[[str], str]]:
    """A function that puts a text into a pipe, as a shell's `<(…)` does, and gives the pipe's path."""
    with contextlib.ExitStack() as opened:

        def put(text: str) -> str:
            read, write = os.pipe()
            opened.callback(os.close, read)
            os.write(write, text.encode())
            os.close(write)
            return f"/dev/fd/{read}"

        yield put


def test_a_pipe_of_the_shell_is_standard_input_later(
    charlm: Run, write: Any, pipe: Callable[[str], str]
) -> None:
    """No later command can read `<(…)` again: training says so, and what it prints asks for the text."""
    directory = write(text__txt=TEXT)
    path = pipe(TEXT)
    done = charlm("train", "--config", "small.yaml", "--corpus", path, "--max-steps", "3")
    assert f"Warning: no later command can read {path} again" in done.stderr
    assert done.stdout.endswith("--resume < TEXT\n")
    assert "path: '-'\n" in (directory / "runs/small/config.yaml").read_text()
    charlm("train", "--config", "runs/small", "--resume", input=TEXT)
    charlm("train", "--config", "runs/small", "--resume", "--corpus", pipe(TEXT))
    scored = charlm("eval", "perplexity", "--json", input=TEXT).stdout
    assert json.loads(scored) == _eval(charlm, "--corpus", "text.txt", "--split", "test")
    assert json.loads(scored) == _eval(charlm, "--corpus", pipe(TEXT), "--split", "test")
    assert "its standard input, < TEXT" in charlm("eval", "perplexity", status=1).stderr


@pytest.mark.parametrize(
    ("setting", "named"),
    [("corpus.path=[{}, {}]", "corpus.path"), ("corpus.validation={}", "corpus.validation")],
)
def test_a_pipe_that_no_command_can_read_again(
    charlm: Run, write: Any, pipe: Callable[[str], str], setting: str, named: str
) -> None:
    """Two pipes, or one for a split, cannot both be standard input later: they are refused at once."""
    directory = write(text__txt=TEXT)
    setting = setting.format(*(pipe(TEXT) for _ in range(setting.count("{}"))))
    refused = charlm("train", "--config", "small.yaml", "--set", setting, status=2).stderr
    assert refused.startswith(f"Error: {named}: no later command can read ")
    assert "name " in refused
    assert not (directory / "runs").exists()


def test_a_text_from_standard_input_is_kept(charlm: Run, write: Any) -> None:
    """A run that begins with the weights of another reads its text twice, though it is piped in once."""
    write(text__txt=TEXT)
    _train(charlm)
    begin = ("train", "--config", "small.yaml", "--init", "runs/small", "--corpus", "-", "--out", "new")
    known = charlm(*begin, "--max-steps", "2", input=TEXT[::-1]).stderr
    assert "vocabulary of 29" in known
    more = charlm(*begin, "--extend-vocabulary", "--overwrite", "--max-steps", "2", input=TEXT.upper()).stderr
    assert "vocabulary of 55" in more
    resume = ("train", "--config", "new", "--resume")
    charlm(*resume, "--max-steps", "4", input=TEXT.upper())
    # the run keeps the vocabulary it began with, which is not that of the text alone
    assert "vocabulary of 55" in charlm(*resume, input=TEXT.upper()).stderr


def test_a_moved_or_grown_text_has_a_way_out(charlm: Run, write: Any) -> None:
    """Errors about the text of a run name the option that helps, and it does."""
    directory = write(text__txt=TEXT, valid__txt=TEXT[:70])
    _train(charlm, "corpus.validation=valid.txt")
    figures = _eval(charlm)
    (directory / "text.txt").rename(directory / "moved.txt")
    resume = ("train", "--config", "runs/small", "--resume", "--set", "train.epochs=3")
    gone = charlm("eval", "perplexity", status=1).stderr
    assert "no such file or directory; --corpus names another one, or this one where it is now" in gone
    assert _eval(charlm, "--corpus", "moved.txt", "--split", "test") == figures
    gone = charlm(*resume, status=1).stderr
    assert "; --corpus or --set corpus.validation=FILE names it where it is now" in gone
    charlm(*resume, "--corpus", "moved.txt")
    with (directory / "moved.txt").open("a") as text:
        text.write(TEXT)
    changed = charlm("eval", "perplexity", status=1).stderr
    assert "name it with --corpus" in changed
    assert "train with --init RUN" in changed
    _eval(charlm, "--corpus", "moved.txt")
    assert "--init instead of --resume" in charlm(*resume, status=1).stderr
    charlm("train", "--config", "small.yaml", "--corpus", "moved.txt", "--init", "runs/small", "--out", "new")


@pytest.mark.parametrize(
    ("settings", "are_characters"),
    [
        ([], True),
        (["corpus.normalize=nfd"], False),
        (["corpus.unit=byte"], False),
        (["corpus.newlines=lf", "corpus.lowercase=true"], False),
        (["corpus.lowercase=true"], True),
    ],
    ids=["char", "jamo", "byte", "folded", "small"],
)
def test_bits_are_comparable(charlm: Run, write: Any, settings: list[str], are_characters: bool) -> None:
    """Whatever the units, all nats are divided by the same originals: characters, and bytes of UTF-8."""
    text = KOREAN.replace("\n", "\r\n")
    write(text__txt=text)
    _train(charlm, *settings)
    scored = _eval(charlm, "--corpus", "text.txt")
    bits = scored["nats_per_char"] * scored["characters"] / math.log(2)
    # the first unit, which nothing stands before, is not scored: its character counts if it has more units
    assert scored["original_characters"] in (len(text) - 1, len(text))
    assert scored["bytes"] in (len(text.encode()) - 3, len(text.encode()) - 1, len(text.encode()))
    assert scored["bits_per_byte"] == pytest.approx(bits / scored["bytes"])
    assert ("bits_per_original_char" in scored) != are_characters
    shown = charlm("eval", "perplexity", "--corpus", "text.txt").stdout
    if not are_characters:
        assert scored["bits_per_original_char"] == pytest.approx(bits / scored["original_characters"])
        assert f"in the original {scored['original_characters']:,} characters, " in shown
        assert f" {scored['bits_per_original_char']:.4f} bits each" in shown
    assert f"   {scored['bits_per_byte']:.4f} bits/byte" in shown


def test_encodings_and_marks(charlm: Run, write: Any) -> None:
    """A text in another encoding is the same text; a byte-order mark is left out, and said to be."""
    write(text__txt="\ufeff" + KOREAN, other__txt=KOREAN.encode("cp949"))
    shown = _train(charlm)
    assert "text.txt begins with a byte-order mark, which is removed" in shown
    first = json.loads(charlm("info", "--json").stdout)
    _train(charlm, "corpus.path=other.txt", "corpus.encoding=cp949")
    second = json.loads(charlm("info", "--json").stdout)
    assert first["vocabulary"] == second["vocabulary"]
    assert first["best_validation_loss"] == second["best_validation_loss"]
    wrong = charlm("train", "--config", "small.yaml", "--corpus", "other.txt", "--overwrite", status=1).stderr
    assert "other.txt is not UTF-8: byte 0 (0xb3, line 1)" in wrong
    assert "--set corpus.encoding=cp949" in wrong
    scored = _eval(charlm, "--corpus", "text.txt", "--encoding", "utf-8")
    wrong = charlm("eval", "perplexity", "--corpus", "text.txt", status=1).stderr
    assert "text.txt is UTF-8, not CP949, by its first bytes" in wrong
    assert "--encoding utf-8" in wrong
    assert charlm("report", "--text", "text.txt", status=1).stderr == wrong
    refused = charlm("report", "--text", "text.txt", "--encoding", "utf-16", status=1).stderr
    assert "text.txt is UTF-8, not UTF-16, by its first bytes" in refused
    assert scored == _eval(charlm, "--corpus", "other.txt")


def test_primes_are_read_like_the_corpus(charlm: Run, write: Any) -> None:
    """Small letters, line breaks and normal forms are made of a prime as of the text; files too."""
    directory = write(text__txt="Éa\r\nbc " * 60)
    _train(charlm, "corpus.lowercase=true", "corpus.newlines=lf", "corpus.normalize=nfd")
    shown = charlm("sample", "--prime", "ÉA\r\nB", "--length", "0").stdout
    assert shown == "éa\nb\n"
    (directory / "prime.txt").write_bytes("\ufeffE\u0301A\r\nB".encode())
    assert charlm("sample", "--prime-file", "prime.txt", "--length", "0").stdout == shown


def test_rare_characters_are_one_unit(charlm: Run, write: Any) -> None:
    """With min_count, what is rare or unknown is mapped to <unk> and counted, and never generated."""
    write(text__txt=TEXT * 2 + "§" + TEXT, other__txt="§the §ß quick ß fox")  # the first is not scored
    _train(charlm, "corpus.min_count=2", "train.epochs=1")
    info = json.loads(charlm("info", "--json").stdout)
    assert info["vocabulary"]["has_unknown"]
    assert ord("§") not in info["vocabulary"]["codes"]
    assert _eval(charlm, "--corpus", "other.txt")["unknown"] == 3
    assert "3 of them unknown to the model" in charlm("eval", "perplexity", "--corpus", "other.txt").stdout
    sampled = charlm("sample", "--prime", "a§ßß", "--length", "3000", "--temperature", "5", "--seed", "1")
    assert "'ß' (U+00DF) 2 times, '§' (U+00A7) once" in sampled.stderr
    assert sampled.stdout.startswith("a§ßß")
    assert set(sampled.stdout[4:]) <= {chr(code) for code in info["vocabulary"]["codes"]} | {"\n"}


def test_raw_bytes(charlm: Run, write: Any) -> None:
    """Bytes that are no text are shown as replacement characters, and with --raw come out as they are."""
    directory = write(text__bin=bytes(range(256)) * 8)
    _train(charlm, "corpus.unit=byte", "train.epochs=1")
    options = ("sample", "--length", "200", "--seed", "3", "--prime", "a")
    command = [sys.executable, "-m", "charlm", *options, "--raw"]
    raw = subprocess.run(command, cwd=directory, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True).stdout
    shown = charlm(*options).stdout
    assert len(raw) == 201
    assert raw.decode("utf-8", "replace") + "\n" == shown
    assert "\N{REPLACEMENT CHARACTER}" in shown


def test_stop_after_lines_and_novelty(charlm: Run, write: Any) -> None:
    """Samples can end after some lines, and tell how much of them occurs in the training text."""
    write(text__txt="the quick brown fox jumps over it\n" * 40)
    _train(charlm, "train.epochs=16", "train.lr=0.03", "model.hidden=24", "run.eval_every=8")
    done = charlm("sample", "--stop-after-lines", "3", "--length", "2000", "--greedy", "--novelty")
    assert done.stdout == "the quick brown fox jumps over it\n" * 3 + "\n"
    assert f"100.0 % of {3 * 34 - 19} stretches of 20 characters occur in the training text" in done.stderr
    prime = ("--prime", "the quick brown fox jumps over it")  # which was not generated
    hot = charlm("sample", "--length", "300", "--temperature", "9", "--novelty", "--seed", "1", *prime).stderr
    assert "\n0.0 % of 281 stretches" in hot


def test_novelty_without_the_text(charlm: Run, write: Any) -> None:
    """Where the training text is gone or has changed, the sample is there and a warning says why no more."""
    directory = write(text__txt=TEXT)
    _train(charlm, "train.epochs=1")
    (directory / "text.txt").write_text(TEXT + "!" + TEXT)
    changed = charlm("sample", "--length", "5", "--novelty", "--seed", "1")
    assert "nothing to compare with: text" in changed.stderr
    assert "has changed since the model was trained on it" in changed.stderr
    (directory / "text.txt").unlink()
    gone = charlm("sample", "--length", "5", "--novelty", "--seed", "1")
    assert "nothing to compare with" in gone.stderr
    assert gone.stdout == changed.stdout


def test_lines(charlm: Run, write: Any) -> None:
    """A model of lines trains, is scored and generates by line, and counts new lines right."""
    write(names__txt="\r\n".join([*NAMES, "", *NAMES]))  # an empty line, and none behind the last
    sets = ("train.epochs=40", "train.lr=0.02", "model.hidden=32", "run.eval_every=20")
    shown = _train(charlm, "corpus.mode=lines", *sets)
    assert f"{2 * len(NAMES)} lines" in shown
    scored = _eval(charlm, "--split", "test")
    assert scored["nats_per_char"] < 1.5
    every = _eval(charlm, "--corpus", "names.txt")
    assert every["characters"] == sum(len(name) + 1 for name in NAMES) * 2
    assert every["bytes"] == every["original_characters"] == every["characters"]
    assert "40 lines, each from a zero state" in charlm("eval", "perplexity", "--corpus", "names.txt").stdout
    sampled = charlm("sample", "--num", "30", "--seed", "1")
    lines = sampled.stdout.splitlines()
    assert len(lines) == 30
    assert all(lines)
    stopped = charlm("sample", "--num", "30", "--seed", "1", "--stop", "a").stdout.splitlines()
    assert stopped == [line[: line.find("a") + 1] or line for line in lines]
    # which of them are in the training split only the corpus knows; all training lines are names
    known = int(sampled.stderr.split("30 lines: ")[1].split(" new, ")[1].split()[0])
    assert 0 < known <= sum(line in NAMES for line in lines)
    primed = charlm("sample", "--prime", "ber", "--seed", "1").stdout.splitlines()
    assert len(primed) == 10
    assert all(line.startswith("ber") for line in primed)
    assert (
        "2 lines: 0 new, 0 in the training text, 2 cut off"
        in charlm("sample", "--num", "2", "--length", "1").stderr
    )


def test_no_line_is_empty(charlm: Run, write: Any) -> None:
    """A model of lines that has learned nothing yet generates no empty line, in previews neither."""
    write(names__txt="a\n" * 40 + "b\n" * 40)
    shown = _train(charlm, "corpus.mode=lines", "train.epochs=0.1", "run.sample_every=0.1", "train.lr=1e-9")
    previewed = [line for line in shown.splitlines() if line.startswith("  | ")]
    assert len(previewed) > 20
    assert all(line[4:] for line in previewed)
    assert all(charlm("sample", "--num", "40", "--seed", "1").stdout.splitlines())


def test_long_lines_among_short_ones_warn(charlm: Run, write: Any) -> None:
    """Where one long line makes most of the work padding, training says so."""
    write(names__txt="\n".join([*NAMES, "x" * 2000]))
    shown = _train(charlm, "corpus.mode=lines", "train.epochs=0.1", "corpus.split=[1,0,0]", "train.batch=20")
    assert "% of the work is padding beside long lines: the longest has 2,001 characters" in shown


def test_what_can_never_come_is_refused(charlm: Run, write: Any) -> None:
    """A sample cannot be ended by what the model never generates."""
    write(text__txt="abc " * 99 + "§")
    _train(charlm, "corpus.min_count=2", "train.epochs=1")
    assert "never generates" in charlm("sample", "--stop", "§", status=2).stderr
    assert "knows no line breaks" in charlm("sample", "--stop-after-lines", "1", status=2).stderr


def test_other_texts_have_encodings_of_their_own(charlm: Run, write: Any) -> None:
    """A prime's file, and a text to score, need not be in the training text's encoding."""
    directory = write(text__txt=KOREAN.encode("cp949"), other__txt=KOREAN)
    _train(charlm, "corpus.encoding=cp949", "train.epochs=1")
    whole = _eval(charlm, "--corpus", "other.txt", "--encoding", "utf-8")
    assert whole == _eval(charlm, "--corpus", "text.txt")
    (directory / "prime.txt").write_text("강을")
    options = ("sample", "--prime-file", "prime.txt", "--length", "0")
    assert charlm(*options, "--encoding", "utf8").stdout == "강을\n"
    refused = charlm(*options, "--encoding", "ascii", status=1).stderr
    assert "prime prime.txt is not ASCII: byte 0" in refused
    assert "it can be read as utf-8 (강을): use --encoding utf-8" in refused
    assert "not a text encoding" in charlm(*options, "--encoding", "rot13", status=2).stderr


def test_an_empty_path_is_no_directory(charlm: Run, write: Any) -> None:
    """`--corpus ""`, as an unset variable leaves it, does not mean all that lies around."""
    write(text__txt=TEXT)
    assert (
        "--corpus: the path is empty"
        in charlm("train", "--config", "small.yaml", "--corpus", "", status=2).stderr
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "--prime", "a\nb"], "cannot hold a line break"),
        (["sample", "--novelty"], "--novelty is for texts"),
        (["sample", "--stop-after-lines", "2"], "--stop-after-lines is for texts"),
        (["eval", "perplexity", "--window", "8"], "--window is for texts"),
    ],
)
def test_what_lines_cannot_do(charlm: Run, write: Any, arguments: list[str], message: str) -> None:
    """What is only for texts is refused in one line."""
    write(names__txt="\n".join(NAMES))
    _train(charlm, "corpus.mode=lines", "train.epochs=1")
    refused = charlm(*arguments, status=2)
    assert message in refused.stderr
    assert refused.stdout == ""


def test_resume_of_lines_is_exact(charlm: Run, write: Any) -> None:
    """A run of lines that is stopped in the middle of an epoch ends as one that was not."""
    directory = write(names__txt="\n".join(NAMES * 3))
    options = ("--config", "small.yaml", "--set", "corpus.mode=lines", "--set", "model.dropout=0.2")
    charlm("train", *options, "--out", "whole")
    charlm("train", *options, "--out", "parts", "--max-steps", "7")
    charlm("train", "--config", "parts/config.yaml", "--resume")
    with np.load(directory / "whole/last.npz") as whole, np.load(directory / "parts/last.npz") as parts:
        for name in whole.files:
            if name != "metadata":
                np.testing.assert_array_equal(whole[name], parts[name])


def test_the_cache(charlm: Run, write: Any, cache: Path) -> None:
    """A text is kept once it is read, listed, used again, made anew when damaged, and cleared."""
    directory = write(text__txt=TEXT)
    charlm("info", "--clear-cache")
    shown = _train(charlm).replace("\n", " ")
    (kept,) = cache.glob("*.ids")
    listed = charlm("info", "--cache").stdout
    assert "1 file" in listed
    assert f"{len(TEXT)} chars of text.txt" in listed.replace(",", "")
    whole = kept.read_bytes()
    times = kept.stat().st_mtime_ns
    _train(charlm)
    assert kept.stat().st_mtime_ns == times  # read, not written
    kept.write_bytes(whole[:100] + b"?" + whole[101:])
    again = _train(charlm).replace("\n", " ")
    assert kept.read_bytes() == whole
    assert again.split(", about")[0].split("chars")[1] == shown.split(", about")[0].split("chars")[1]
    (directory / "text.txt").write_text(TEXT.upper())
    _train(charlm)
    (other,) = cache.glob("*.ids")  # the older state has gone
    assert other != kept
    values = json.loads(charlm("info", "--cache", "--json").stdout)
    assert [entry["units"] for entry in values["entries"]] == [len(TEXT)]
    assert "removed 1 file" in charlm("info", "--clear-cache").stdout
    assert not list(cache.iterdir())


SEPARATE = ("corpus.validation=valid.txt", "corpus.test=[test.txt, more.txt]")


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["corpus.mode=lines"],
        ["corpus.unit=byte"],
        ["corpus.normalize=nfd"],
        ["corpus.min_count=3"],
    ],
    ids=["char", "lines", "byte", "jamo", "unknown"],
)
def test_validation_and_test_can_be_texts_of_their_own(charlm: Run, write: Any, settings: list[str]) -> None:
    """A model is validated and tested on the whole of such texts, and trained on all of its text."""
    directory = write(
        text__txt=KOREAN, valid__txt=KOREAN[30:140], test__txt=KOREAN[:60], more__txt=KOREAN[5:90]
    )
    shown = " ".join(_train(charlm, *SEPARATE, *settings).split())
    trained = charlm("info", "--json").stdout
    assert "text.txt: " in shown
    assert " validation in valid.txt, " in shown
    assert " test in test.txt, more.txt), " in shown
    (directory / "both.txt").write_text(KOREAN[:60] + "\n" + KOREAN[5:90])
    for split, other in (("train", "text.txt"), ("validation", "valid.txt"), ("test", "both.txt")):
        own, whole = _eval(charlm, "--split", split), _eval(charlm, "--corpus", other)
        assert own == {**whole, "split": split}
    assert json.loads(trained)["best_validation_loss"] == pytest.approx(
        _eval(charlm, "--split", "validation")["nats_per_char"]
    )
    assert _eval(charlm) == _eval(charlm, "--split", "test")
    on = charlm("eval", "perplexity", "--split", "validation").stdout
    assert " on valid.txt: validation split, " in on
    assert " on test.txt, more.txt: test split, " in charlm("eval", "perplexity").stdout


def test_the_rest_of_a_text_is_split(charlm: Run, write: Any) -> None:
    """With one text of its own, the text has the other split, and what is left is trained on."""
    write(text__txt=TEXT, other__txt=TEXT[:70])
    size = len(TEXT)
    for name, wanted in (
        ("validation", f"({size * 9 // 10} train, 70 validation in other.txt, {size - size * 9 // 10} test)"),
        ("test", f"({size * 9 // 10} train, {size - size * 9 // 10} validation, 70 test in other.txt)"),
    ):
        shown = _train(charlm, f"corpus.{name}=other.txt", "train.epochs=1")
        assert f"text.txt: {size} chars\n{wanted}, vocabulary of " in shown


def test_a_validation_text_is_enough_to_validate(charlm: Run, write: Any) -> None:
    """Where the text itself is all for training, the losses are called by the split they come from."""
    write(text__txt=TEXT, valid__txt=TEXT[:70])
    shown = _train(charlm, "corpus.split=[1,0,0]", "corpus.validation=valid.txt", "train.epochs=1")
    assert "Warning" not in shown
    assert "best validation loss" in charlm("info").stdout


def test_texts_of_their_own_are_part_of_the_run(charlm: Run, write: Any) -> None:
    """They are named by absolute paths and may be moved, but not changed: then nothing is continued."""
    directory = write(text__txt=TEXT, valid__txt=TEXT[:70], test__txt=TEXT[:50], more__txt=TEXT[9:60])
    _train(charlm, *SEPARATE, "corpus.separator='. '")
    written = (directory / "runs/small/config.yaml").read_text()
    assert f"validation: {directory}/valid.txt\n" in written
    assert f", {directory}/more.txt]\n" in written
    resume = ("train", "--config", "runs/small", "--resume", "--set", "train.epochs=3")
    (directory / "valid.txt").write_text(TEXT[1:71])
    assert "the corpus is not the one that this run was trained on" in charlm(*resume, status=1).stderr
    refused = charlm("eval", "perplexity", "--split", "train", status=1).stderr
    assert "valid.txt or the test text of 2 files has changed since the model was trained on it" in refused
    assert "nothing to compare with" in charlm("sample", "--length", "30", "--novelty").stderr
    # another text is scored without them
    other = _eval(charlm, "--corpus", "text.txt")
    (directory / "moved").mkdir()
    for name in ("valid.txt", "test.txt", "more.txt"):
        (directory / name).unlink()
    assert _eval(charlm, "--corpus", "text.txt") == other
    (directory / "moved/valid.txt").write_text(TEXT[:70])
    (directory / "test.txt").write_text(TEXT[:50])
    (directory / "more.txt").write_text(TEXT[9:60])
    assert "valid.txt cannot be read: no such file" in charlm(*resume, status=1).stderr
    charlm(*resume, "--set", "corpus.validation=moved/valid.txt")
    assert "occur in the training text" in charlm("sample", "--length", "30", "--novelty").stderr
    # another text to train on is still validated on the same one
    (directory / "upper.txt").write_text(TEXT * 2)
    replaced = charlm("train", "--config", "runs/small", "--corpus", "upper.txt", "--out", "upper").stderr
    sizes = f"{2 * len(TEXT)} chars\n({2 * len(TEXT)} train, 70 validation in moved/valid.txt, "
    assert f"upper.txt: {sizes}" in replaced


@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_text_of_its_own_that_cannot_be_used(charlm: Run, write: Any, name: str) -> None:
    """What cannot be scored is refused in one line before anything is trained."""
    directory = write(text__txt=TEXT, other__txt="aéb")
    refused = charlm("train", "--config", "small.yaml", "--set", f"corpus.{name}=other.txt", status=1).stderr
    assert refused == (
        f"Error: text {directory / 'other.txt'}: characters that the model's vocabulary of 29 lacks: "
        "'é' (U+00E9) once\n"
    )
    assert not (directory / "runs").exists()


@pytest.mark.slow
def test_every_character_of_unicode(charlm: Run, write: Any) -> None:
    """A text with every character that there is can be trained on and scored."""
    every = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    write(text__txt=every)
    sets = ["model.hidden=1", "train.batch=2", "train.seq_len=2", "corpus.split=[1,0,0]"]
    arguments = [part for setting in sets for part in ("--set", setting)]
    charlm("train", "--config", "small.yaml", *arguments, "--max-steps", "2")
    assert json.loads(charlm("info", "--json").stdout)["vocabulary"]["size"] == len(every)
    assert charlm("sample", "--length", "3", "--seed", "1", "--prime", "가").stdout.startswith("가")
