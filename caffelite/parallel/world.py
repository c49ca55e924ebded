"""The processes that an MPI launcher has started, as a group."""

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from caffelite.errors import MissingExtraError, ParallelError
from caffelite.layers.contract.group import Group
from caffelite.net.machine import choose_threads, share_of_cores
from caffelite.parallel import ends
from caffelite.parallel.halves import HALVES, Half
from caffelite.parallel.launcher import OPEN_MPI, Launched

_T = TypeVar("_T")

#: A wait that is longer is for a snapshot or for data; then a look from time to time is enough.
_LONG, _LOOK = 1.0, 0.001
#: Where the connection to another process breaks, its launcher ends this one too, and tells why; it is given so long.
_SECONDS_TO_BE_ENDED = 5.0


class MpiGroup(Group):
    """The processes of a communicator of MPI.

    Sums are non-blocking ones that are asked whether they are there, so that a process that waits gives way to others
    that compute on the same core, and sees signals.

    Parameters
    ----------
    world : Comm
        Of mpi4py, which is initialized.
    reduce_in : {"float16", "bfloat16"}, optional
        What gradients are rounded to on their way, see :meth:`start_sum`.

    Attributes
    ----------
    waited : float
        Seconds that were spent waiting for sums.
    bytes_summed : int
        Bytes of the arrays that were summed, as they went.
    """

    def __init__(self, world: Any, reduce_in: str | None = None) -> None:
        from mpi4py import MPI

        self._mpi: Any = MPI
        self._world = world
        self.size, self.rank = self._world.Get_size(), self._world.Get_rank()
        self.waited = 0.0
        self.bytes_summed = 0
        self._half = None if reduce_in is None else HALVES[reduce_in]
        # Sums in halves are two steps each, which other processes may begin at other times.
        self._second = self._world if self._half is None else self._world.Dup()
        self._last: _HalfSum | None = None
        self._turn = min(self.rank, 1) if self._share_machine() else 2

    def sum(self, values: np.ndarray) -> None:
        self._exact(values).wait()

    def start_sum(self, values: np.ndarray) -> "_Sum":
        """Begin to add up an array in place, see :meth:`.Group.start_sum`; in halves, where these were asked for.

        In halves each process gets a piece of the array of all, adds it up in float32 in the order of ranks, rounds it
        and gives it to all: half the bytes, and the same bits everywhere and each time.
        """
        if self._half is None or values.dtype != np.float32:
            return self._exact(values)
        self._last = _HalfSum(self, self._half, values, self._last)
        self.bytes_summed += 2 * values.size
        return self._last

    def _exact(self, values: np.ndarray) -> "_Sum":
        self.bytes_summed += values.nbytes
        return _Sum(self, self.checked(lambda: self._world.Iallreduce(self._mpi.IN_PLACE, values)))

    def in_turn(self, work: Callable[[], _T]) -> _T:
        """Do what leaves files that others then find: first the first process, then the first of each machine."""
        for turn in range(3):
            if turn == self._turn:
                result = work()
            self.meet()
        return result

    def meet(self) -> None:
        """Return when all processes are here."""
        _Sum(self, self.checked(self._world.Ibarrier)).wait()

    def deal_pieces(self, pieces: np.ndarray) -> tuple[Any, np.ndarray]:
        """Begin to send each process its row of an array; return the request, and where the rows of all come to."""
        received = np.empty_like(pieces)
        return self.checked(lambda: self._world.Ialltoall(pieces, received)), received

    def collect_pieces(self, piece: np.ndarray) -> tuple[Any, np.ndarray]:
        """Begin to send a row to all processes; return the request, and where the rows of all come to."""
        received = np.empty((self.size, piece.size), piece.dtype)
        return self.checked(lambda: self._second.Iallgather(piece, received)), received

    def _share_machine(self) -> bool:
        """Divide the cores among the processes of this machine; return whether this is the first of them."""
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        machine = self._world.Split_type(self._mpi.COMM_TYPE_SHARED)
        # A launcher may have given each process cores of its own.
        largest = np.full(1, max(cores, default=0), np.int64)
        machine.Allreduce(self._mpi.IN_PLACE, largest, self._mpi.MAX)
        own = np.zeros(int(largest[0]) + 1, np.uint8)
        own[cores] = 1
        masks = np.zeros((machine.Get_size(), own.size), np.uint8)
        machine.Allgather(own, masks)
        place = machine.Get_rank()
        machine.Free()
        same = (masks == own).all(axis=1)
        choose_threads(*share_of_cores(int(same.sum()), int(same[:place].sum())))
        return bool(place == 0)

    def checked(self, call: Callable[[], Any]) -> Any:
        """Return what a function of MPI returns; an error of it means that a process has gone."""
        try:
            return call()
        except self._mpi.Exception as error:
            time.sleep(_SECONDS_TO_BE_ENDED)
            raise ParallelError(f"the connection to the other processes is broken: {error}") from None


class _Sum:
    """A sum on its way."""

    def __init__(self, group: MpiGroup, request: Any) -> None:
        self._group, self._request = group, request

    def done(self) -> bool:
        return bool(self._group.checked(self._request.Test))

    def wait(self) -> None:
        begun = perf_counter()
        while not self.done():
            if perf_counter() - begun > _LONG:
                time.sleep(_LOOK)
            elif hasattr(os, "sched_yield"):
                os.sched_yield()
        self._group.waited += perf_counter() - begun


class _HalfSum(_Sum):
    """A sum of halves on its way: pieces of all to each, then the sum of each to all."""

    def __init__(self, group: MpiGroup, half: Half, values: np.ndarray, before: "_HalfSum | None") -> None:
        self._values, self._half, self._before = values, half, before
        pieces = np.zeros((group.size, -(-values.size // group.size)), np.uint16)
        pieces.reshape(-1)[: values.size] = half.encode(values.reshape(-1))
        request, self._pieces = group.deal_pieces(pieces)
        self._added = self._there = False
        self._sent = pieces  # MPI reads it meanwhile
        super().__init__(group, request)

    def done(self) -> bool:
        if not self._there and self._begin_second() and super().done():
            self._values.reshape(-1)[...] = self._half.decode(self._pieces).reshape(-1)[: self._values.size]
            self._there = True
        return self._there

    def _begin_second(self) -> bool:
        """Begin the second step, if it is not begun and can be; return whether it is. All begin them in one order."""
        if self._added:
            return True
        if self._before is not None and not self._before._begin_second():
            return False
        self._before = None
        if not super().done():
            return False
        total = self._half.decode(self._pieces[0])
        for piece in self._pieces[1:]:
            total += self._half.decode(piece)
        self._sent = self._half.encode(total)
        self._request, self._pieces = self._group.collect_pieces(self._sent)
        self._added = True
        return True


def join(place: Launched, reduce_in: str | None = None) -> MpiGroup:
    """Make this process one of those that the launcher has started.

    Parameters
    ----------
    place : Launched
    reduce_in : {"float16", "bfloat16"}, optional
        See :class:`MpiGroup`.

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
        with _plain_signals():
            mpi.Init_thread(mpi.THREAD_SERIALIZED)
            if mpi.COMM_WORLD.Get_size() == place.size:
                ends.joined(mpi)
                return MpiGroup(mpi.COMM_WORLD, reduce_in)
            mpi.Finalize()
    raise ParallelError(
        f"a launcher of {place.launcher} has started {place.size} processes, but mpi4py has {vendor}, for which each "
        f"is alone: start them with the mpiexec of {vendor}, or with --processes"
    )


def _mpi4py() -> Any:
    import mpi4py

    mpi4py.rc.initialize = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it guesses what join tells
        from mpi4py import MPI

    return MPI


@contextmanager
def _plain_signals() -> Iterator[None]:
    """Let signals end the process while it is in functions of MPI that wait for others, with no way back to Python."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM) if main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
