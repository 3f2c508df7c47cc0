"""Where a launcher of MPI jobs has put this process, from the environment."""

import os
from dataclasses import dataclass

_LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"),  # MPICH, Intel MPI, srun --mpi=pmi2
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"),  # srun; not set in a batch script itself
)
"""Names of the variables that tell a process the number of ranks, its rank, and its rank on its machine."""

_PMIX = ("PMIX_NAMESPACE", "PMIX_RANK")
"""What any launcher with PMIx tells; prterun tells no more: the job, and the rank."""


@dataclass(frozen=True)
class Place:
    """Where a launcher has put this process: its rank of `size`, and the rank among those of its machine.

    A `size` of 0 is one that MPI alone knows; `local` is the rank then.
    """

    rank: int = 0
    size: int = 1
    local: int = 0


def place() -> Place:
    """The place of this process, from the environment; rank 0 of 1 without a launcher."""
    for names in _LAUNCHERS:
        values = [os.environ.get(name, "") for name in names]
        if values[0].isdigit() and values[1].isdigit() and int(values[0]) > 1:
            return Place(int(values[1]), int(values[0]), int(values[2]) if values[2].isdigit() else 0)
    job, rank = (os.environ.get(name, "") for name in _PMIX)
    if job and rank.isdigit() and not any(size in os.environ for size, *_ in _LAUNCHERS):
        return Place(int(rank), 0, int(rank))
    return Place()
