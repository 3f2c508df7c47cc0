"""Limits of the control groups that this process is in: containers, Slurm and systemd set them.

In version 2 all controllers share one tree of groups; in version 1 each has a tree. A limit holds
for every group below it, so that the smallest limit of a group and its ancestors counts. A container
may see its group as the root of the tree, whatever `/proc/self/cgroup` says.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

_MEMORY = {"": ["memory.max"], "memory": ["memory.limit_in_bytes"]}
_CPU = {"": ["cpu.max"], "cpu": ["cpu.cfs_quota_us", "cpu.cfs_period_us"]}
"""The files of a limit by the controller whose tree they are in; version 2 has one tree without a name."""


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
