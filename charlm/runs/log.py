"""The log of a run, metrics.jsonl: its columns, and how it is read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from charlm.system.errors import RunError, shortened
from charlm.system.files import os_errors_as


class Column(NamedTuple):
    """A column of the log, as it is shown."""

    heading: str
    """Its heading in a table."""
    width: int
    """Characters of that table's column."""
    form: str
    """Its format there."""
    label: str
    """Its name beside an axis; `{unit}` stands for the unit of the text."""
    tag: str = ""
    """Its name in TensorBoard; empty for what TensorBoard is not given."""

    def cell(self, value: Any) -> str:
        """A number as it stands in that table; anything else is left out."""
        is_number = isinstance(value, int if self.form == "d" else (int, float)) and value == value
        text = format(value, self.form) if is_number else ""
        return f"{text if len(text) <= self.width else format(value, '.1e'):>{self.width}}"


def _column(*column: Any) -> Any:
    return field(metadata={"column": Column(*column)})


@dataclass(frozen=True)
class Line:
    """A line of the log, which has these keys in this order; lines of older versions lack some.

    Losses are in nats per unit of the text. Means are over the updates since the line before, and
    None if all of these were dropped.
    """

    step: int = _column("update", 8, "d", "update")
    """Updates done."""
    epoch: float = _column("epoch", 7, ".2f", "epoch")
    """Epochs done."""
    train_loss: float | None = _column("train", 8, "z.4f", "loss (nats/{unit})", "loss/train")
    """Mean training loss."""
    validation_loss: float | None = _column("validation", 11, "z.4f", "loss (nats/{unit})", "loss/validation")
    """Validation loss; None if the model was not validated."""
    lr: float = _column("lr", 9, ".3g", "learning rate", "lr")
    """Learning rate of the last update."""
    grad_norm: float | None = _column("grad norm", 10, ".3g", "gradient norm", "grad_norm")
    """Mean global norm of the gradient before clipping."""
    clipped: float | None = _column("clipped", 8, ".0%", "share of clipped updates", "clipped")
    """Share of the updates whose gradient was clipped."""
    chars_per_s: float = _column("chars/s", 10, ",.0f", "{unit}s/s", "chars_per_s")
    """Units trained on per second of training."""
    seconds: float = _column("seconds", 8, ",.0f", "seconds")
    """Seconds of training so far, validation and saving not counted."""


COLUMNS: dict[str, Column] = {column.name: column.metadata["column"] for column in fields(Line)}
"""The columns of the log by their keys."""


def read_objects(file: Path, start: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Each line of `file` from byte `start` on as a JSON object, and the byte where the line ends.

    Text after the last line break is still being written, and left out. Raises `RunError` naming
    the file and the cause.
    """
    try:
        with os_errors_as(RunError, f"{file} cannot be read"), file.open("rb") as stream:
            end = stream.seek(start)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                values = json.loads(line)
                if not isinstance(values, dict):
                    raise ValueError(f"{shortened(line.decode().strip())} is not a JSON object")
                yield values, end
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file} cannot be read: {error}") from error
