"""What Caffe says of several solvers that share their work, where one process does it all."""

import os
import warnings
from typing import Any

from caffelite.errors import SolverError


def solver_count() -> int:
    """Return how many solvers share a training: 1."""
    return 1


def set_solver_count(count: int) -> None:
    """Say that so many solvers share a training.

    Raises
    ------
    SolverError
        It is more than one, or none.
    """
    if count != 1:
        raise SolverError(
            f"set_solver_count({count}): one solver in one process trains here; for the batches that {count} would "
            f"share, leave this out and multiply iter_size in the solver by {count}"
        )


def solver_rank() -> int:
    """Return which of the solvers this one is: 0, the first."""
    return 0


def set_solver_rank(rank: int) -> None:
    """Say which of the solvers this one is.

    Raises
    ------
    SolverError
        It is not 0, the first.
    """
    if rank != 0:
        raise SolverError(f"set_solver_rank({rank}): one solver in one process trains here, whose rank is 0")


def set_multiprocess(several: bool) -> None:
    """Say that the solvers are in several processes; a warning says that there is one."""
    if several:
        warnings.warn("set_multiprocess(True): one process trains here, so it changes nothing", stacklevel=2)


def has_nccl() -> bool:
    """Return whether gradients can be exchanged between GPUs: False."""
    return False


class NCCL:
    """The exchange between solvers, where there is one of them: nothing is exchanged, and a warning says so.

    ``solver.add_callback(nccl)`` and ``net.after_backward(nccl)`` take it, so that a program for several GPUs runs with
    one.

    Parameters
    ----------
    solver : Solver
    uid : bytes
    """

    def __init__(self, solver: Any, uid: bytes) -> None:
        warnings.warn("NCCL: one solver in one process trains here, so nothing is exchanged", stacklevel=2)

    @staticmethod
    def new_uid() -> bytes:
        """Return a name for an exchange, as long as NCCL's own."""
        return os.urandom(128)

    def bcast(self) -> None:
        """Bring the parameters to all solvers: the one there is has them."""

    def __call__(self, *layer: int) -> None:
        """Add up gradients over all solvers: those of one are the sum."""
