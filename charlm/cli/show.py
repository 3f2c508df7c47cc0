"""How values look in the output."""

from __future__ import annotations

import math
import os
from pathlib import Path


def losses(nats: float) -> str:
    """A loss in both units: `1.5432 nats 2.2264 bits/char`."""
    return f"{nats:.4f} nats {nats / math.log(2):.4f} bits/char"


def printable(text: str) -> str:
    """`text` with everything that would move a terminal's cursor replaced, but line breaks."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def place(path: Path | str) -> str:
    """A path as one would type it: relative to the current directory where it lies below it."""
    whole = Path(os.path.abspath(path))
    here = Path.cwd()
    return str(whole.relative_to(here) if whole.is_relative_to(here) else whole)
