"""`run.tensorboard`: event files hold the log and the previews, each update once, whatever happens."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TEXT, Run

from charlm.config.reading import from_mapping
from charlm.runs.directory import EVENT_FILES, RunDirectory
from charlm.system.errors import ExtraError
from charlm.training import session
from charlm.training.events import Event, Listener, Previewed, Updated, Warned
from charlm.training.request import Request
from charlm.training.tensorboard import EventFiles

TAGS = {
    "loss/train": "train_loss",
    "loss/validation": "validation_loss",
    "lr": "lr",
    "grad_norm": "grad_norm",
    "clipped": "clipped",
    "chars_per_s": "chars_per_s",
}


def records(file: Path) -> Iterator[bytes]:
    """The records of an event file: length, checksum of it, data, checksum of them; a torn one ends it."""
    from tensorboardX.record_writer import masked_crc32c

    with file.open("rb") as stream:
        while len(header := stream.read(12)) == 12:
            length, check = struct.unpack("<QI", header)
            assert check == masked_crc32c(header[:8])
            data, end = stream.read(length), stream.read(4)
            if len(end) < 4:
                return
            assert struct.unpack("<I", end)[0] == masked_crc32c(data)
            yield data


def event_file(run: Path) -> Path:
    """The one event file of a run."""
    (file,) = run.glob("**/events.out.tfevents.*")
    assert file in run.glob(EVENT_FILES)
    return file


def events(run: Path) -> dict[str, list[tuple[int, float, Any]]]:
    """Update, time and value of each event of the run's one file, by their tag, in the order of the file."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found: dict[str, list[tuple[int, float, Any]]] = {}
    for number, data in enumerate(records(event_file(run))):
        event = Event.FromString(data)
        assert (event.file_version == "brain.Event:2") == (number == 0)
        # a TensorBoard that is running then forgets what it has read of earlier files
        assert (event.session_log.status == SessionLog.START) == (number == 1)
        for value in event.summary.value:
            contents = value.tensor.string_val[0].decode() if value.HasField("tensor") else value.simple_value
            found.setdefault(value.tag, []).append((event.step, event.wall_time, contents))
    return found


def check_against_files(run: Path) -> None:
    """Assert that the event file holds what the log and the previews hold: nothing less, nothing twice."""
    found = events(run)
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(log) > 3
    for tag, key in TAGS.items():
        wanted = [(line["step"], line[key]) for line in log if line[key] is not None]
        assert [step for step, _, _ in found[tag]] == [step for step, _ in wanted], tag
        assert [value for _, _, value in found[tag]] == pytest.approx([value for _, value in wanted]), tag
        times = [when for _, when, _ in found[tag]]
        assert times == sorted(times)
    for part in ("train", "validation"):
        nats = [(step, value) for step, _, value in found[f"loss/{part}"]]
        bits = [(step, value * math.log(2)) for step, _, value in found[f"bits/{part}"]]
        assert bits == [(step, pytest.approx(value)) for step, value in nats]
    previews = [json.loads(line) for line in (run / "previews.jsonl").read_text().splitlines()]
    assert len(previews) > 0
    shown = [(step, text) for step, _, text in found["preview/text_summary"]]
    assert shown == [
        (p["step"], "".join(f"    {line}\n" for line in p["text"].split("\n"))) for p in previews
    ]
    assert set(found) == {*TAGS, "bits/train", "bits/validation", "preview/text_summary"}


def _train(
    directory: Path,
    on_event: Listener = lambda event: None,
    tensorboard: bool = True,
    seed: int = 1,
    **options: Any,
) -> Path:
    """A small run, in `directory`/run; `options` are attributes of the request."""
    (directory / "text.txt").write_text(TEXT)
    nested = {
        "corpus": {"path": str(directory / "text.txt"), "split": [0.8, 0.2, 0.0]},
        "model": {"hidden": 6, "layers": 1},
        "train": {"batch": 4, "seq_len": 7, "seed": seed, "epochs": 2.0},
        "run": {
            "dir": str(directory / "run"),
            "tensorboard": tensorboard,
            "log_every": 5,
            "eval_every": 0.5,
            "sample_every": 0.5,
            "sample_length": 20,
            "threads": 1,
        },
    }
    session.train(Request(from_mapping(nested), **options), on_event)
    return directory / "run"


def test_a_run_is_written(tmp_path: Path) -> None:
    """Every value of the log, losses in bits too, and every preview, at its update."""
    run = _train(tmp_path)
    check_against_files(run)
    assert not list(run.glob(".*"))


def test_without_the_key_there_is_no_event_file(tmp_path: Path) -> None:
    """Only who asks for event files has them; previews are kept all the same."""
    run = _train(tmp_path, tensorboard=False)
    assert {file.name for file in run.iterdir()} == {
        *("config.yaml", "metrics.jsonl", "previews.jsonl", "last.npz", "best.npz")
    }


def test_events_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    """What has been logged is in the file with the next event, and no thread writes it."""
    seen = []

    def look(event: Event) -> None:
        assert threading.active_count() <= threads
        if isinstance(event, Updated) and event.step == 11:
            seen.append([step for step, _, _ in events(tmp_path / "run")["loss/train"]])

    threads = threading.active_count()
    _train(tmp_path, look)
    assert seen == [[5, 6, 10]]


@pytest.mark.parametrize("stop", [4, 6, 13, 23])
def test_a_resumed_run_is_one_line(tmp_path: Path, stop: int) -> None:
    """A run that was stopped, or killed after its checkpoint, is in one file, every update in it once."""
    run = _train(tmp_path, max_steps=stop)
    # what a kill leaves behind the checkpoint: lines, a preview, and an event file with half a record
    with (run / "metrics.jsonl").open("a") as log:
        log.write('{"step": 9999, "epoch": 99, "train_loss": 9}\n{"st')
    with (run / "previews.jsonl").open("a") as previews:
        previews.write('{"step": 9999, "epoch": 99, "text": "gone"}\n{"st')
    file = event_file(run)
    file.with_name(re.sub(r"\d{10}", "1234567890", file.name)).write_bytes(file.read_bytes()[:-3])
    file.unlink()
    _train(tmp_path, resume=True)
    check_against_files(run)


def test_events_can_be_asked_for_later(tmp_path: Path) -> None:
    """A run that is resumed with the key has its whole history in the file."""
    _train(tmp_path, max_steps=13, tensorboard=False)
    check_against_files(_train(tmp_path, resume=True))


def test_times_are_those_of_training(tmp_path: Path) -> None:
    """In a file that is written anew, updates lie as far from each other as training took."""
    run = _train(tmp_path, max_steps=12)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line["seconds"] = 100.0 * line["step"]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with contextlib.closing(EventFiles(RunDirectory(run), warn=pytest.fail)) as files:
        files(Previewed("whatever comes first"))
    found = events(run)["loss/train"]
    assert [when - found[0][1] for _, when, _ in found] == pytest.approx(
        [line["seconds"] - lines[0]["seconds"] for line in lines], abs=1e-3
    )
    assert found[-1][1] == pytest.approx(time.time(), abs=10)


def test_overwriting_leaves_no_old_events(tmp_path: Path) -> None:
    """Until the new run has a checkpoint the old one's events stay; then there are only the new one's."""
    run = _train(tmp_path)
    old = event_file(run).read_bytes()
    found: list[bool] = []

    def look(event: Event) -> None:
        if isinstance(event, Updated):
            found.append(event_file(run).read_bytes() == old)

    _train(tmp_path, look, overwrite=True, seed=2)
    assert found[0]
    assert not found[-1]
    assert found == sorted(found, reverse=True)
    check_against_files(run)
    _train(tmp_path, overwrite=True, tensorboard=False)
    assert not list(run.glob("events*"))


def test_a_new_run_in_the_place_of_one_without_a_checkpoint(tmp_path: Path) -> None:
    """What such a run left of events and previews is removed."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    (run / "previews.jsonl").write_text('{"step": 1, "epoch": 1, "text": "old"}\n')
    (run / EVENT_FILES.replace("*", "1.host")).write_bytes(b"old")
    _train(tmp_path, overwrite=True)
    check_against_files(run)


def test_a_missing_package_is_told_before_anything_is_done(
    tmp_path: Path, charlm: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the command that installs it; the text is not read and no directory made."""
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setattr("charlm.training.session.prepare", lambda *_: pytest.fail("the text is read"))
    (tmp_path / "run.yaml").write_text("corpus: {path: text.txt}\nrun: {tensorboard: true}\n")
    (tmp_path / "text.txt").write_text(TEXT)
    done = charlm("train", "--config", "run.yaml", status=1)
    assert done.stderr == "Error: the package tensorboardX is missing: pip install 'charlm[tensorboard]'\n"
    assert not (tmp_path / "runs").exists()
    with pytest.raises(ExtraError):
        _train(tmp_path)


def test_a_disk_that_fails_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be written is a warning; training goes on, and in the end nothing is missing."""
    from tensorboardX.record_writer import RecordWriter

    write, flush, calls = RecordWriter.write, RecordWriter.flush, [0]

    def failing(self: RecordWriter, *data: bytes) -> None:
        calls[0] += 1
        if 8 <= calls[0] < 14:
            if data:
                self._writer.write(data[0][:5])  # half a record
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        (write if data else flush)(self, *data)

    monkeypatch.setattr(RecordWriter, "write", failing)
    monkeypatch.setattr(RecordWriter, "flush", failing)
    warnings: list[str] = []

    def look(event: Event) -> None:
        if isinstance(event, Warned):
            warnings.append(event.message)
            assert not list((tmp_path / "run").glob("events*"))  # it takes no space from checkpoints

    run = _train(tmp_path, look)
    assert len(warnings) > 2
    assert set(warnings) == {f"{run}: no event file for TensorBoard can be written: no space left on device"}
    check_against_files(run)
