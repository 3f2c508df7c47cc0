"""Speed of training, sampling, evaluating and encoding, recorded so that changes can be compared.

Run by hand, on a machine that does nothing else; it is no test, and times nothing in the suite::

    python tests/benchmarks.py --out before.json
    python tests/benchmarks.py --out after.json --against before.json

Every shape is timed `--rounds` times, in turn, and the medians are kept. With `--against` the
ratio to the earlier file is printed beside each figure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPES = [
    f"{cell}:{shape}"
    for cell in ("rnn", "lstm", "gru")
    for shape in ("128:2:50:50:65", "256:1:64:64:65", "512:2:64:100:65", "128:1:50:50:5000")
]
"""CELL:HIDDEN:LAYERS:BATCH:SEQ_LEN:VOCAB."""

FIGURES = ("train_chars_per_s", "sample_chars_per_s", "eval_chars_per_s", "fraction_of_matmul", "peak_rss_mb")

TEXTS = {
    "ascii": "The ferry came over at noon. " * 2_000_000,
    "korean": "나룻배가 강을 건너왔다. " * 1_000_000,
}


def bench(shape: str, threads: int, seconds: float) -> dict[str, float]:
    """The figures of one shape, from `charlm bench`."""
    cell, hidden, layers, batch, seq_len, vocab = shape.split(":")
    settings = {
        "model.cell": cell,
        "model.hidden": hidden,
        "model.layers": layers,
        "train.batch": batch,
        "train.seq_len": seq_len,
    }
    command = [sys.executable, "-m", "charlm", "bench", "--json", "--vocab", vocab]
    command += ["--threads", str(threads), "--seconds", str(seconds)]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    values = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {figure: values[figure] for figure in FIGURES}


def encoding(text: str) -> dict[str, float]:
    """Megabytes per second of reading, encoding and keeping a file, and of reading it again."""
    from charlm.data.cache import Cache
    from charlm.data.corpus import read_corpus
    from charlm.data.reader import TextPipeline
    from charlm.data.sources import Source

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "text.txt"
        path.write_text(text)
        cache, figures = Cache(Path(directory) / "cache"), {}
        for figure in ("encode_mb_per_s", "read_again_mb_per_s"):
            started = time.perf_counter()
            read_corpus([Source(str(path))], TextPipeline(), (0.9, 0.05, 0.05), cache=cache)
            figures[figure] = path.stat().st_size / 1e6 / (time.perf_counter() - started)
        return figures


def scoring() -> dict[str, float]:
    """Speeds of `charlm score`: relative to `charlm eval perplexity`, and of many lines to single ones.

    Processor time of one worker, with an LSTM of 2 x 48.
    """
    import charlm
    from charlm.cli import charlm as commands

    text = (Path(__file__).parent.parent / "data" / "tales.txt").read_text()
    flat = text.replace("\n", " ")
    lines = [flat[59 * k :][:59] for k in range(len(flat) // 59)]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as directory, Path(os.devnull).open("w") as nowhere:
        for name, contents in (("text", text), ("lines", "".join(f"{line}\n" for line in lines))):
            (Path(directory) / name).write_text(contents)
        settings = {"model.hidden": 48, "run.threads": 1}
        model = charlm.train({}, f"{directory}/text", f"{directory}/run", settings, max_steps=5).load()

        def seconds(*command: str) -> float:
            started = time.process_time()
            with contextlib.redirect_stdout(nowhere):
                commands([*command, "--checkpoint", f"{directory}/run"], standalone_mode=False)
            return time.process_time() - started

        whole = seconds("eval", "perplexity", "--corpus", f"{directory}/text")
        rows = {by: seconds("score", f"{directory}/text", "--by", by) for by in ("line", "word", "unit")}
        many = seconds("score", f"{directory}/lines", "--reset", "line") / len(lines)
        started = time.process_time()
        for line in lines[:300]:
            model.losses(line)
        single = (time.process_time() - started) / 300
    return {f"{by} / evaluation": whole / spent for by, spent in rows.items()} | {
        "lines / line": single / many
    }


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="where the figures are kept, as JSON")
    parser.add_argument("--against", type=Path, help="figures of an earlier run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("shapes", nargs="*", default=SHAPES, metavar="CELL:H:L:B:T:V")
    arguments = parser.parse_args()
    earlier = json.loads(arguments.against.read_text()) if arguments.against else {}

    measured: dict[str, list[dict[str, float]]] = {}
    for _ in range(arguments.rounds):
        for shape in arguments.shapes:
            measured.setdefault(shape, []).append(bench(shape, arguments.threads, arguments.seconds))
        for name, text in TEXTS.items():
            measured.setdefault(name, []).append(encoding(text))
        measured.setdefault("scoring", []).append(scoring())
    medians = {
        name: {figure: statistics.median(row[figure] for row in rows) for figure in rows[0]}
        for name, rows in measured.items()
    }
    for name, figures in medians.items():
        print(name)
        for figure, value in figures.items():
            before = earlier.get(name, {}).get(figure)
            ratio = f"   {value / before:.3f} times the earlier" if before else ""
            print(f"  {figure:<20} {value:14,.2f}{ratio}")
    arguments.out.write_text(json.dumps(medians, indent=2) + "\n")


if __name__ == "__main__":
    main()
