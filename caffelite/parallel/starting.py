"""From a process that a launcher has started to one of MPI's, with its share of the machine."""

import os
import warnings
from typing import Any

import numpy as np

from caffelite.errors import MissingExtraError, ParallelError
from caffelite.net.machine import choose_threads, share_of_cores
from caffelite.parallel import ends
from caffelite.parallel.launcher import OPEN_MPI, Launched


def start_mpi(place: Launched, threads: str = "THREAD_SERIALIZED") -> Any:
    """Make this process one of those that the launcher has started; return ``mpi4py.MPI``, initialized.

    Parameters
    ----------
    place : Launched
    threads : str, optional
        MPI's name of what threads may do.

    Raises
    ------
    MissingExtraError
        mpi4py, or its MPI, is not installed.
    ParallelError
        Launcher and mpi4py belong to different MPIs, so that each process is alone.
    """
    try:
        mpi = _mpi4py()
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(
            f"a launcher has started {place.size} processes, which takes mpi4py and an MPI: pip install "
            f"'caffelite[mpi]', or 'caffelite[mpi-system]' where there is an MPI ({' '.join(str(error).split())})"
        ) from None
    vendor = mpi.get_vendor()[0]
    # MPICH ends the process where it meets the other one's launcher.
    if place.launcher != OPEN_MPI or vendor == OPEN_MPI:
        with ends.plain_signals():
            mpi.Init_thread(getattr(mpi, threads))
            if mpi.COMM_WORLD.Get_size() == place.size:
                ends.joined(mpi)
                return mpi
            mpi.Finalize()
    raise ParallelError(
        f"a launcher of {place.launcher} has started {place.size} processes, but mpi4py has {vendor}, for which each "
        f"is alone: start them with the mpiexec of {vendor}"
    )


def _mpi4py() -> Any:
    import mpi4py

    mpi4py.rc.initialize = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it guesses what start_mpi tells
        from mpi4py import MPI

    return MPI


def share_machine(mpi: Any, world: Any, computes: bool = True) -> bool:
    """Divide the cores among the processes of this machine; return whether this is the first of them.

    Parameters
    ----------
    mpi : module
        ``mpi4py.MPI``.
    world : Comm
        All of its processes come here.
    computes : bool, optional
        Whether this process takes a share; one that does not is told that of the others.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    machine = world.Split_type(mpi.COMM_TYPE_SHARED)
    # A launcher may have given each process cores of its own.
    largest = np.full(1, max(cores, default=0), np.int64)
    machine.Allreduce(mpi.IN_PLACE, largest, mpi.MAX)
    own = np.zeros(int(largest[0]) + 2, np.uint8)
    own[cores] = 1
    own[-1] = computes
    masks = np.zeros((machine.Get_size(), own.size), np.uint8)
    machine.Allgather(own, masks)
    place = machine.Get_rank()
    machine.Free()
    same = (masks[:, :-1] == own[:-1]).all(axis=1) & (masks[:, -1] == 1)
    choose_threads(*share_of_cores(max(int(same.sum()), 1), int(same[:place].sum())))
    return bool(place == 0)
