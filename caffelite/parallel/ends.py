"""How a process ends that works with others: with them, or it takes them along."""

import atexit
import os
import sys
import time
from contextlib import suppress
from typing import Any

from caffelite.parallel.launcher import launched

#: Equal errors of all processes are one sentence: the first tells it and ends all before the last has waited so long.
_SECONDS_FOR_ALL = 3.0

#: mpi4py's module MPI while this process is one of several.
_mpi: Any = None


def joined(mpi: Any) -> None:
    """From now on this process ends with the others.

    Parameters
    ----------
    mpi : module
        ``mpi4py.MPI``, initialized.
    """
    global _mpi
    _mpi = mpi
    atexit.register(take_along, 1)  # an error that nobody has expected: the others would wait for ever


def wait_turn() -> None:
    """Wait a time that depends on the rank, before an error is told that all processes may have."""
    place = launched()
    if place is not None:
        time.sleep(_SECONDS_FOR_ALL * place.rank / place.size)


def take_along(code: int) -> None:
    """End all processes at once with an exit code; return where this one is alone."""
    if _mpi is None:
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    # MPI tells standard error that it was called, which is no news.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    _mpi.COMM_WORLD.Abort(code)


def part() -> None:
    """Leave the others, each of which comes here too."""
    global _mpi
    if _mpi is not None:
        _mpi.Finalize()
        _mpi = None
