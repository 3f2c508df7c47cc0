"""What a run costs on many machines: a model, its table, and the measurements that support it.

Run by hand, on a machine that does nothing else; nothing of this is timed in the suite::

    python tests/many_machines.py                                   # the tables
    python tests/many_machines.py --alternatives                    # the speed with other exchanges
    python tests/many_machines.py --compare                         # two ranks against two workers
    mpirun -n 2 python tests/many_machines.py --updates --gbit 1    # the model, and delayed exchanges

The model
---------
An update of a batch of B streams and T steps on M machines, one rank each with w workers::

    time(M) = 6 W B T / (M rate) · (1 + HALF M w / B)  +  N · UPDATE / w
              + 2 latency + 2 (M - 1) MESSAGE + bytes / bandwidth          the exchanges, if M > 1
    bytes   = 4 N (k + 1) (M - 1) / M

N are the parameters, W those in matrix products. A shard of b streams multiplies at b / (b + HALF) of
the rate. Each rank adds up its w shards as far as the order of the sums allows, to k buffers: one if
w is a power of two. It sends them, and receives as many; then the sums. Every rank updates all
parameters.

Three alternatives. Shards that are sent without being added: k = w. A ring Allreduce, in which two
numbers of machines differ in their bits::

    2 (M - 1) (latency + MESSAGE) + bytes / bandwidth,   bytes = 8 N (M - 1) / M

Overlap exchanges the gradients of the upper layers while the backward pass of the lowest layer runs.
It hides at most that time, and at most the upper layers' share of the exchanges. That costs no
computing here, which is more than MPI promises.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from charlm.benchmark import training_flops
from charlm.config.build import build_model
from charlm.config.schema import Config
from charlm.data.corpus import Corpus
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.system import blas
from charlm.system.connection import connect
from charlm.system.ranks import Ranks
from charlm.training.data_parallel import left_to_add
from charlm.training.trainer import Trainer

VOCAB, LAYERS, STEPS = 65, 2, 100

BATCHES = (64, 512)

WORKERS = 2
"""Of a machine."""

RATE = 180e9
"""Operations of matrix products a second that training reaches on a machine, with many streams."""

HALF = 2.0
"""Streams of a shard with which it reaches half of that."""

UPDATE = 2e-9
"""Seconds of one worker to add, clip and update a parameter (Adam)."""

MESSAGE = 5e-6
"""Seconds to send and receive a message, however short."""

NETWORKS = {1: 50e-6, 10: 20e-6, 100: 2e-6}
"""Latency in seconds by bandwidth in gigabits a second."""

MACHINES = (2, 4, 8, 16, 32, 64)

PAYS = 1.3
"""What twice as many machines must bring to be worth it."""


@dataclass(frozen=True)
class Size:
    """Parameters of an LSTM, those in matrix products, and of both those of its lowest layer."""

    parameters: int
    in_products: int
    lowest: int
    lowest_in_products: int


def size_of(hidden: int) -> Size:
    """The size of an LSTM."""
    config = Config().replace({"model.hidden": hidden, "model.layers": LAYERS})
    sizes = {n: math.prod(shape) for n, shape in build_model(config.model, VOCAB).shapes().items()}
    products = [n for n in sizes if n.endswith(("Wx", "Wh", "W")) and n != "layers.0.Wx"]
    lowest = [n for n in sizes if n.startswith("layers.0.")]
    return Size(
        sum(sizes.values()),
        sum(sizes[name] for name in products),
        sum(sizes[name] for name in lowest),
        sum(sizes[name] for name in lowest if name in products),
    )


def buffers(machines: int, workers: int) -> float:
    """Sums of gradients that a machine sends, in the mean."""
    shards = machines * workers
    owned = Ranks(0, machines).divide(shards)
    return sum(len(left_to_add(shards, own)) for own in owned) / machines


def exchange_seconds(
    parameters: int, machines: int, gbit: float, latency: float, workers: int, how: str = ""
) -> float:
    """Seconds of both exchanges of an update."""
    if machines == 1:
        return 0.0
    sent = {"shards": workers, "ring": 1}.get(how) or buffers(machines, workers)
    size = 4 * parameters * (sent + 1) * (machines - 1) / machines
    waits = 2 * latency * ((machines - 1) if how == "ring" else 1)
    return waits + 2 * (machines - 1) * MESSAGE + 8 * size / (1e9 * gbit)


def update_seconds(
    hidden: int,
    batch: int,
    machines: int,
    gbit: float,
    latency: float,
    workers: int = WORKERS,
    how: str = "",
) -> float:
    """Seconds of an update, as it is or with an alternative; infinite with too few streams for workers."""
    if machines * workers > batch:
        return math.inf
    size = size_of(hidden)
    computing = 6 * size.in_products * batch * STEPS / (machines * workers * RATE / WORKERS)
    computing *= 1 + HALF * machines * workers / batch
    exchanges = exchange_seconds(size.parameters, machines, gbit, latency, workers, how)
    if how == "overlap":
        # two thirds of the operations are those of the backward pass
        behind = 2 / 3 * computing * size.lowest_in_products / size.in_products
        exchanges -= min(behind, exchanges * (1 - size.lowest / size.parameters))
    return computing + size.parameters * UPDATE / workers + exchanges


def alternatives(hidden: int, batch: int) -> None:
    """The speed with other exchanges, by workers of a machine and network; 1 is that of what is built."""
    print(f"\nLSTM of {hidden} x {LAYERS}, batch {batch} x {STEPS}: shards sent one by one, ring, overlap\n")
    print("| workers | Gbit/s |" + "".join(f" {m} |" for m in MACHINES))
    print("|---|---|" + "---|" * len(MACHINES))
    for workers in (1, 2, 8):
        for gbit, latency in NETWORKS.items():
            row = f"| {workers} | {gbit} |"
            for machines in MACHINES:
                now, *others = (
                    update_seconds(hidden, batch, machines, gbit, latency, workers, how)
                    for how in ("", "shards", "ring", "overlap")
                )
                row += " " + ", ".join(f"{now / other:.2f}" for other in others if now < math.inf) + " |"
            print(row)


def table(batch: int) -> None:
    """How much faster than one machine several are, by size and network."""
    print(f"\nLSTM of {LAYERS} layers, batch {batch} x {STEPS}, {WORKERS} workers a machine\n")
    print("| H | MB an update | Gbit/s |" + "".join(f" {m} |" for m in MACHINES) + " pays up to |")
    print("|---|---|---|" + "---|" * (len(MACHINES) + 1))
    for hidden in (256, 512, 1024, 2048):
        moved = 4 * size_of(hidden).parameters * (buffers(2, WORKERS) + 1) / 1e6
        for gbit, latency in NETWORKS.items():
            times = [update_seconds(hidden, batch, m, gbit, latency) for m in (1, *MACHINES)]
            gains = [before / after for before, after in pairwise(times)]
            last = next((n for n, gain in enumerate(gains) if gain < PAYS), len(gains))
            speeds = "".join(f" {times[0] / t:.1f} |" if t < math.inf else " |" for t in times[1:])
            print(f"| {hidden} | {moved:,.0f} | {gbit} |{speeds} {(1, *MACHINES)[last]} |")


def updates(hidden: int, workers: int, gbit: float, rounds: int) -> None:
    """Time updates on all ranks, every second one with the delay of a network; the first prints them."""
    # mpirun gives each rank a session of its own, and Linux divides a busy processor by sessions
    os.register_at_fork(after_in_child=os.setsid)
    together = connect()
    blas.prepare(workers)
    latency = min(NETWORKS.items(), key=lambda network: abs(network[0] - gbit))[1]
    delayed = [False]
    exchange = together.exchange

    def through_network(
        outgoing: Sequence[Sequence[Any]], incoming: Sequence[Sequence[Any]]
    ) -> Callable[[], None]:
        run = exchange(outgoing, incoming)
        others = (arrays for rank, arrays in enumerate(outgoing) if rank != together.rank)
        size = sum(array.nbytes for arrays in others for array in arrays)

        def slow() -> None:
            run()
            if delayed[0]:
                time.sleep(latency + (together.size - 1) * MESSAGE + 8 * size / (1e9 * gbit))

        return slow

    together.exchange = through_network  # type: ignore[method-assign]
    settings = {"model.hidden": hidden, "model.layers": LAYERS, "train.batch": 64, "train.seq_len": STEPS}
    config = Config().replace({**settings, "train.shards": workers * together.size})
    ids = np.random.default_rng(0).integers(0, VOCAB, 64 * STEPS * 20 + 1).astype(np.uint8)
    corpus = Corpus(ids, Vocabulary(range(VOCAB), Units()), (1.0, 0.0, 0.0), digest="")
    times: dict[bool, list[float]] = {False: [], True: []}
    waited = 0.0
    with Trainer(config, corpus, workers, ranks=together) as trainer:
        for number in range(-2, 2 * rounds):
            delayed[0] = gbit > 0 and number % 2 == 1
            before, started = together.waited, time.perf_counter()
            trainer.update()
            if number >= 0:
                times[delayed[0]].append(time.perf_counter() - started)
                waited += 0 if delayed[0] else together.waited - before
        flops, parameters = 64 * STEPS * training_flops(trainer), trainer.parameters.flat.size
    if together.is_first:
        plain = statistics.median(times[False])
        found: dict[str, Any] = {"ms": 1e3 * plain, "gflops": flops / plain / 1e9}
        found["waiting"] = waited / sum(times[False])
        if gbit:
            expected = exchange_seconds(parameters, together.size, gbit, latency, workers)
            slow = statistics.median(times[True])
            found |= {"delayed_ms": 1e3 * slow, "by_the_model_ms": 1e3 * (plain + expected)}
            found |= {"speed": plain / slow, "by_the_model": plain / (plain + expected)}
        print(json.dumps({name: round(value, 3) for name, value in found.items()}))


def compare(hidden: int, rounds: int) -> None:
    """Updates of two ranks of one worker, and of one process of two workers, in turn."""
    timed = [sys.executable, __file__, "--updates", "--hidden", str(hidden), "--rounds", "5"]
    mpirun = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    commands = {
        "two workers": [*timed, "--workers", "2"],
        "two ranks": [str(mpirun), "-n", "2", *timed],
    }
    ratios = []
    for _ in range(rounds):
        found = {}
        for name, command in commands.items():
            shown = subprocess.run(command, check=True, capture_output=True).stdout
            found[name] = json.loads(shown)["ms"]
        ratios.append(found["two workers"] / found["two ranks"])
        print(", ".join(f"{name}: {ms:,.0f} ms" for name, ms in found.items()), flush=True)
    print(f"speed of ranks / workers: {statistics.median(ratios):.3f}, {sorted(round(r, 3) for r in ratios)}")


def main() -> None:
    """Show the tables, or measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--alternatives", action="store_true", help="the speed with other exchanges")
    parser.add_argument("--compare", action="store_true", help="two ranks against two workers")
    parser.add_argument("--updates", action="store_true", help="time updates, under mpirun or without")
    parser.add_argument("--gbit", type=float, default=0.0, help="delay every second one as this network does")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.alternatives:
        for batch in BATCHES:
            alternatives(arguments.hidden, batch)
    elif arguments.compare:
        compare(arguments.hidden, arguments.rounds)
    elif arguments.updates:
        updates(arguments.hidden, arguments.workers, arguments.gbit, arguments.rounds)
    else:
        for batch in BATCHES:
            table(batch)


if __name__ == "__main__":
    main()
