"""Event files for TensorBoard, made from the log of a run and its previews.

An event file is rewritten from the first line when the run begins or is resumed, and grows line by
line from then on: every update is in it once.
"""

import contextlib
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from charlm.runs.directory import EVENT_FILES, RunDirectory
from charlm.runs.log import COLUMNS, read_objects
from charlm.system.errors import RunError
from charlm.system.extras import extra
from charlm.system.files import reason
from charlm.training.events import Event, Listener, Updated, Warned


def check() -> None:
    """Raise `ExtraError` if the package that writes event files is missing."""
    extra("tensorboardX", "tensorboard")


class EventFiles:
    """Listens to a run, and writes each new line of its log and previews to an event file beside them.

    Nothing is written as long as the directory still holds an earlier run.
    """

    def __init__(self, directory: RunDirectory, warn: Listener) -> None:
        """`warn` is called if something cannot be written. Raises `ExtraError` as `check` does."""
        # not its SummaryWriter, whose thread would be there when workers are forked
        self._events = extra("tensorboardX.event_file_writer", "tensorboard")
        self._summary = extra("tensorboardX.summary", "tensorboard")
        self._directory, self._warn = directory, warn
        self._writer: Any = None
        self._read: dict[Path, int] = {}
        """How many bytes of each file of the run are in the event file."""

    def __call__(self, event: Event) -> None:
        """Write new lines; if that fails, warn, and write all of them with the next one."""
        if isinstance(event, (Updated, Warned)) or self._directory.replaces:
            return
        try:
            self._follow()
        except (OSError, RunError, KeyError, TypeError, ValueError) as error:
            self.close()
            with contextlib.suppress(OSError):  # the space may be needed for a checkpoint
                self._directory.remove_events()
            cause = reason(error) if isinstance(error, OSError) else error
            self._warn(
                Warned(f"{self._directory.path}: no event file for TensorBoard can be written: {cause}")
            )

    def close(self) -> None:
        """Close the event file; harmless if there is none."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()

    def _follow(self) -> None:
        """Write the lines that are new, in the order of their updates."""
        if self._writer is None:
            self._begin()
        lines, previews = self._new(self._directory.metrics), self._new(self._directory.previews)
        now, trained = time.time(), max((line.get("seconds", 0.0) for line in lines), default=0.0)
        records = [
            (line["step"], now - trained + line.get("seconds", trained), self._scalars(line))
            for line in lines
        ]
        records += [(preview["step"], now, self._text(preview["text"])) for preview in previews]
        for step, wall_time, summary in sorted(records, key=lambda record: record[0]):
            self._write(step=step, wall_time=wall_time, summary=summary)
        self._writer.flush()

    def _begin(self) -> None:
        """Begin a file in the place of earlier ones."""
        self._directory.remove_events()
        self._read = {}
        # absolute: tensorboardX takes a path such as s3:... for a place elsewhere
        prefix = os.path.join(os.path.abspath(self._directory.path), "events")
        self._writer = self._events.EventsWriter(prefix, EVENT_FILES.rpartition("*")[2])
        # a TensorBoard that is running forgets the files that were removed
        session = self._events.event_pb2.SessionLog(status="START")
        self._write(step=0, wall_time=time.time(), session_log=session)

    def _write(self, **contents: Any) -> None:
        self._writer.write_event(self._events.event_pb2.Event(**contents))

    def _new(self, file: Path) -> list[dict[str, Any]]:
        """The lines of a file of the run that have not been read."""
        new = list(read_objects(file, self._read.get(file, 0))) if os.path.exists(file) else []
        if new:
            _, self._read[file] = new[-1]
        return [line for line, _ in new]

    def _scalars(self, line: Mapping[str, Any]) -> Any:
        """The values of a line of the log; losses also in bits."""
        values = {column.tag: line.get(key) for key, column in COLUMNS.items() if column.tag}
        for tag, nats in list(values.items()):
            if tag.startswith("loss/") and nats is not None:
                values[tag.replace("loss", "bits")] = nats / math.log(2)
        Value = self._summary.Summary.Value
        scalars = [Value(tag=tag, simple_value=value) for tag, value in values.items() if value is not None]
        return self._summary.Summary(value=scalars)

    def _text(self, text: str) -> Any:
        """A preview, indented so that TensorBoard shows it as it is and not as Markdown."""
        return self._summary.text("preview", "".join(f"    {line}\n" for line in text.split("\n")))
