"""What a run costs on many machines: a model, its table, and the measurements that support it.

Run by hand, on a machine that does nothing else; nothing of this is timed in the suite::

    python tests/many_machines.py                                   # the tables
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
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from charlm.config.build import build_model
from charlm.config.keys import Config
from charlm.data.corpus import Corpus
from charlm.data.units import Units
from charlm.data.vocabulary import Vocabulary
from charlm.system.mpi import connect
from charlm.system.team import Team
from charlm.training.benchmark import training_flops
from charlm.training.job import Job
from charlm.training.sharded import left_to_add
from charlm.training.trainer import Trainer

VOCAB, LAYERS, STEPS = 65, 2, 100

BATCHES = (64, 512)

WORKERS = 2
"""Of a machine."""

RATE = 180e9
"""Operations of matrix products per second that training reaches on a machine, with many streams."""

HALF = 2.0
"""Streams of a shard with which it reaches half of that."""

UPDATE = 2e-9
"""Seconds of one worker to add, clip and update a parameter (Adam)."""

MESSAGE = 5e-6
"""Seconds to send and receive a message, however short."""

NETWORKS = {1: 50e-6, 10: 20e-6, 100: 2e-6}
"""Latency in seconds by bandwidth in gigabits per second."""

MACHINES = (2, 4, 8, 16, 32, 64)

PAYS = 1.3
"""What twice as many machines must bring to be worth it."""


def size_of(hidden: int) -> tuple[int, int]:
    """The parameters of an LSTM: all, and the ones in matrix products."""
    config = Config().replace({"model.hidden": hidden, "model.layers": LAYERS})
    sizes = {n: math.prod(shape) for n, shape in build_model(config.model, VOCAB).shapes().items()}
    products = [n for n in sizes if n.endswith(("Wx", "Wh", "W")) and n != "layers.0.Wx"]
    return sum(sizes.values()), sum(sizes[name] for name in products)


def buffers(machines: int, workers: int) -> float:
    """Sums of gradients that a machine sends, in the mean."""
    shards = machines * workers
    owned = Team(size=machines).divide(shards)
    return sum(len(left_to_add(shards, own)) for own in owned) / machines


def exchange_seconds(parameters: int, machines: int, gbit: float, latency: float, workers: int) -> float:
    """Seconds of both exchanges of an update."""
    if machines == 1:
        return 0.0
    size = 4 * parameters * (buffers(machines, workers) + 1) * (machines - 1) / machines
    return 2 * latency + 2 * (machines - 1) * MESSAGE + 8 * size / (1e9 * gbit)


def update_seconds(hidden: int, batch: int, machines: int, gbit: float, latency: float) -> float:
    """Seconds of an update; infinite if there are fewer streams than workers."""
    if machines * WORKERS > batch:
        return math.inf
    parameters, in_products = size_of(hidden)
    computing = 6 * in_products * batch * STEPS / (machines * RATE)
    computing *= 1 + HALF * machines * WORKERS / batch
    exchanges = exchange_seconds(parameters, machines, gbit, latency, WORKERS)
    return computing + parameters * UPDATE / WORKERS + exchanges


def table(batch: int) -> None:
    """How much faster than one machine several are, by size and network."""
    print(f"\nLSTM of {LAYERS} layers, batch {batch} x {STEPS}, {WORKERS} workers a machine\n")
    print("| H | MB an update | Gbit/s |" + "".join(f" {m} |" for m in MACHINES) + " pays up to |")
    print("|---|---|---|" + "---|" * (len(MACHINES) + 1))
    for hidden in (256, 512, 1024, 2048):
        moved = 4 * size_of(hidden)[0] * (buffers(2, WORKERS) + 1) / 1e6
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
    together = connect().prepare(workers)
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
    with Trainer(Job(config, corpus), together) as trainer:
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
    parser.add_argument("--compare", action="store_true", help="two ranks against two workers")
    parser.add_argument("--updates", action="store_true", help="time updates, under mpirun or without")
    parser.add_argument("--gbit", type=float, default=0.0, help="delay every second one as this network does")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.compare:
        compare(arguments.hidden, arguments.rounds)
    elif arguments.updates:
        updates(arguments.hidden, arguments.workers, arguments.gbit, arguments.rounds)
    else:
        for batch in BATCHES:
            table(batch)


if __name__ == "__main__":
    main()
