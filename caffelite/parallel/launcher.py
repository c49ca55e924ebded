"""Whether an MPI launcher has started this process, as its environment tells; nothing here needs MPI."""

import os
from typing import NamedTuple

OPEN_MPI = "Open MPI"

#: In which variables launchers tell a process its rank and how many there are, and whose they are.
VARIABLES = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", OPEN_MPI),
    ("PMI_RANK", "PMI_SIZE", "MPICH or Intel MPI"),
    # Those of a step that srun has started; sbatch sets SLURM_PROCID and SLURM_NTASKS for its script too.
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "Slurm"),
)


class Launched(NamedTuple):
    """What a launcher has told a process.

    Attributes
    ----------
    rank : int
    size : int
        2 or more.
    launcher : str
        Whose launcher it is.
    """

    rank: int
    size: int
    launcher: str


def launched() -> Launched | None:
    """Return what a launcher has told this process; None where it was started alone."""
    for rank_name, size_name, launcher in VARIABLES:
        rank, size = os.environ.get(rank_name, ""), os.environ.get(size_name, "")
        if rank.isdecimal() and size.isdecimal() and int(size) > 1:
            return Launched(int(rank), int(size), launcher)
    return None
