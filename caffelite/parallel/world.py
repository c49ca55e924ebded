"""The processes that an MPI launcher has started, as a group."""

import os
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from caffelite.errors import ParallelError
from caffelite.layers.contract.group import Group
from caffelite.parallel.halves import HALVES, Half
from caffelite.parallel.launcher import Launched
from caffelite.parallel.starting import share_machine, start_mpi

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
        self._turn = min(self.rank, 1) if share_machine(MPI, world) else 2

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

    def checked(self, call: Callable[[], Any]) -> Any:
        """Return what a function of MPI returns; an error of it means that memory is short, or a process has gone."""
        try:
            return call()
        except self._mpi.Exception as error:
            if "out of memory" in str(error).lower():
                raise MemoryError from None
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
    """Make this process one of those that the launcher has started, see :func:`.start_mpi`.

    Parameters
    ----------
    place : Launched
    reduce_in : {"float16", "bfloat16"}, optional
        See :class:`MpiGroup`.
    """
    return MpiGroup(start_mpi(place).COMM_WORLD, reduce_in)
