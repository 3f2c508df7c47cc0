"""The BLAS library of NumPy: its kernel and its threads.

OpenBLAS, the library of NumPy's wheels, reads its settings from the environment when it is
loaded. So `load` imports NumPy, and this module does not. Where NumPy was imported before it (a
notebook), the threads are set through the library's own function, and `warning` says what could
not be set.
"""

import contextlib
import ctypes
import functools
import importlib
import os
import platform
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from charlm.system.machine import usable_cpus
from charlm.system.version import __version__

Item = TypeVar("Item")

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""What BLAS libraries read for their number of threads."""

_SWITCH = 1e-4
"""Seconds that a thread waits for the interpreter's lock: Python's 5 ms are long beside array operations."""

_KERNEL = "OPENBLAS_CORETYPE"

_SKYLAKEX = {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}
"""Instructions that OpenBLAS's SkylakeX kernels need."""

AVX512_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""OpenBLAS's kernels that use AVX-512."""

_PREFIXES, _SUFFIXES = ("scipy_openblas_", "openblas_"), ("64_", "_64", "")
"""Prefixes and suffixes of the names of OpenBLAS's functions in its various builds."""

_CPUINFO = Path("/proc/cpuinfo")


def prepare(threads: int = 0, usual: int = 0) -> int:
    """Set up a process of this package: NumPy, its BLAS; returns `workers(threads, usual)`.

    BLAS gets one thread: the package divides batches over workers, elementwise work included (see
    `system.workers`).
    """
    claim()
    load()
    _take()
    return workers(threads, usual)


def claim() -> None:
    """Make this process the package's own: `load` then leaves BLAS with one thread."""
    _Host.is_ours = True


def workers(threads: int = 0, usual: int = 0) -> int:
    """Workers to use: `threads` above 0, or what the environment says, or `usual` above 0, or all CPUs."""
    return threads or _threads_in_environment() or usual or usable_cpus()


def load() -> None:
    """Load NumPy with the BLAS set up, unless it has been loaded.

    OpenBLAS is left with as many threads as it would have chosen, with one in a process that is the
    package's own. Another library has one thread either way: it reads no other number later.
    """
    if "numpy" in sys.modules:
        return
    number = _threads_in_environment()
    before = {name: os.environ.get(name) for name in _environment()}
    os.environ.update(_environment())
    importlib.import_module("numpy")
    if _openblas():  # which has read them; other libraries may read them later
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    if not _Host.is_ours:
        for library in _openblas():
            _call(library, "set_num_threads", number or _call(library, "get_num_procs"))


class _Host:
    """Whether the process is the package's own, what `borrowed` has found in it, and the number of blocks."""

    is_ours = False
    lock = threading.Lock()
    blocks = 0
    threads: Sequence[int | None] = ()
    interval = 0.0


@contextlib.contextmanager
def borrowed() -> Iterator[None]:
    """Within the block, BLAS has one thread in a process that is not this package's; also a decorator.

    At the end the threads and the interpreter's switch interval are what they were. Blocks may
    overlap, in threads too: the last to end gives back what the first has found.
    """
    load()
    with _Host.lock:
        if not _Host.blocks:
            _Host.threads = [_call(library, "get_num_threads") for library in _openblas()]
            _Host.interval = sys.getswitchinterval()
            _take()
        _Host.blocks += 1
    try:
        yield
    finally:
        with _Host.lock:
            _Host.blocks -= 1
            if not _Host.blocks:
                sys.setswitchinterval(_Host.interval)
                for library, number in zip(_openblas(), _Host.threads, strict=True):
                    _call(library, "set_num_threads", number)


def _take() -> None:
    """One thread for BLAS, and a short wait for the interpreter's lock."""
    sys.setswitchinterval(_SWITCH)
    for library in _openblas():
        _call(library, "set_num_threads", 1)


def each(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each made within `borrowed`: nothing is held while the caller has one."""
    end = object()
    return iter(borrowed()(lambda: cast(Item, next(items, end))), end)


def _environment() -> dict[str, str]:
    """Variables that set up a BLAS when it is loaded.

    An OpenBLAS that does not know a newer CPU falls back to its AVX2 kernels, at up to half the
    speed: where the CPU has AVX-512 it is asked for those instead, unless the user has chosen a
    kernel.
    """
    variables = dict.fromkeys(THREAD_VARIABLES, "1")
    if _KERNEL not in os.environ and _cpu_flags() >= _SKYLAKEX:
        variables[_KERNEL] = "SkylakeX"
    return variables


def warning() -> str | None:
    """What `prepare` could not set because NumPy was imported before it; None if all is well."""
    import numpy  # noqa: F401 (loads the library)

    if loaded := kernel():
        if _KERNEL in _environment() and loaded not in AVX512_KERNELS:
            return (
                f"NumPy was imported before and runs OpenBLAS's {loaded} kernel, slower than SkylakeX and "
                f"with other rounding: set {_KERNEL}=SkylakeX before NumPy is imported"
            )
        return None
    if all(os.environ.get(variable) == "1" for variable in THREAD_VARIABLES):
        return None
    return (
        f"NumPy was imported before, and the threads of {blas()} cannot be set any more: set "
        f"{THREAD_VARIABLES[0]}=1 before NumPy is imported"
    )


def _cpu_flags() -> set[str]:
    """The CPU's features as Linux names them; empty where it does not tell."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return set()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split())


@functools.cache
def _threads_in_environment() -> int:
    """The number of threads in the environment, or 0; read once, before `prepare` changes it."""
    for variable in THREAD_VARIABLES:
        value = os.environ.get(variable, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    return 0


def blas() -> str:
    """The BLAS library in use, its kernel and its threads: `OpenBLAS 0.3.31 (SkylakeX, 1 thread)`.

    Read from the loaded library itself where it is an OpenBLAS; otherwise what NumPy was built
    with. Imports NumPy.
    """
    import numpy as np

    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    name = f"{built.get('name', 'BLAS')} {built.get('version', '')}".strip()
    if loaded := kernel():
        threads = blas_threads()
        count = "" if threads is None else f", {threads} thread{'s' if threads != 1 else ''}"
        return f"{name} ({loaded}{count})"
    return name


def kernel() -> str:
    """The kernel of the loaded OpenBLAS, as it names it: `SkylakeX`; empty for another library."""
    for library in _openblas():
        if name := _function(library, "get_corename"):
            name.restype = ctypes.c_char_p
            return bytes(name()).decode("ascii", "replace")
    return ""


def arithmetic() -> str:
    """The versions that decide the bits of a result: of this package, NumPy, its BLAS, and libm."""
    import numpy as np

    libc = " ".join(part for part in platform.libc_ver() if part)
    return ", ".join(filter(None, (f"charlm {__version__}", f"NumPy {np.__version__}", blas(), libc)))


def blas_threads() -> int | None:
    """Threads that the loaded OpenBLAS uses; None if there is none, or it does not tell."""
    return next((_call(library, "get_num_threads") for library in _openblas()), None)


@functools.cache
def _openblas() -> tuple[ctypes.CDLL, ...]:
    """Every OpenBLAS that this process has loaded when this is first called, after NumPy."""
    libraries = (ctypes.CDLL(str(file)) for file in _loaded_libraries())
    return tuple(library for library in libraries if _function(library, "get_corename") is not None)


def _call(library: ctypes.CDLL, name: str, *numbers: int | None) -> int | None:
    """The result of a function of integers; None if the library does not have it."""
    function = _function(library, name)
    return None if function is None or None in numbers else function(*numbers)


def _function(library: ctypes.CDLL, name: str) -> Any:
    """A function of an OpenBLAS under whichever name its build gives it; None if there is none."""
    names = (f"{prefix}{name}{suffix}" for prefix in _PREFIXES for suffix in _SUFFIXES)
    return next((getattr(library, one) for one in names if hasattr(library, one)), None)


def _loaded_libraries() -> list[Path]:
    """Files of OpenBLAS that this process has loaded.

    On Linux from the list of its memory maps; elsewhere those that NumPy's wheel brings, which
    it has loaded.
    """
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
        files = {Path(line.split(maxsplit=5)[5]) for line in lines if line.count("/") and ".so" in line}
    except OSError:
        import numpy as np

        package = Path(np.__file__).parent
        files = {*(package.parent / "numpy.libs").glob("*"), *(package / ".dylibs").glob("*")}
    return sorted(file for file in files if "openblas" in file.name)
