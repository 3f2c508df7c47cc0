"""Where a launcher has put a process."""

from __future__ import annotations

import pytest

from charlm.system.mpi import launcher
from charlm.system.mpi.launcher import Place, place

PMIX = {"PMIX_NAMESPACE": "prterun-host-7@1", "PMIX_RANK": "0"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Place()),
        ({"PMI_SIZE": "1", "PMI_RANK": "0"}, Place()),
        ({"PMI_SIZE": "2", "PMI_RANK": "1", "MPI_LOCALRANKID": "1"}, Place(1, 2, 1)),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}, Place(3, 4, 0)),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}, Place(5, 8, 1)),
        # a batch script of Slurm, outside of srun
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, Place()),
        # prterun; MPI knows how many they are
        (PMIX | {"PMIX_RANK": "3"}, Place(3, 0, 3)),
        # PMIx in one process of srun, and of mpirun
        (PMIX | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Place()),
        (PMIX | {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, Place()),
        (PMIX | {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}, Place(5, 8, 1)),
        # no job, or no rank of one
        ({"PMIX_RANK": "0"}, Place()),
        ({"PMIX_NAMESPACE": "job", "PMIX_RANK": ""}, Place()),
    ],
)
def test_launchers_are_known(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: Place
) -> None:
    """The place of a process is what its launcher says."""
    for name in [name for names in (*launcher._LAUNCHERS, launcher._PMIX) for name in names]:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert place() == expected
