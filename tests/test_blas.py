"""Threads and BLAS kernel are chosen before NumPy loads, and users' own choices are honoured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from charlm.system import blas as machine

REPORT = """
import json, os, sys
from pathlib import Path
from charlm.system import blas as machine
machine._CPUINFO = Path(sys.argv[2])
threads = machine.prepare(int(sys.argv[1]))
names = (*machine.THREAD_VARIABLES, "OPENBLAS_CORETYPE")
print(json.dumps({"threads": threads, **{name: os.environ.get(name) for name in names}}))
"""

FLAGS = "avx2 avx512f avx512dq avx512bw avx512vl avx512cd fma"


def _prepared(directory: Path, threads: int = 0, flags: str = "", **environment: str) -> dict[str, object]:
    """What `prepare` returns and leaves in the environment, on a CPU with these flags."""
    cpuinfo = directory / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n")
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in (*machine.THREAD_VARIABLES, "OPENBLAS_CORETYPE")
    }
    done = subprocess.run(
        [sys.executable, "-c", REPORT, str(threads), str(cpuinfo)],
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("threads", "environment", "expected"),
    [
        (3, {}, 3),
        (3, {"OMP_NUM_THREADS": "5"}, 3),
        (0, {"OMP_NUM_THREADS": "5"}, 5),
        (0, {"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "5"}, 4),
        (0, {"OMP_NUM_THREADS": "many"}, machine.usable_cpus()),
        (0, {}, machine.usable_cpus()),
    ],
)
def test_threads(tmp_path: Path, threads: int, environment: dict[str, str], expected: int) -> None:
    """An explicit number wins, then the variables that BLAS reads, then the CPUs; BLAS gets one thread."""
    found = _prepared(tmp_path, threads, **environment)
    assert found["threads"] == expected
    assert {found[name] for name in machine.THREAD_VARIABLES} == {"1"}


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        (FLAGS, {}, "SkylakeX"),
        (FLAGS.replace("avx512cd", ""), {}, None),
        ("", {}, None),
        (FLAGS, {"OPENBLAS_CORETYPE": "Haswell"}, "Haswell"),
    ],
)
def test_kernel(tmp_path: Path, flags: str, environment: dict[str, str], expected: str | None) -> None:
    """AVX-512 kernels are asked for only where the CPU has all that they need and the user chose none."""
    assert _prepared(tmp_path, flags=flags, **environment)["OPENBLAS_CORETYPE"] == expected


def test_an_unknown_machine_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell what the CPU can do, nothing is assumed."""
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "missing")
    assert machine._cpu_flags() == set()


def test_blas_names_itself() -> None:
    """The report names the library in use."""
    assert "blas" in machine.blas().lower()
