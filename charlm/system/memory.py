"""Memory: what this process had, and what this machine has."""

from __future__ import annotations

import contextlib
import os
import sys

from charlm.system.cgroups import memory_limit


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
