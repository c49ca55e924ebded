"""How a process ends that works with others: with them, or it takes them along."""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from caffelite.parallel.launcher import launched

#: Equal errors of all processes are one sentence: the first tells it and ends all before the last has waited so long.
_SECONDS_FOR_ALL = 3.0

#: A launcher may drop what a process has said when all are ended soon after.
_SECONDS_TO_BE_READ = 0.2

#: mpi4py's module MPI while this process is one of several.
_mpi: Any = None
#: How the others are ended before that.
_end_others: Callable[[], None] | None = None


def joining(end_others: Callable[[], None] | None = None) -> None:
    """From now on others wait for this process.

    Parameters
    ----------
    end_others : callable, optional
        Ends them; by default this process ends by a signal, as launchers see to the others only then while these wait
        for it in MPI's initialization.
    """
    global _end_others
    _end_others = end_others or _end_by_signal


def _end_by_signal() -> None:
    time.sleep(_SECONDS_TO_BE_READ)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


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


@contextmanager
def plain_signals() -> Iterator[None]:
    """Let signals end the process while it waits for others, with no way back to Python or nothing left to tell.

    Those that it was told to ignore are ignored, as SIGINT is behind the ``&`` of a script.
    """
    main = threading.current_thread() is threading.main_thread()
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers if main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_turn() -> None:
    """Wait a time that depends on the rank, before an error is told that all processes may have."""
    place = launched()
    if place is not None:
        with plain_signals():
            time.sleep(_SECONDS_FOR_ALL * place.rank / place.size)


def take_along(code: int, signalled: bool = False) -> None:
    """End all processes at once with an exit code; return where none waits for this one.

    Parameters
    ----------
    code : int
    signalled : bool, optional
        Whether a signal has ended this one, wherever it was.
    """
    if _end_others is None and not (signalled and launched()):
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if _mpi is None:
        (_end_others or _end_by_signal)()
        return
    time.sleep(_SECONDS_TO_BE_READ)
    # MPI tells standard error that it was called, which is no news.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    _mpi.COMM_WORLD.Abort(code)


def exit_now(code: int) -> NoReturn:
    """End this process as it stands; its launcher sees to the others."""
    if _mpi is None and launched():
        _end_by_signal()
    os._exit(code)


def part() -> None:
    """Leave the others, each of which comes here too."""
    global _mpi, _end_others
    if _mpi is not None:
        _mpi.Finalize()
    _mpi = _end_others = None
