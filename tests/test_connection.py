"""What a process does that a launcher has started; what needs mpirun is tested in `test_ranks.py`."""

from __future__ import annotations

import sys

import pytest
from conftest import Run

LAUNCHED = {"PMI_SIZE": "2", "PMI_RANK": "0", "MPI_LOCALRANKID": "0"}
PMIX = {"PMIX_NAMESPACE": "prterun-host-7@1", "PMIX_RANK": "0"}


@pytest.mark.parametrize(
    ("launched", "found"),
    [(LAUNCHED, "2 processes were started as one job"), (PMIX, "PMIX_RANK is set")],
)
def test_a_launcher_without_mpi4py_is_one_line(
    charlm: Run, monkeypatch: pytest.MonkeyPatch, launched: dict[str, str], found: str
) -> None:
    """Of several processes without mpi4py, the first of a machine names what to install, and none trains."""
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    told = charlm("train", "--config", "run.yaml", status=2).stderr
    assert told == f"Error: {found}, and the package mpi4py is missing: pip install 'charlm[mpi]'\n"
    for name, value in launched.items():
        monkeypatch.setenv(name, value.replace("0", "1"))
    assert charlm("train", "--config", "run.yaml", status=2).stderr == ""


def test_other_commands_are_left_to_the_first_rank(charlm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be divided is done by one rank, which says so."""
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    first = charlm("info", "--cache")
    assert "only the first rank does this" in first.stderr
    assert first.stdout
    monkeypatch.setenv("PMI_RANK", "1")
    other = charlm("info", "--cache")
    assert (other.stdout, other.stderr) == ("", "")
