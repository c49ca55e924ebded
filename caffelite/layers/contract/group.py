"""The processes that share the work of a net, as its layers and its solver know them."""

from typing import Protocol

import numpy as np

from caffelite.data.share import Share, whole

#: How the batches of a net are dealt out among processes: each is cut and they have a piece each, or they take turns.
PIECES, TURNS = "pieces", "turns"
#: Whose statistics normalize a batch in TRAIN: those of the whole batch, or those of each process's share of it.
BATCH, PROCESS = "batch", "process"


class Sum(Protocol):
    """A sum over all processes that is on its way."""

    def done(self) -> bool:
        """Whether it is there; asking moves it on."""

    def wait(self) -> None:
        """Return when it is there."""


class Group:
    """The processes that share the work; of this class itself: one process that is alone.

    Attributes
    ----------
    size : int
        How many there are.
    rank : int
        The number of this one, from 0.
    """

    size: int = 1
    rank: int = 0

    def sum(self, values: np.ndarray) -> None:
        """Add up an array of float32 or float64 over all processes, in place; all get the same bits."""

    def start_sum(self, values: np.ndarray) -> Sum:
        """Begin to add up an array in place; it must not be touched before the sum is there.

        Processes begin their sums in the same order.
        """
        return _There()

    def deal(self, batch_size: int, dealing: str) -> Share:
        """Return which records of batches of this size are this process's own.

        Parameters
        ----------
        batch_size : int
        dealing : {"pieces", "turns"}
            Every batch is cut into pieces, the first ones larger by one where it does not divide; or each process takes
            the next whole batch, and the group's batch is ``size`` times as large.
        """
        if self.size == 1:
            return whole(batch_size)
        if dealing == TURNS:
            return Share(batch_size, self.rank * batch_size, self.size * batch_size)
        piece, larger = divmod(batch_size, self.size)
        return Share(piece + (self.rank < larger), self.rank * piece + min(self.rank, larger), batch_size)


class _There:
    """A sum over one process."""

    def done(self) -> bool:
        return True

    def wait(self) -> None:
        pass


#: A process that is alone.
ALONE = Group()
