"""The real commands: their output, their status, and the files they leave."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MEASURED, ROOT, TEXT, Run, contents, on_terminal

from charlm.cli import options, progress
from charlm.cli import train as train_module
from charlm.config.reading import from_mapping
from charlm.nn.cells import CELL_NAMES
from charlm.nn.kernels.lstm import LSTMWindow
from charlm.nn.parameters import Params
from charlm.system.team import ALONE
from charlm.training.events import Previewed, Started, Stopped, Updated, Validated
from charlm.training.request import ask

HELLO = str(ROOT / "configs" / "hello.yaml")

SMALL = """\
corpus:
  path: text.txt
  split: [0.8, 0.1, 0.1]
model:
  hidden: 16
  layers: 1
train:
  batch: 4
  seq_len: 8
  epochs: 3
run:
  log_every: 4
"""


def _log(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in MEASURED} for line in lines]


def _arrays(file: Path) -> dict[str, bytes]:
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files if name != "metadata"}


def _advice(stdout: str) -> list[list[str]]:
    """The arguments of every command that training names to go on with."""
    lines = stdout.split("next:\n")[1].splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("  charlm ")]


def test_the_worked_example(charlm: Run, tmp_path: Path) -> None:
    """After `he`, the network of configs/hello.yaml goes on with `llo`: so says the command that is named."""
    sample, *_ = _advice(charlm("train", "--config", HELLO).stdout)
    assert sample == ["sample", "--checkpoint", "runs/hello", "--prime", "he", "--greedy", "--length", "3"]
    assert charlm(*sample).stdout == "hello\n"
    log = [json.loads(line) for line in (tmp_path / "runs/hello/metrics.jsonl").read_text().splitlines()]
    assert sum(line["train_loss"] > 0.05 for line in log) >= 3, "a curve begins before all is learned"


def test_train_writes_a_run(charlm: Run, small: Path, request: pytest.FixtureRequest) -> None:
    """A run holds its configuration, its log and its checkpoints, and the output says what to do next."""
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGTERM, usual))
    handlers = [signal.getsignal(number) for number in train_module._SIGNALS]
    done = charlm("train", "--config", "small.yaml")
    assert [signal.getsignal(number) for number in train_module._SIGNALS] == handlers
    run = small / "runs" / "small"
    assert sorted(file.name for file in run.iterdir()) == [
        "best.npz",
        "config.yaml",
        "last.npz",
        "metrics.jsonl",
        "previews.jsonl",
    ]
    assert _advice(done.stdout) == [
        ["sample", "--checkpoint", "runs/small", "--prime", "the"],
        ["eval", "perplexity", "--checkpoint", "runs/small"],
        ["export", "--checkpoint", "runs/small", "./small.html"],
    ]
    for command in _advice(done.stdout):
        charlm(*command)
    assert (small / "small.html").exists()
    assert "best validation loss" in done.stdout
    line = _log(run)[-1]
    assert set(line) == {"step", "epoch", "train_loss", "validation_loss", "lr", "grad_norm", "clipped"}
    assert "hidden: 16" in (run / "config.yaml").read_text()


def test_advice_for_lines_asks_for_lines(charlm: Run, small: Path) -> None:
    """A model of lines is asked for five new ones; very few epochs are no zero, and can be doubled."""
    (small / "text.txt").write_text("".join(f"{name}\n" for name in ("ada", "bo", "cy", "di", "ed") * 20))
    done = charlm("train", "--config", "small.yaml", "--set", "corpus.mode=lines", "--set=train.epochs=0.004")
    assert "trained 0.05 epochs" in done.stdout  # one update of twenty
    assert _advice(done.stdout)[0] == ["sample", "--checkpoint", "runs/small", "--num", "5"]
    again = charlm("train", "--config", "runs/small", "--resume").stdout
    assert "this run is finished: 0.05 of 0.05 epochs" in again
    longer = re.findall("to train longer: charlm (.*)", again)[0]
    assert longer.endswith("--set train.epochs=0.008")


@pytest.mark.parametrize(("epochs", "at_the_end"), [(3, True), (1, False)])
def test_a_long_split_for_validation_is_scored_in_part(
    charlm: Run, small: Path, epochs: int, at_the_end: bool
) -> None:
    """Output says what the losses are of, before training and after, and how to have that of the whole."""
    (small / "valid.txt").write_text(TEXT[:200])
    settings = f"corpus.validation=valid.txt run.eval_length=30 train.epochs={epochs}".split()
    sets = [f"--set={setting}" for setting in settings]
    done = charlm("train", "--config", "small.yaml", *sets)
    end = "the whole is scored at the end" if at_the_end else "the whole would take too long"
    scores = (
        "each validation scores the first 30 of 199 characters (run.eval_length), and best.npz goes by them"
    )
    assert f"Warning: {scores}; {end}\n" in done.stderr
    (best,) = re.findall(
        r"best validation loss (.*), at update \d+, on the first 30 of 199 chars", done.stdout
    )
    of_all = re.findall(r"loss of that model on all 199: (\S+) nats", done.stdout)
    named = [command for command in _advice(done.stdout) if command[-2:] == ["--split", "validation"]]
    assert len(named) == (not at_the_end)
    whole = json.loads(charlm("eval", "perplexity", "--split", "validation", "--json").stdout)
    assert of_all == [f"{whole['nats_per_char']:.4f}"][:at_the_end]
    assert best.split()[0] != f"{whole['nats_per_char']:.4f}"
    assert "of the first 30 characters for validation" in charlm("info").stdout
    changed = charlm(
        "train", "--config", "runs/small", "--resume", "--set=run.eval_length=0", status=1
    ).stderr
    assert "run.eval_length is 30 in this run and cannot become 0" in changed


def test_output_to_a_pipe_is_plain(charlm: Run, small: Path) -> None:
    """Without a terminal, progress is lines of text: position, losses, speed, and a preview."""
    shown = charlm("train", "--config", "small.yaml").stderr
    assert not [character for character in shown if not (character.isprintable() or character == "\n")]
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    header, *rows = [line.split() for line in shown.splitlines() if line.startswith("   ")]
    assert header == ["update", "epoch", "train", "validation", "bits", "chars/s", "left"]
    assert [row[0] for row in rows][:4] == ["4", "8", "11", "12"]
    (best, *_) = [row for row in rows if row[-1] == "*"]
    step, epoch, train, validation, bits = (float(value) for value in best[:5])
    assert (step, epoch) == (11, 1)
    assert 1 < validation < train
    assert bits == pytest.approx(validation / math.log(2), abs=1e-3)
    assert "\n  | " in shown


def test_output_to_a_terminal_shows_a_bar(small: Path) -> None:
    """On a terminal there is a bar with loss, speed and time left, the same table, and no other bar."""
    text = on_terminal(["train", "--config", "small.yaml", "--set", "train.epochs=30"], small).decode()
    assert "trained 30 epochs" in text
    assert "\r" in text
    assert "%|" in text
    assert " nats, " in text
    assert "chars/s]" in text
    assert "   update   epoch    train  validation    bits    chars/s     left" in text
    assert "reading" not in text, "the text has been read before training begins"


def test_the_bar_says_that_a_teacher_reads(small: Path) -> None:
    """While the counts of the text read it, the bar says how much they have read."""
    text = on_terminal(["train", "--config", "small.yaml", "--set", "train.teacher=counts"], small).decode()
    assert "\r\ntaught by the counts of the text, with a share of 0.5" in text
    assert "the teachers read the training text" in text
    assert "teacher: 0% of the text" in text


def test_joined_networks_are_told(charlm: Run, small: Path) -> None:
    """What becomes of several networks is said before, with the loss at the end, and by info."""
    train = ("train", "--config", "small.yaml", "--set", "train.join=true", "--set", "run.sample_every=0")
    several = charlm(*train, "--set", "train.generations=2", "--set", "train.chain=false").stderr
    assert "\n2 networks one after the other, joined to one at the end\n" in several
    assert "\nnetwork 2 of 2\n" in several
    assert re.search(r"\n2 networks joined, logits times [01]\.[0-9]+: validation loss [0-9.]+ nats", several)
    info = json.loads(charlm("info", "--checkpoint", "runs/small", "--json").stdout)
    assert (info["joined"], info["config"]["model"]["hidden"]) == (2, 32)
    longer = charlm("train", "--config", "runs/small", "--resume").stdout
    assert "--resume --set train.generations=3\n" in longer
    one = charlm(*train, "--overwrite").stderr
    assert re.search(r"\nlogits times [01]\.?[0-9]*: validation loss [0-9.]+ nats", one)
    assert re.search(r"\nlogits times [01]\.?[0-9]* \(train.join\)", charlm("info").stdout)
    longer = charlm(*train[:3], "--resume").stdout
    assert "this run is finished: 3 of 3 epochs" in longer
    none = charlm(
        *train, "--overwrite", "--set", "corpus.split=[1, 0, 0]", "--set", "train.generations=2"
    ).stderr
    assert "train.join takes a validation split: without one, nothing is joined" in none
    assert "joined to one at the end" not in none


def test_dotted_overrides_and_options(charlm: Run, small: Path) -> None:
    """--set, --corpus and --out override the file, and the run records what it was made with."""
    (small / "other.txt").write_text(TEXT.upper())
    charlm(
        *("train", "--config", "small.yaml", "--corpus", "other.txt", "--out", "elsewhere"),
        *("--set", "model.cell=gru", "--set", "corpus.split=[0.5, 0.5, 0]", "--set", "train.epochs=1"),
    )
    info = json.loads(charlm("info", "--checkpoint", "elsewhere", "--json").stdout)
    assert info["config"]["model"]["cell"] == "gru"
    assert info["config"]["corpus"]["split"] == [0.5, 0.5, 0]
    assert info["config"]["corpus"]["path"] == str(small / "other.txt")
    assert chr(info["vocabulary"]["codes"][-1]) == "Z"
    assert not (small / "runs").exists()


def test_a_run_is_not_overwritten_unasked(charlm: Run, small: Path) -> None:
    """A directory that holds a run is refused unless asked; it is kept until the new one has a checkpoint."""
    train = ("train", "--config", "small.yaml")
    charlm(*train)
    before = (small / "runs/small/last.npz").read_bytes()
    assert "already holds a run" in charlm(*train, status=1).stderr
    assert "exclude each other" in charlm(*train, "--resume", "--overwrite", status=2).stderr
    assert (small / "runs/small/last.npz").read_bytes() == before
    diverging = charlm(*train, "--overwrite", "--set", "train.lr=3e38", status=1)
    assert "Warning: runs/small keeps the run that it held" in diverging.stderr
    assert (small / "runs/small/last.npz").read_bytes() == before
    charlm("train", "--config", "runs/small", "--resume", "--max-steps", "1")
    charlm(*train, "--overwrite", "--set", "model.hidden=8")
    assert json.loads(charlm("info", "--json").stdout)["config"]["model"]["hidden"] == 8


@pytest.mark.parametrize("name", ["copy/config.yaml", "copy"])
@pytest.mark.parametrize("place", [shutil.copytree, shutil.move])
def test_a_copied_or_moved_run_is_its_own(charlm: Run, small: Path, name: str, place: Any) -> None:
    """A copy is continued where it lies, by its configuration or its directory; the original is unchanged."""
    charlm("train", "--config", "small.yaml", "--max-steps", "5")
    original = small / "runs/small"
    before = {file.name: file.read_bytes() for file in original.iterdir()}
    place(original, small / "copy")
    done = charlm("train", "--config", name, "--resume", "--max-steps", "7")
    assert "stopped after update 7" in done.stdout
    assert "charlm train --config copy --resume" in done.stdout
    assert json.loads(charlm("info", "--checkpoint", "copy/last.npz", "--json").stdout)["step"] == 7
    if place is shutil.copytree:
        assert {file.name: file.read_bytes() for file in original.iterdir()} == before
    else:
        assert not original.exists()


def test_resume_in_a_new_process_is_exact(charlm: Run, process: Run, small: Path) -> None:
    """40 updates equal 20, a new process, and 20 more: parameters, training state and log."""
    train = ("train", "--config", "small.yaml", "--set", "model.dropout=0.2")
    train += ("--set", "train.epochs=9", "--set", "run.eval_every=0.3")
    charlm(*train, "--out", "whole", "--max-steps", "40")
    stopped = charlm(*train, "--out", "parts", "--max-steps", "20")
    assert "stopped after update 20; to continue: charlm train --config parts --resume" in stopped.stdout
    process("train", "--config", "parts/config.yaml", "--resume", "--max-steps", "40")
    assert _log(small / "whole") == _log(small / "parts")
    for name in ("last.npz", "best.npz"):
        assert _arrays(small / "whole" / name) == _arrays(small / "parts" / name)


def _wait_for_row(process: subprocess.Popen[str], step: int) -> None:
    """Read what training shows until the row of that update."""
    assert process.stderr is not None
    for _, line in zip(range(200), process.stderr, strict=False):
        if line.split()[:1] == [str(step)]:
            return
    pytest.fail(f"no row of update {step} (status {process.poll()})")


@contextmanager
def _training(small: Path, *more: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A long run that has done eight updates."""
    command = [*["-m", "charlm", "train", "--config", "small.yaml", "--set", "train.epochs=100000"], *more]
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=small,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,
    ) as process:
        assert process.stderr is not None
        _wait_for_row(process, 8)
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143)])
def test_a_signal_saves_and_says_how_to_go_on(small: Path, charlm: Run, name: str, status: int) -> None:
    """Ctrl-C, SIGTERM and SIGHUP end the update in progress, save, and exit with 130 or 143."""
    with _training(small) as process:
        process.send_signal(signal.Signals[name])
        output, shown = process.communicate(timeout=60)
    assert process.returncode == status, shown[-2000:]
    assert "--resume" in output
    step = json.loads(charlm("info", "--checkpoint", "runs/small/last.npz", "--json").stdout)["step"]
    assert step >= 8
    charlm("train", "--config", "runs/small/config.yaml", "--resume", "--max-steps", str(step + 2))


def test_a_second_signal_stops_at_once(small: Path, charlm: Run) -> None:
    """Whatever the first one is doing, a second signal ends the process, and the run can go on."""
    with _training(small, "--set", "run.eval_every=0.05") as process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130, 143)
    charlm("info", "--checkpoint", "runs/small/last.npz")
    done = charlm("train", "--config", "runs/small/config.yaml", "--resume", "--max-steps", "1")
    assert "stopped" in done.stdout


def test_any_signal_can_be_the_second() -> None:
    """Once one has come, each of the others ends the process."""
    received: list[int] = []
    with train_module._signals(received, ALONE):
        handler: Any = signal.getsignal(signal.SIGTERM)
        handler(signal.SIGTERM, None)
        assert {signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)} == {signal.SIG_DFL}
    assert received == [signal.SIGTERM]


def test_what_was_to_be_ignored_is_ignored(small: Path) -> None:
    """Under nohup, SIGHUP does not end the run."""
    with _training(small, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
        process.send_signal(signal.SIGHUP)
        _wait_for_row(process, 24)
        assert process.poll() is None


def test_a_closed_terminal_does_not_end_a_run(small: Path) -> None:
    """When nobody reads what training says any longer, it trains on, and a signal still saves."""
    with _training(small, "--set", "run.log_every=1") as process:
        assert process.stderr is not None
        assert process.stdout is not None
        process.stderr.close()
        process.stdout.close()
        log = small / "runs/small/metrics.jsonl"
        lines = log.read_text().count("\n")
        while log.read_text().count("\n") < lines + 20:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143


def test_two_runs_cannot_share_a_directory(small: Path, charlm: Run) -> None:
    """A second `train` is refused while the first lives; reading is not; a killed run leaves no lock."""
    with _training(small) as process:
        _wait_for_row(process, 12)  # after the first validation, which saves
        for how in ("--resume", "--overwrite"):
            refused = charlm("train", "--config", "small.yaml", how, status=1)
            assert "another charlm train is running in runs/small" in refused.stderr
        charlm("info", "--checkpoint", "runs/small/last.npz")
        charlm("sample", "--checkpoint", "runs/small", "--length", "5")
        charlm("eval", "perplexity", "--checkpoint", "runs/small")
        process.kill()
        process.wait()
        charlm("train", "--config", "runs/small", "--resume", "--max-steps", "1")


def test_two_runs_are_alike_to_the_last_byte(small: Path, process: Run) -> None:
    """The same seed, configuration and threads give the same files, but for the times they hold."""
    for run in ("one", "two"):
        process("train", "--config", "small.yaml", "--out", run, "--set", "model.dropout=0.2")
    assert contents(small / "one") == contents(small / "two")


def test_sampling_is_reproducible(charlm: Run, trained: Path) -> None:
    """The same seed gives the same samples; the first of several is the one that comes alone."""
    sample = ("sample", "--prime", "the ", "--length", "50")
    first, again, other = (charlm(*sample, "--seed", seed).stdout for seed in ("1", "1", "2"))
    assert first == again != other
    assert first.startswith("the ")
    assert len(first) == 4 + 50 + 1
    several = charlm(*sample, "--seed", "1", "--num", "3").stdout
    assert several.startswith(first)
    _, second, third, rest = [*re.split("^─{8} [23] ─{8}\n", several, flags=re.MULTILINE), ""]
    assert (second[:4], third[:4], rest) == ("the ", "the ", "")


def test_sample_options(charlm: Run, trained: Path) -> None:
    """Prime files, stop texts, length 0 and no prime work as they say."""
    (trained / "prime.txt").write_text("the quick")
    assert charlm("sample", "--prime-file", "prime.txt", "--length", "0").stdout == "the quick\n"
    stopped = charlm("sample", "--prime", "the ", "--stop", " ", "--length", "400", "--seed", "1").stdout
    assert stopped.endswith(" \n")
    assert stopped.removeprefix("the ").count(" ") == 1
    assert len(charlm("sample", "--length", "30", "--seed", "1").stdout) == 31
    greedy = charlm("sample", "--prime", "the", "--greedy", "--length", "20").stdout
    for narrow in ("--top-k=1", "--top-p=1e-9"):  # so hot that any other character would be drawn
        options = ("--prime", "the", "--length", "20", "--temperature", "99")
        assert charlm("sample", *options, narrow).stdout == greedy
    both = charlm("sample", "--prime", "a", "--prime-file", "prime.txt", status=2)
    assert "exclude each other" in both.stderr


def test_a_reader_that_leaves_ends_sampling_quietly(charlm: Run, trained: Path) -> None:
    """`charlm sample | head -c 10` of an endless text prints what is drawn as it is drawn, and no error."""
    with subprocess.Popen(
        [sys.executable, "-m", "charlm", "sample", "--length", "100000000"],
        cwd=trained,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        assert process.stderr.read() == b"using runs/small/best.npz\n"
        assert process.wait(timeout=30) == 1


def test_eval_perplexity(charlm: Run, trained: Path) -> None:
    """The JSON holds the fixed keys, the units agree, and the default is the test split."""
    values = json.loads(charlm("eval", "perplexity", "--json").stdout)
    assert set(values) >= {"nats_per_char", "bits_per_char", "perplexity", "characters", "split", "window"}
    assert values["split"] == "test"
    assert values["window"] is None
    assert values["characters"] == len(TEXT) - int(len(TEXT) * 0.9) - 1
    assert values["bits_per_char"] == pytest.approx(values["nats_per_char"] / np.log(2))
    assert values["perplexity"] == pytest.approx(np.exp(values["nats_per_char"]))
    windows = json.loads(charlm("eval", "perplexity", "--json", "--window", "5", "--split", "train").stdout)
    assert (windows["split"], windows["window"]) == ("train", 5)
    text = charlm("eval", "perplexity").stdout
    assert f"{values['nats_per_char']:.4f} nats/char" in text
    assert "test split" in text


def test_eval_of_another_text(charlm: Run, trained: Path) -> None:
    """--corpus scores the whole of another text, or the part that --split names."""
    (trained / "other.txt").write_text(TEXT[:100])
    other = ("eval", "perplexity", "--corpus", "other.txt", "--json")
    whole = json.loads(charlm(*other).stdout)
    assert (whole["characters"], whole["split"]) == (99, None)
    part = json.loads(charlm(*other, "--split", "train").stdout)
    assert (part["characters"], part["split"]) == (79, "train")


def test_validation_loss_is_what_eval_says(charlm: Run, trained: Path) -> None:
    """`eval perplexity --split validation` gives the validation loss that the log holds for the best."""
    logged = min(line["validation_loss"] for line in _log(trained / "runs/small") if line["validation_loss"])
    values = json.loads(charlm("eval", "perplexity", "--split", "validation", "--json").stdout)
    assert values["nats_per_char"] == pytest.approx(logged, abs=1e-6)


def test_eval_gradients(charlm: Run, small: Path) -> None:
    """Every parameter of a configuration's network is named with its worst error, as text and as JSON."""
    (small / "text.txt").write_text("a small vocabulary " * 9)
    sets = ("--set=model.cell=gru", "--set=model.hidden=3")
    arguments = ("eval", "gradients", "--config", "small.yaml", *sets)
    text = charlm(*arguments).stdout
    for name in ("layers.0.Wx", "layers.0.Wh", "layers.0.bn", "output.W", "state.0.h"):
        assert name in text
    assert "gradients are right" in text
    values = json.loads(charlm(*arguments, "--json").stdout)
    assert values["right"] is True
    assert 0 < values["worst_relative_error"] <= values["tolerance"] <= 1e-6


def test_eval_gradients_fails_on_a_wrong_gradient(
    charlm: Run, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a gradient is wrong, the command names it and exits with 1."""
    right = LSTMWindow.backward

    def wrong(window: LSTMWindow, grads: Params, *rest: Any) -> Any:
        result = right(window, grads, *rest)
        grads["Wh"][0, 0, 0] *= 1.001
        return result

    monkeypatch.setattr(LSTMWindow, "backward", wrong)
    (small / "text.txt").write_text("a small vocabulary " * 9)
    shown = charlm("eval", "gradients", "--config", "small.yaml", "--set=model.hidden=3", status=1).stdout
    assert "WRONG" in shown
    assert "layers.0.Wh (1 x 3 lstm)" in shown.splitlines()[-1]


def test_info(charlm: Run, trained: Path) -> None:
    """`info` tells configuration, vocabulary, sizes, progress and scores, as text and as JSON."""
    values = json.loads(charlm("info", "--json").stdout)
    assert values["vocabulary"]["size"] == len(set(TEXT))
    assert values["parameters"] == sum(int(np.prod(shape)) for shape in values["shapes"].values())
    assert values["best_validation_loss"] == min(
        line["validation_loss"] for line in _log(trained / "runs/small") if line["validation_loss"]
    )
    text = charlm("info").stdout
    assert "model.hidden: 16" in text
    assert f"vocabulary of {len(set(TEXT))} chars" in text
    assert f"{values['parameters']:,} parameters" in text


def test_bytes(charlm: Run, small: Path) -> None:
    """With unit: byte any file is trained on, and whole characters are printed."""
    (small / "text.txt").write_bytes("가나다 ".encode() * 80 + bytes(range(128, 256)))
    charlm("train", "--config", "small.yaml", "--set", "corpus.unit=byte", "--set", "train.epochs=4")
    shown = charlm("sample", "--prime", "가", "--length", "60", "--seed", "1").stdout
    assert shown.startswith("가")
    values = json.loads(charlm("info", "--json").stdout)
    assert values["vocabulary"]["unit"] == "byte"


def test_decomposed_korean_is_composed_again(charlm: Run, small: Path) -> None:
    """With normalize: nfd syllables are modelled in jamo and printed as syllables."""
    (small / "text.txt").write_text("한글은 아름답다. " * 40)
    train = ("train", "--config", "small.yaml", "--set", "corpus.normalize=nfd")
    train += ("--set", "run.eval_every=9", "--set", "run.sample_every=0", "--set", "model.hidden=24")
    charlm(*train, "--set", "train.epochs=18", "--set", "train.lr=0.03")
    shown = charlm("sample", "--prime", "한글", "--length", "30", "--greedy").stdout
    assert shown.startswith("한글은 아름답다. 한글은")
    assert min(json.loads(charlm("info", "--json").stdout)["vocabulary"]["codes"][2:]) >= 0x1100


MISTAKES: list[tuple[dict[str, str | bytes], str, int, list[str]]] = [
    ({}, "train --config nowhere.yaml", 2, ["nowhere.yaml", "no such file"]),
    ({}, "train --config small.yaml --corpus nowhere.txt", 1, ["nowhere.txt", "no such file"]),
    (
        {"bad.yaml": "model:\n  hidden: [1\n"},
        "train --config bad.yaml",
        2,
        ["bad.yaml, line 3", "not valid YAML"],
    ),
    (
        {"bad.yaml": "model:\n  hiden: 12\n"},
        "train --config bad.yaml",
        2,
        ["bad.yaml, line 2", "model.hiden", "unknown key", "model.hidden"],
    ),
    ({}, "train --config small.yaml --set train.lrr=1", 2, ["train.lrr", "unknown key", "train.lr"]),
    (
        {"bad.yaml": "model:\n  layers: 2\n  hidden: many\n"},
        "train --config bad.yaml",
        2,
        ["line 3", "model.hidden", "whole number", "'many'"],
    ),
    (
        {"bad.yaml": "train:\n  lr: -1\n"},
        "train --config bad.yaml",
        2,
        ["line 2", "train.lr", "-1", "not above 0"],
    ),
    (
        {"bad.yaml": "model:\n  cell: ltsm\n"},
        "train --config bad.yaml",
        2,
        ["line 2", "model.cell", "'ltsm'", "did you mean lstm?"],
    ),
    ({"text.txt": ""}, "train --config small.yaml", 1, ["text.txt", "is empty"]),
    ({"text.txt": "a"}, "train --config small.yaml", 1, ["text.txt", "one character", "at least two"]),
    (
        {"text.txt": b"fine\nthen \xff\n"},
        "train --config small.yaml",
        1,
        ["text.txt", "not UTF-8", "byte 10", "line 2", "--set corpus.unit=byte"],
    ),
    ({"bad.yaml": ""}, "train --config bad.yaml", 2, ["corpus.path", "--corpus"]),
    ({}, "train --config small.yaml --corpus *.text", 1, ["*.text", "no file matches this pattern"]),
    ({}, "sample", 1, ["no run under ./runs", "charlm train"]),
    ({"model.npz": "hello"}, "sample --checkpoint model.npz", 1, ["model.npz", "not a charlm checkpoint"]),
    ({}, "train --config .", 2, ["is a directory without config.yaml"]),
    ({}, "info --checkpoint a.npz", 1, ["a.npz", "no such file"]),
    ({}, "train --config small.yaml --resume", 1, ["runs/small", "last.npz"]),
    ({}, "sample --tempreature 1", 2, ["--tempreature", "--temperature"]),
    ({}, "sample --temperature 0", 2, ["--temperature", "x>0"]),
    ({}, "trian", 2, ["trian"]),
]
"""Files, the command that cannot use them, its status, and what the error names."""


@pytest.mark.parametrize(("files", "arguments", "status", "words"), MISTAKES)
def test_a_mistake_gets_one_clear_line(
    charlm: Run,
    small: Path,
    files: dict[str, str | bytes],
    arguments: str,
    status: int,
    words: list[str],
) -> None:
    """A user's mistake ends in one line that says what and where, and a status that is not zero."""
    for name, text in files.items():
        (small / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    done = charlm(*arguments.split(), status=status)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    for word in words:
        assert word in lines[0]
    assert not (small / "runs").exists(), "a refused run leaves nothing behind"


def test_odd_primes(charlm: Run, trained: Path) -> None:
    """Long primes work; characters of every plane, lone bytes and NUL are one clear line."""
    long = "the quick brown fox " * 500
    assert charlm("sample", "--prime", long, "--length", "3").stdout.startswith(long)
    planes = "".join(chr((plane << 16) + 0x1234) for plane in range(17))
    (trained / "prime.txt").write_bytes(b"the \0 fox")
    for prime in (("--prime", planes), ("--prime", "a\udcff\udc80"), ("--prime-file", "prime.txt")):
        refused = charlm("sample", *prime, status=1)
        assert refused.stdout == ""
        assert len(refused.stderr.splitlines()) == 1
        assert "vocabulary" in refused.stderr


def test_odd_places(charlm: Run, trained: Path) -> None:
    """A poor environment, a pipe for a file and a directory without permission: work, or one clear line."""
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C", "COLUMNS": "0"}
    command = [sys.executable, "-m", "charlm"]
    for arguments in (["sample", "--length", "20"], ["info"]):
        done = subprocess.run([*command, *arguments], cwd=trained, env=bare, capture_output=True, check=False)
        assert done.returncode == 0
        assert done.stderr in (b"", b"using runs/small/best.npz\n")
    os.mkfifo(trained / "pipe")
    refused = charlm("info", "--checkpoint", "pipe", status=1)
    assert "checkpoint pipe cannot be read: it is not a regular file" in refused.stderr
    (trained / "file").write_text("in the way")
    refused = charlm("train", "--config", "small.yaml", "--out", "file/run", status=1)
    assert len(refused.stderr.splitlines()) == 1
    assert "not a directory" in refused.stderr


def test_unknown_characters_are_named(charlm: Run, trained: Path) -> None:
    """A character that the vocabulary lacks is an error that names it and how often it occurs."""
    prime = charlm("sample", "--prime", "naïve ïdea, ½", status=1).stderr
    assert len(prime.splitlines()) == 1
    assert "'ï' (U+00EF) 2 times" in prime
    assert "'½' (U+00BD) once" in prime
    (trained / "other.txt").write_text("the FOX")
    other = charlm("eval", "perplexity", "--corpus", "other.txt", status=1).stderr
    for character in "FOX":
        assert f"'{character}' (U+{ord(character):04X}) once" in other
    assert "other.txt" in other


def test_a_changed_corpus_is_not_scored_unasked(charlm: Run, small: Path) -> None:
    """Evaluating the run's own corpus is refused once its contents changed; --corpus scores it."""
    charlm("train", "--config", "small.yaml", "--max-steps", "1")
    (small / "text.txt").write_text(TEXT[::-1])
    refused = charlm("eval", "perplexity", status=1).stderr
    assert "has changed since" in refused
    charlm("eval", "perplexity", "--corpus", "text.txt")


def test_a_run_that_diverges_stops(charlm: Run, small: Path) -> None:
    """A loss that is no number ends the run with one line that says what to try; best.npz stays finite."""
    done = charlm(
        *("train", "--config", "small.yaml", "--set", "train.lr=1e38", "--set", "train.optimizer=sgd"),
        *("--set", "train.epochs=50", "--set", "run.eval_every=0.1", "--set", "train.clip_norm=0"),
        status=1,
    )
    error = done.stderr.splitlines()[-1]
    assert error.startswith("Error: update ")
    assert "not a finite number; try a lower train.lr" in error


def test_help(process: Run) -> None:
    """Without a command there is help and status 2; with --help every command, and status 0."""
    assert "train" in process(status=2).stderr
    shown = process("--help").stdout
    for command in ("train", "sample", "eval", "info"):
        assert command in shown


def test_wide_characters_of_a_preview_fit_a_terminal() -> None:
    """Previews are cut after blanks to 80 columns, of which a Korean syllable takes two; nothing is lost."""
    for text in ("가나다 라마바사 " * 30, "가" * 100, "abc def " * 30, "", "a\n\nb" * 3):
        for most in (76, 20, 1):
            lines = progress._wrapped(text, most)
            assert "".join(lines) == text.replace("\n", "")
            columns = [sum(2 if "가" <= c <= "힣" else 1 for c in line) for line in lines]
            assert max(columns) <= max(2, most)
            assert most == 1 or all(line.endswith(" ") for line in lines[:-1]) or " " not in text


@pytest.mark.parametrize("columns", [60, 68, 80, 120])
def test_the_table_and_previews_fit_the_window(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    """In a narrow window the table has no column for the time left, and previews have shorter lines."""
    monkeypatch.setenv("COLUMNS", str(columns))
    display = progress.Display()
    display.is_terminal = True
    display.show(Validated(1000, 1.0, 1.5, 1.5, 0.001, 1.0, 0.0, 123_456.0, 60.0, is_best=True))
    display.show(Previewed("one word and another " * 20))
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= min(80, columns)
    assert ("left" in lines[1]) == (columns >= 69)
    assert lines[2].endswith(" *")
    assert max(map(len, lines[3:])) > min(80, columns) - 8


@pytest.mark.parametrize(
    ("named", "used", "told"),
    [
        ("runs/small/best.npz", "runs/small/best.npz", False),
        ("runs/small", "runs/small/best.npz", False),
        ("runs", "runs/small/best.npz", True),
        ("runs/small", "runs/small", False),
        ("runs", "runs/small", True),
        (None, "runs/small", True),
    ],
)
def test_what_is_used_is_told_unless_it_was_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    named: str | None,
    used: str,
    told: bool,
) -> None:
    """A checkpoint is named by its run too, and a run by nothing else."""
    monkeypatch.chdir(tmp_path)
    Path("runs/small").mkdir(parents=True)
    Path("runs/small/best.npz").touch()
    options.say_which(None if named is None else Path(named), Path(used))
    assert capsys.readouterr().err == (f"using {used}\n" if told else "")


def test_options_win_over_set() -> None:
    """`--corpus` and `--out` replace what `--set` says of the same keys."""
    given = {"run.dir": "x", "corpus.path": "a", "train.lr": 1.0}
    config = ask(None, given, "`set`", 0.0, corpus="b", out=Path("y")).config
    assert (config.run.dir, config.corpus.path, config.train.lr) == ("y", str(Path("b").absolute()), 1.0)


def begun(**values: Any) -> Started:
    """A run of 1,000 updates on the text of standard input."""
    sizes, shape = {"train": 900, "validation": 50, "test": 50}, {"streams": 4, "seq_len": 7, "lines": None}
    counts = {"units": 1000, "vocabulary": 20, "parameters": 3000, "needed_bytes": 10**6}
    usual = {"path": Path("run"), "config": from_mapping({"corpus": {"path": "-"}}), "validated": (20, 50)}
    usual |= {"planned_steps": 1000, "step": 0, "first_word": "the"}
    return Started(**{"sizes": sizes, **shape, **counts, **usual, **values})


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("out_of_patience", [True, False])
@pytest.mark.parametrize("step", [300, 1000])
def test_commands_that_read_the_text_again_say_so(
    capsys: pytest.CaptureFixture[str], finished: bool, out_of_patience: bool, step: int
) -> None:
    """Each command that a run prints ends with `< TEXT` where its text came from standard input."""
    stopped = Stopped(finished, out_of_patience, 1000, 1.0, 9.0, 100.0, 0, 1.5, 900)
    train_module._finish(begun(step=step), stopped)
    commands = [line for line in capsys.readouterr().out.splitlines() if "charlm " in line]
    reading = [line for line in commands if "charlm train" in line or "charlm eval" in line]
    assert reading
    assert [line for line in commands if line.endswith(" < TEXT")] == reading


@pytest.mark.parametrize("pace", [10, 1])
def test_a_resumed_run_says_how_long_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pace: int
) -> None:
    """All updates count at the beginning and in the bar, only those to come for the time that is left."""
    seconds = iter(range(0, 10**6, pace))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: float(next(seconds)))
    display = progress.Display()
    display.is_terminal = True
    with closing(display):
        display.show(begun(step=100, planned_steps=300))
        for step in range(101, 126):
            display.show(Updated(step, 1.5, 100.0))
        assert (display.bar.n, display.bar.total, display.loss) == (125, 300, pytest.approx(1.5))
    told = capsys.readouterr().err
    assert "300 updates of 4 x 7 chars" in told
    assert "resumed after update 100" in told
    # ten seconds from update 105 to update 125, with 175 to come; or one, and nine to come are not told
    assert ("about 1 min 28 s left" in told) == ("left on this machine" in told) == (pace == 10)


def test_a_finished_run_is_not_asked_for_more_than_there_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that trains longer doubles the epochs, up to the largest valid value."""
    for epochs, longer in ((4.0, "8"), (9e5, "1000000")):
        config = from_mapping({"corpus": {"path": "a"}, "train": {"epochs": epochs}})
        stopped = Stopped(True, False, 1000, epochs, 9.0, 100.0, 0, 1.5, 900)
        train_module._finish(begun(step=1000, config=config), stopped)
        assert f"--resume --set train.epochs={longer}\n" in capsys.readouterr().out


def test_a_page_is_offered_for_every_cell() -> None:
    """The commands to go on with include the export of a page, whichever cell was trained."""
    stopped = Stopped(True, False, 1000, 1.0, 9.0, 100.0, 0, 1.5, 900)
    for cell in CELL_NAMES:
        config = from_mapping({"model": {"cell": cell}, "corpus": {"path": "a"}})
        words = [words[0] for words, _ in train_module._next(begun(config=config), stopped)]
        assert words[-1] == "export"


def test_the_curve_of_a_run_is_over_epochs(tmp_path: Path) -> None:
    """Its points are the validations in the log; a log that cannot be read has none."""
    lines = [{"step": 7 * n, "epoch": n / 2, "validation_loss": 3 / n if n % 2 else None} for n in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert train_module._validations(tmp_path) == [(0.5, 3.0), (1.5, 1.0)]
    (tmp_path / "metrics.jsonl").write_text("no log\n")
    assert train_module._validations(tmp_path) == []
