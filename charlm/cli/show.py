"""How values look in the output."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from charlm.system.files import STANDARD_INPUT


def losses(nats: float) -> str:
    """A loss in both units: `1.5432 nats 2.2264 bits/char`."""
    return f"{nats:.4f} nats {nats / math.log(2):.4f} bits/char"


def printable(text: str) -> str:
    """`text` with everything that would move a terminal's cursor replaced, but line breaks."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def duration(seconds: float, brief: bool = False) -> str:
    """`1 h 5 min`, `1 min 30 s` or `12 s`; brief `1:05:00`, `1:30` or `0:12`."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if brief:
        return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def shown_path(path: Path | str) -> str:
    """A path as one would type it: relative to the current directory where it is below it."""
    whole = Path(os.path.abspath(path))
    here = Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)


def shown_paths(paths: Sequence[str]) -> str:
    """Paths as one would type them, not too many of them."""
    names = [name if name == STANDARD_INPUT else shown_path(name) for name in paths]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} more"
