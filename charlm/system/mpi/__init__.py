"""The team of this job: what a launcher has started and what MPI sees, brought together.

Only this folder knows MPI.
"""

import os
from collections.abc import Sequence
from typing import Any

from charlm.system.errors import ExtraError, RankError
from charlm.system.extras import extra
from charlm.system.mpi.launcher import Place, place
from charlm.system.mpi.team import MpiTeam
from charlm.system.team import ALONE, Team

_connected: list[Team] = []


def connected() -> Team:
    """The team that `connect` has found. Before that every process works alone.

    Of those that a launcher has started on a machine, one has rank 0 then, and may show an error.
    """
    return _connected[0] if _connected else Team(rank=place().local)


def connect(command: Sequence[str] = ()) -> Team:
    """The team of this job, by MPI if a launcher has started several.

    Raises `RankError` if mpi4py is missing, if MPI does not see what the launcher started, or if the
    ranks were not given the same `command`.
    """
    started = place()
    if started.size == 1:
        return ALONE
    if not _connected:
        _connected.append(_by_mpi(started))
        told = connected().gather(list(command))
        if any(other != told[0] for other in told):
            raise RankError(
                "the ranks of one job have different commands; to train a run in each, start them without MPI"
            )
    return connected()


def _by_mpi(started: Place) -> Team:
    """The team that MPI sees; raises `RankError` if those are not the ones that were started."""
    launcher = os.getppid()  # before MPI starts, which takes a while: the launcher may die meanwhile
    mpi = _mpi(started)
    world = mpi.COMM_WORLD
    if world.size != started.size and (started.size or world.rank != started.rank):
        if started.rank == 1 and not started.size:
            _connected.append(ALONE)  # shows the error: for all that rank 0 can know, it is the only one
        raise RankError(
            f"{started.size or 'several'} processes were started, and MPI sees {world.size}: use the "
            "mpirun of the MPI that mpi4py has loaded, or srun --mpi=pmix (Open MPI), --mpi=pmi2 (MPICH)"
        )
    team = MpiTeam(mpi, launcher)
    return team if team.size > 1 else ALONE


def _mpi(started: Place) -> Any:
    """The module `mpi4py.MPI`, which starts MPI; raises `RankError` without it.

    `RDMAV_FORK_SAFE` keeps the pages that a network card writes to out of the workers, which are forked.
    """
    os.environ.setdefault("RDMAV_FORK_SAFE", "1")
    try:
        extra("mpi4py", "mpi")
    except ExtraError as error:
        found = f"{started.size} processes were started as one job" if started.size else "PMIX_RANK is set"
        raise RankError(f"{found}, and {error}", 2) from error
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise RankError(
            f"mpi4py finds no MPI library: {error}; pip install mpich, or load the cluster's module"
        ) from error
    return MPI
