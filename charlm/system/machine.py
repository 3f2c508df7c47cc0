"""The machine: the CPUs and the memory that it leaves to this process.

Containers, Slurm and systemd limit both by control groups. In version 2 all controllers share one tree
of groups; in version 1 each has a tree. A limit holds for every group below it, so that the smallest limit
of a group and its ancestors counts. A container may see its group as the root of the tree, whatever
`/proc/self/cgroup` says.
"""

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_MEMORY = {"": ["memory.max"], "memory": ["memory.limit_in_bytes"]}
_CPU = {"": ["cpu.max"], "cpu": ["cpu.cfs_quota_us", "cpu.cfs_period_us"]}
"""The files of a limit by the controller whose tree they are in; version 2 has one tree without a name."""


def usable_cpus() -> int:
    """CPUs that this process may run on, no more than the quota of its container pays for."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cpus, cpu_limit() or cpus)


def peak_bytes() -> int:
    """The most memory that this process has had so far; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def machine_bytes() -> int | None:
    """The memory of this machine, or what a container or `ulimit` leaves of it; None if unknown."""
    limits = []
    with contextlib.suppress(ValueError, OSError, AttributeError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    limits.append(memory_limit() or 0)
    with contextlib.suppress(ImportError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        limits += [] if limit == resource.RLIM_INFINITY else [limit]
    return min((limit for limit in limits if limit > 0), default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes of memory that the control groups below `root` leave; None without a limit."""
    return min((limit for limit, *_ in _values(_MEMORY, root)), default=None)


def cpu_limit(root: Path = Path("/")) -> int | None:
    """CPUs that the control groups below `root` leave, rounded up; None without a limit."""
    quotas = (values for values in _values(_CPU, root) if len(values) == 2)
    return min((math.ceil(quota / period) for quota, period in quotas), default=None)


def _values(files: Mapping[str, list[str]], root: Path) -> Iterator[list[int]]:
    """The numbers in those files of each group of this process, and of each ancestor, that has a limit."""
    places = dict.fromkeys(files, "/")
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            places |= {name: place for name in controllers.split(",") if name in files}
    for name, names in files.items():
        top = root / "sys/fs/cgroup" / name
        group = top / places[name].lstrip("/")
        for directory in (group, *group.parents):
            if directory.is_relative_to(top):
                # no limit is "max", or -1; a sandbox may show an empty file
                with contextlib.suppress(OSError, ValueError):
                    words = [word for file in names for word in (directory / file).read_text().split()]
                    numbers = [int(word) for word in words]
                    if min(numbers) > 0:
                        yield numbers
