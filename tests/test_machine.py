"""The limits of containers: the smallest one of all groups that a process is in counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from charlm.system import machine
from charlm.system.machine import cpu_limit, memory_limit

VERSION_1 = "4:cpu,cpuacct:/a/b\n6:memory:/a\n1:name=systemd:/x\n0::/"


def _tree(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A machine: what `/proc/self/cgroup` holds, and files below `/sys/fs/cgroup`."""
    for name, contents in {"proc/self/cgroup": groups, **files}.items():
        file = root / (name if name.startswith("proc") else f"sys/fs/cgroup/{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{contents}\n")
    return root


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {}, None),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "250000 100000"}, 3),
        # the group's own quota, an ancestor's, and one beside them
        ("0::/a/b", {"a/b/cpu.max": "100000 100000", "a/cpu.max": "300000 100000"}, 1),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/a/b", {"a/b/cpu.max": "800000 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/a/b", {"a/cpu.max": "max 100000", "c/cpu.max": "100000 100000"}, None),
        # the container is the root of what it sees
        ("0::/docker/0123", {"cpu.max": "150000 100000"}, 2),
        (VERSION_1, {"cpu/a/b/cpu.cfs_quota_us": "-1", "cpu/a/b/cpu.cfs_period_us": "100000"}, None),
        (VERSION_1, {"cpu/a/cpu.cfs_quota_us": "150000", "cpu/a/cpu.cfs_period_us": "50000"}, 3),
        (VERSION_1, {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        (VERSION_1, {"cpu/a/cpu.cfs_quota_us": "50000"}, None),
        # what a sandbox may show in the place of a quota
        ("0::/a", {"a/cpu.max": "", "cpu.max": "200000 100000"}, 2),
        ("0::/a", {"a/cpu.max": "100000", "cpu.max": "200000 100000"}, 2),
        ("0::/a", {"a/cpu.max": "100000 0", "cpu.max": "200000 100000"}, 2),
        ("nonsense", {"cpu.max": "200000 100000"}, 2),
    ],
)
def test_the_smallest_quota_of_all_groups(
    tmp_path: Path, groups: str, files: dict[str, str], expected: int | None
) -> None:
    """CPUs are the smallest quota over its period, rounded up, of a group and its ancestors."""
    assert cpu_limit(_tree(tmp_path, groups, files)) == expected


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"memory.max": "max"}, None),
        ("0::/", {"memory.max": ""}, None),
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "4096"}, 4096),
        ("0::/a/b", {"a/b/memory.max": "8192", "a/memory.max": "4096", "memory.max": "9000"}, 4096),
        (VERSION_1, {"memory/memory.limit_in_bytes": "9223372036854771712"}, 9223372036854771712),
        (VERSION_1, {"memory/a/memory.limit_in_bytes": "4096", "memory/memory.limit_in_bytes": "5000"}, 4096),
    ],
)
def test_the_smallest_memory_of_all_groups(
    tmp_path: Path, groups: str, files: dict[str, str], expected: int | None
) -> None:
    """Memory is the smallest limit of a group and its ancestors."""
    assert memory_limit(_tree(tmp_path, groups, files)) == expected


def test_a_system_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    """Where the files are missing, nothing is limited."""
    assert (cpu_limit(tmp_path), memory_limit(tmp_path)) == (None, None)


@pytest.mark.parametrize(("limit", "expected"), [(None, 8), (3, 3), (12, 8)])
def test_workers_are_no_more_than_the_quota(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, expected: int
) -> None:
    """A process may use the CPUs that it may run on, but no more than its quota pays for."""
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(machine, "cpu_limit", lambda: limit)
    assert machine.usable_cpus() == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is not asked")
def test_the_memory_of_a_container_is_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has more memory than this process used, and what control groups leave of it at most."""
    whole = machine.machine_bytes()
    assert whole is not None
    assert 10_000_000 < machine.peak_bytes() < whole
    monkeypatch.setattr(machine, "memory_limit", lambda: 1 << 20)
    assert machine.machine_bytes() == 1 << 20
