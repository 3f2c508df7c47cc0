"""Planted errors: each must be found by the tests that are named with it.

Run by hand; it takes some minutes. It copies the repository, plants one error at a time in the
copy, and runs the tests that must notice it::

    python tests/mutants.py            # all of them
    python tests/mutants.py lstm       # those whose description or file holds this word
    python tests/mutants.py --list

A mutant that no test notices survives: a test is missing. The exit status is 1 if one does, or if
the text that an error replaces is not in its file exactly once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

GRADIENTS = "eval gradients --config configs/tales.yaml"
"""A command in place of a test: it must fail, too."""


@dataclass(frozen=True)
class Mutant:
    """One planted error."""

    about: str
    """What is wrong, in a few words."""
    file: str
    """Below `charlm/`."""
    right: str
    """The text as it is; exactly once in the file."""
    wrong: str
    """The text in its place."""
    found_by: tuple[str, ...]
    """Each of these fails: test files, pytest's `file::test`, or `GRADIENTS`."""


MUTANTS = (
    Mutant(
        "lstm: slopes of the first step in every block but the last",
        "nn/kernels/lstm.py",
        "n = t - block.start",
        "n = t - block.start if block.stop == T else 0",
        ("test_cells.py", "test_gradcheck.py", GRADIENTS),
    ),
    Mutant(
        "gru: slopes of another block in every block but the last",
        "nn/kernels/gru.py",
        "np.multiply(slopes[0], tape.reset[block], slopes[0])",
        "np.multiply(slopes[0], tape.reset[: len(slopes[0])], slopes[0])",
        ("test_cells.py", "test_gradcheck.py"),
    ),
)


def survivors_of(mutant: Mutant, copy: Path) -> list[str] | None:
    """Those of `found_by` that did not notice the error; None if it cannot be planted."""
    file = copy / "charlm" / mutant.file
    source = file.read_text()
    if source.count(mutant.right) != 1:
        return None
    file.write_text(source.replace(mutant.right, mutant.wrong))
    environment = {**os.environ, "PYTHONPATH": str(copy), "CI": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    unnoticed = []
    try:
        for check in mutant.found_by:
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", f"tests/{check}"]
            if check == GRADIENTS:
                command = [sys.executable, "-m", "charlm", *check.split()]
            done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False)
            # pytest has a status of its own for tests that are not there
            if done.returncode != 1:
                unnoticed.append(f"{check} (status {done.returncode})")
    finally:
        file.write_text(source)
    return unnoticed


def main() -> int:
    """Plant, run, print; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="only mutants whose description or file holds one of these")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    arguments = parser.parse_args()
    chosen = [
        mutant
        for mutant in MUTANTS
        if not arguments.words or any(word in f"{mutant.about} {mutant.file}" for word in arguments.words)
    ]
    if arguments.list:
        for mutant in chosen:
            print(f"{mutant.file}: {mutant.about}")
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "repository"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "runs")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for mutant in chosen:
            started = time.perf_counter()
            unnoticed = survivors_of(mutant, copy)
            verdict = "found"
            if unnoticed is None:
                verdict = "CANNOT BE PLANTED: the text is not there exactly once"
            elif unnoticed:
                verdict = f"SURVIVED {', '.join(unnoticed)}"
            failed += verdict != "found"
            print(
                f"{time.perf_counter() - started:6.1f} s  {mutant.file}: {mutant.about}: {verdict}",
                flush=True,
            )
    print(f"{len(chosen) - failed} of {len(chosen)} found")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
