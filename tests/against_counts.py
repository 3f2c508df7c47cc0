"""Trained models beside a count model that goes on counting, on the same part of the same text.

PPMd (Shkarin 2002, "PPM: one step to practicality") predicts each byte from counts of what came before it,
the scored part included. Dynamic evaluation is the neural model that learns from what it has scored, too;
static evaluation is given less. Needs `pip install pyppmd`::

    python tests/against_counts.py runs/tales runs/tinyshakespeare

Each line is a row of a table: bits per character of the split that `charlm eval perplexity` scores.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pyppmd  # type: ignore[import-not-found]

from charlm.inference.evaluate import evaluate
from charlm.inference.reading import read_text
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.directory import find_checkpoint
from charlm.system import blas
from charlm.system.team import ALONE

ORDERS = range(5, 11)
"""Lengths of the longest context that are tried; the best is shown, which favours the counts."""

MEMORY = 1 << 30
"""Bytes for the counts."""


def compressed(data: bytes, order: int) -> int:
    """Bytes that PPMd makes of `data`."""
    encoder = pyppmd.Ppmd7Encoder(order, MEMORY)
    return len(encoder.encode(data)) + len(encoder.flush())


def texts(loaded: Checkpoint) -> tuple[bytes, bytes]:
    """What comes before the scored part of the model's text, and that part, in UTF-8."""
    read = read_text(loaded, None, None, ("test", "validation", "train"))
    corpus, split = read.corpus, read.split
    names = ("train", "validation", "test")
    before = names[: names.index(split)] if split else ()

    def text(name: str) -> str:
        return "".join(corpus.vocabulary.text(block) for block in corpus.part(name).blocks())

    return "".join(map(text, before)).encode(), text(split or "").encode()


def main() -> None:
    """Print a row for each run."""
    team = ALONE.of(workers=blas.prepare(0, 0))
    print(f"{'run':24} {'characters':>10} {'PPMd':>8} {'order':>5} {'static':>8} {'dynamic':>8}")
    for name in sys.argv[1:]:
        loaded = checkpoint.load(find_checkpoint(Path(name)))
        before, scored = texts(loaded)
        evaluation = evaluate(loaded, dynamically=True, team=team)
        characters = evaluation.raw.characters
        taken, order = min((compressed(before + scored, k) - compressed(before, k), k) for k in ORDERS)
        nats = (evaluation.score.nll, evaluation.asked.nll)
        static, dynamic = (value / math.log(2) / characters for value in nats)
        print(
            f"{name:24} {characters:10,} {8 * taken / characters:8.4f} {order:5} "
            f"{static:8.4f} {dynamic:8.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
