"""Tasks on the ranks that an MPI launcher has started: the first hands them out, the others work."""

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from caffelite.net.machine import thread_count
from caffelite.parallel import ends
from caffelite.parallel.jobs import Outcome
from caffelite.parallel.launcher import launched
from caffelite.parallel.starting import share_machine, start_mpi


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


class Part(NamedTuple):
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
def the_part() -> Iterator[Part]:
    """Find out whether an MPI launcher has started this process; ranks other than the first work until that is done.

    Raises
    ------
    MissingExtraError, ParallelError
        See :func:`.start_mpi`.
    """
    place = launched()
    if place is None:
        yield Part(True, None)
        return
    mpi = start_mpi(place, "THREAD_MULTIPLE")  # the first rank hands out in a thread
    from mpi4py.futures import MPICommExecutor

    share_machine(mpi, mpi.COMM_WORLD, computes=place.rank > 0)
    before = signal.getsignal(signal.SIGINT)
    if place.rank:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first rank ends all of them
    try:
        with MPICommExecutor(mpi.COMM_WORLD, root=0) as executor:
            team = None if executor is None else Ranks(executor, place.size - 1, thread_count().number)
            try:
                yield Part(team is not None, team)
            except KeyboardInterrupt:
                # The others are in the middle of a task, and there is no other way to end it.
                ends.take_along(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
