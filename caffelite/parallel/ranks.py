"""Tasks on the ranks that an MPI launcher has started: the first hands them out, the others work."""

import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from caffelite.errors import Error
from caffelite.net.machine import choose_threads, thread_count
from caffelite.parallel.jobs import Outcome

#: In which variables launchers tell each process how many they have started: those of MPICH and Intel MPI, of Open MPI,
#: and of Slurm's srun.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def launched_size() -> int:
    """Return how many processes an MPI launcher has started beside this one and with it; 1 without a launcher."""
    sizes = [os.environ.get(name, "") for name in _SIZES]
    return max((int(size) for size in sizes if size.isdecimal()), default=1)


class Ranks:
    """The ranks of MPI but the first, which hands out the tasks: a :class:`.jobs.Team`.

    Parameters
    ----------
    executor : MPICommExecutor's
    jobs : int
    threads : int
    """

    def __init__(self, executor: Any, jobs: int, threads: int) -> None:
        self._executor, self.jobs, self.threads = executor, jobs, threads

    def finish(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Generator[Outcome, None, None]:
        """See :class:`.jobs.Team`."""
        from concurrent.futures import as_completed

        futures = {self._executor.submit(work, task): number for number, task in enumerate(tasks)}
        try:
            for future in as_completed(futures):
                error = future.exception()
                yield Outcome(futures[future], None if error else future.result(), error)
        finally:
            for future in futures:
                future.cancel()


class Launched(NamedTuple):
    """What a launcher has made of this process.

    Attributes
    ----------
    leads : bool
        Whether it is the one that does what the command is for; another one has worked for it, and is done.
    team : Ranks or None
        The others; None without a launcher.
    """

    leads: bool
    team: Ranks | None


@contextmanager
def launched() -> Iterator[Launched]:
    """Find out whether an MPI launcher has started this process; ranks other than the first work until that is done.

    Raises
    ------
    Error
        There is no mpi4py, or its MPI is not the launcher's.
    """
    size = launched_size()
    if size == 1:
        yield Launched(True, None)
        return
    try:
        from mpi4py import MPI
        from mpi4py.futures import MPICommExecutor
    except ImportError as error:
        raise Error(
            f"a launcher has started {size} processes, which takes mpi4py: pip install 'caffelite[mpi]' ({error})"
        ) from None
    world = MPI.COMM_WORLD
    if world.Get_size() != size:
        raise Error(
            f"a launcher has started {size} processes, but each is alone for the MPI of mpi4py "
            f"({MPI.Get_library_version().splitlines()[0].strip()}): start them with the mpiexec of that MPI"
        )
    choose_threads(_threads_of_rank(MPI, world), "its share of the machine's")
    before = signal.getsignal(signal.SIGINT)
    if world.Get_rank():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first rank ends all of them
    try:
        with MPICommExecutor(world, root=0) as executor:
            team = None if executor is None else Ranks(executor, size - 1, thread_count().number)
            try:
                yield Launched(team is not None, team)
            except KeyboardInterrupt:
                # The others are in the middle of a task, and there is no other way to end it.
                world.Abort(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def _threads_of_rank(mpi: Any, world: Any) -> int:
    """Return the threads of a rank: those that its cores allow, divided among the ranks that have the same cores."""
    node = world.Split_type(mpi.COMM_TYPE_SHARED)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    # The first rank only hands out.
    workers = [other for rank, other in node.allgather((world.Get_rank(), cores)) if rank]
    node.Free()
    return max(1, thread_count().number // max(1, workers.count(cores)))
