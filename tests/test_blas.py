"""Threads and BLAS kernel are chosen before NumPy loads, and users' own choices are honoured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, arithmetic_state

from charlm.system import blas
from charlm.system.machine import usable_cpus

REPORT = """
import json, os, sys
if "numpy" in sys.argv[2:]:
    import numpy
from charlm.system import blas
before = dict(os.environ)
threads = [blas.prepare(int(sys.argv[1])) for _ in range(2)]
print(json.dumps({
    "threads": threads, "blas_threads": blas.blas_threads(), "blas": blas.blas(),
    "same": before == dict(os.environ), "warning": blas.warning(),
}))
"""

FLAGS = "avx2 avx512f avx512dq avx512bw avx512vl avx512cd fma"


def _clean(**environment: str) -> dict[str, str]:
    """The environment without what chooses threads or kernels, but for what is given."""
    chosen = (*blas.THREAD_VARIABLES, "OPENBLAS_CORETYPE")
    return {name: value for name, value in os.environ.items() if name not in chosen} | environment


@pytest.mark.parametrize("first", ["charlm", "numpy"])
@pytest.mark.parametrize(
    ("threads", "environment", "expected"),
    [
        (3, {"OMP_NUM_THREADS": "5"}, 3),
        (0, {"OMP_NUM_THREADS": "5"}, 5),
        (0, {"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "5"}, 4),
        (0, {"OMP_NUM_THREADS": "many"}, usable_cpus()),
        (0, {}, usable_cpus()),
    ],
)
def test_threads(first: str, threads: int, environment: dict[str, str], expected: int) -> None:
    """An explicit number wins, then the variables that BLAS reads, then the CPUs; BLAS gets one thread.

    So it is with every call, whether NumPy was imported before or not, and the environment stays.
    """
    done = subprocess.run(
        [sys.executable, "-c", REPORT, str(threads), first],
        env=_clean(PYTHONPATH=str(ROOT), **environment),
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["threads"] == [expected, expected]
    if "openblas" in found["blas"].lower():
        assert (found["blas_threads"], found["same"]) == (1, True)
        assert "1 thread" in found["blas"]


@pytest.mark.parametrize(
    ("flags", "environment", "expected"),
    [
        (FLAGS, {}, "SkylakeX"),
        (FLAGS.replace("avx512cd", ""), {}, None),
        ("", {}, None),
        (FLAGS, {"OPENBLAS_CORETYPE": "Haswell"}, None),
    ],
)
def test_kernel(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    environment: dict[str, str],
    expected: str | None,
) -> None:
    """AVX-512 kernels are asked for only where the CPU has all that they need and the user chose none."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n")
    monkeypatch.setattr(blas, "_CPUINFO", cpuinfo)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert blas._environment().get("OPENBLAS_CORETYPE") == expected


@pytest.mark.parametrize(
    ("kernel", "flags", "warns"),
    [("Haswell", FLAGS, True), ("SkylakeX", FLAGS, False), ("Zen", "avx2", False)],
)
def test_a_kernel_that_came_too_early_is_told(
    monkeypatch: pytest.MonkeyPatch, kernel: str, flags: str, warns: bool
) -> None:
    """Where NumPy runs slower kernels than the command would choose, a warning says so."""
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(blas, "kernel", lambda: kernel)
    monkeypatch.setattr(blas, "_cpu_flags", lambda: set(flags.split()))
    told = blas.warning()
    assert (told is not None and kernel in told and "OPENBLAS_CORETYPE" in told) == warns
    assert warns or told is None


def test_threads_that_cannot_be_set_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A BLAS without a known way to set its threads is named, unless the environment has set them."""
    monkeypatch.setattr(blas, "_openblas", lambda: iter([]))
    for variable in blas.THREAD_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert "OPENBLAS_NUM_THREADS=1" in str(blas.warning())
    for variable in blas.THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    assert blas.warning() is None


def test_the_environment_decides_before_what_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that are given come first, then those of the environment, then the usual number."""
    monkeypatch.setattr(blas, "_threads_in_environment", lambda: 3)
    assert [blas.workers(2, 1), blas.workers(0, 1), blas.workers()] == [2, 3, 3]
    monkeypatch.setattr(blas, "_threads_in_environment", lambda: 0)
    assert [blas.workers(0, 1), blas.workers()] == [1, usable_cpus()]


def test_a_host_gets_its_threads_back(host: tuple[int, float]) -> None:
    """Within the block there is one thread; after an error, too, all is as before."""
    with contextlib.suppress(KeyError), blas.borrowed():
        assert arithmetic_state() == (1, 1e-4)
        raise KeyError
    assert arithmetic_state() == host == (3, 0.002)


def test_overlapping_blocks_end_once(host: tuple[int, float]) -> None:
    """Whichever of two blocks ends first, there is one thread until the other ends."""
    first, second = blas.borrowed(), blas.borrowed()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert arithmetic_state() == (1, 1e-4)
    second.__exit__(None, None, None)
    assert arithmetic_state() == host


def test_between_items_a_host_has_its_threads(host: tuple[int, float]) -> None:
    """Items are made with one thread, and nothing is held while the caller has one."""
    for found in blas.each(arithmetic_state() for _ in range(2)):
        assert found == (1, 1e-4)
        assert arithmetic_state() == host
    assert arithmetic_state() == host


@pytest.mark.parametrize("number", [None, "1"])
def test_a_program_that_imports_charlm_first_keeps_its_threads(number: str | None) -> None:
    """NumPy comes with the kernel that charlm chooses, and the threads that OpenBLAS would have chosen."""
    script = (
        "import charlm; charlm.Run; from charlm.system import blas; "
        "print(blas.blas_threads(), blas._call(*blas._openblas(), 'get_num_procs'))"
    )
    chosen = {} if number is None else {"OMP_NUM_THREADS": number}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=_clean(PYTHONPATH=str(ROOT), **chosen),
        capture_output=True,
        check=True,
    )
    threads, processors = done.stdout.decode().split()
    assert threads == (number or processors)


def test_an_unknown_blas_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell what the CPU can do, nothing is assumed."""
    monkeypatch.setattr(blas, "_CPUINFO", tmp_path / "missing")
    assert blas._cpu_flags() == set()


def test_blas_names_itself() -> None:
    """The report names the library in use."""
    assert "blas" in blas.blas().lower()
