"""What the arithmetic runs on: threads and BLAS kernel, chosen before NumPy is imported.

OpenBLAS, the library of NumPy's wheels, reads both from the environment once, when it is loaded.
So `prepare` comes before the first `import numpy` of the process, and this module needs none.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""What BLAS libraries read for their number of threads."""

_KERNEL = "OPENBLAS_CORETYPE"

_SKYLAKEX = {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}
"""What a CPU must have to run OpenBLAS's SkylakeX kernels."""

_CPUINFO = Path("/proc/cpuinfo")


def prepare(threads: int = 0) -> int:
    """Set up the BLAS that NumPy will load, and return the number of threads to use.

    `threads` above 0 wins over the environment, which wins over the number of CPUs. BLAS itself
    gets one thread: the package splits batches over workers, elementwise work included (see `team`).
    An OpenBLAS that does not know a newer CPU falls back to its AVX2 kernels, at up
    to half the speed: where the CPU has AVX-512 it is asked for those instead, unless the user
    has chosen a kernel.
    """
    wanted = threads or _threads_in_environment() or usable_cpus()
    if "numpy" in sys.modules:
        return wanted
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
    if _KERNEL not in os.environ and _cpu_flags() >= _SKYLAKEX:
        os.environ[_KERNEL] = "SkylakeX"
    # threads that hand the interpreter's lock to and fro wait this long for it at the most; the
    # usual 5 ms is an age beside array operations of some microseconds (GRU, H = 128: 1.25 times
    # as fast on two threads)
    sys.setswitchinterval(1e-4)
    return wanted


def _cpu_flags() -> set[str]:
    """The CPU's features as Linux names them; empty where it does not tell."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return set()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split())


def _threads_in_environment() -> int:
    """What the user told BLAS libraries, or 0."""
    for variable in THREAD_VARIABLES:
        value = os.environ.get(variable, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    return 0


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def blas() -> str:
    """The BLAS library in use and its kernel, such as `OpenBLAS 0.3.31 (SkylakeX)`.

    Read from the loaded library itself where it is an OpenBLAS; otherwise what NumPy was built
    with. Imports NumPy.
    """
    import numpy as np

    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    name = f"{built.get('name', 'BLAS')} {built.get('version', '')}".strip()
    for path in _loaded_libraries("openblas"):
        library = ctypes.CDLL(path)
        for symbol in ("scipy_openblas_get_corename64_", "openblas_get_corename64_", "openblas_get_corename"):
            if hasattr(library, symbol):
                function = getattr(library, symbol)
                function.restype = ctypes.c_char_p
                return f"{name} ({function().decode('ascii', 'replace')})"
    return name


def _loaded_libraries(name: str) -> list[str]:
    """Files of shared libraries with `name` in theirs that this process has loaded (Linux)."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    files = {line.split(maxsplit=5)[5] for line in lines if line.count("/") and line.endswith(".so")}
    return sorted(file for file in files if name in Path(file).name)
