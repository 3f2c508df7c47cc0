"""What more cores of one machine bring to one network, predicted from what a shard costs on one core.

Each of W workers computes the gradient of B / W streams of the batch, and then updates a part of the
parameters. A shard of few streams is slow: the weights are read for each step whatever the number of
streams. So W workers reach at most::

    speed-up = W r(B / W) / r(B),     r(b): characters per second of one core with b streams

What workers exchange is left out, and so are caches that cores share: `--together` measures with a second
process that does the same::

    python tests/many_cores.py
    python tests/many_cores.py --together --hidden 256
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

BATCHES = (16, 32)
"""Streams of a batch: the recipe chooses 16 to 32 of them."""

WORKERS = (1, 2, 4, 8, 16)

ROWS = (1, 2, 4, 8, 16, 32)
"""Streams of a shard that are measured."""


def bench(hidden: int, batch: int, seconds: float, threads: int = 1) -> subprocess.Popen[str]:
    """Start `charlm bench` of an LSTM of two layers."""
    values = {"model.layers": 2, "model.hidden": hidden, "train.batch": batch, "train.seq_len": 50}
    settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "charlm", "bench", "--json", "--threads", str(threads)]
    return subprocess.Popen(
        [*command, "--seconds", str(seconds), *settings], stdout=subprocess.PIPE, text=True
    )


def speed(hidden: int, batch: int, seconds: float, together: bool, threads: int = 1) -> float:
    """Characters trained on per second; with `together`, the mean of two processes at a time."""
    started = [bench(hidden, batch, seconds, threads) for _ in range(1 + together)]
    printed = [process.communicate()[0] for process in started]
    return sum(json.loads(text)["train_chars_per_s"] for text in printed) / len(printed)


def main() -> None:
    """Measure, predict, and confirm with two workers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, default=320)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--together", action="store_true", help="two processes at a time")
    arguments = parser.parse_args()
    H, seconds, together = arguments.hidden, arguments.seconds, arguments.together
    rates = {rows: speed(H, rows, seconds, together) for rows in ROWS}
    print(f"LSTM 2 x {H}, windows of 50, one core" + ", two processes at a time" * together)
    for rows, rate in rates.items():
        print(f"{rows:4} streams {rate:10,.0f} characters per second {rate / rates[ROWS[-1]]:6.2f}")
    print("predicted speed-up by workers")
    for batch in BATCHES:
        cells = (f"{W:6}: {W * rates[batch // W] / rates[batch]:4.1f}" for W in WORKERS)
        print(f"{batch:4} streams " + "".join(cells))
    for batch in BATCHES:
        measured = speed(H, batch, seconds, False, 2) / rates[batch]
        print(f"{batch:4} streams, two workers: measured {measured:.2f}")


if __name__ == "__main__":
    main()
