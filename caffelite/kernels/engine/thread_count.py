"""How many threads kernels are spread over, and why.

As many as the process has cores, which the affinity mask and the CPU quota of its cgroup say, or fewer where
``NUMBA_NUM_THREADS`` or ``OMP_NUM_THREADS`` say so; what the user asks of caffelite itself goes before all of that. It
is counted once in a process.
"""

import math
import os
import warnings
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from functools import cache
from operator import index
from pathlib import Path
from typing import NamedTuple

from caffelite.cgroups import cgroup_folders

#: A larger number is a slip: each thread has scratch memory of its own.
MOST = 1024

_NUMBA, _OPENMP = "NUMBA_NUM_THREADS", "OMP_NUM_THREADS"


class ThreadCount(NamedTuple):
    """A number of threads, and in words what it was taken from."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.number} thread{'' if self.number == 1 else 's'} ({self.reason})"


_chosen: ThreadCount | None = None


def thread_count() -> ThreadCount:
    """Return the number of threads that kernels are spread over from now on."""
    return _chosen or _counted()


def choose_threads(number: int, reason: str) -> None:
    """Set the number of threads; it may be larger than the number of cores.

    Parameters
    ----------
    number : int
    reason : str
        The function or the option with which the user has said so.

    Raises
    ------
    ValueError
        It is no whole number from 1 to ``MOST``.
    """
    global _chosen
    whole = hasattr(number, "__index__") and not isinstance(number, bool)
    if not whole or not 1 <= index(number) <= MOST:
        raise ValueError(f"a number of threads is a whole number from 1 to {MOST}, not {number!r}")
    _chosen = ThreadCount(index(number), reason)


def share_of_cores(processes: int, place: int) -> ThreadCount:
    """Return how many threads a process has that shares its cores with others; as many as the user says, if they do.

    Parameters
    ----------
    processes : int
        How many have the same cores.
    place : int
        The number of this one among them, from 0.
    """
    available = cores()
    if processes == 1 or _chosen is not None or least(available, os.environ) != available:
        return thread_count()
    share, more = divmod(available.number, processes)
    return ThreadCount(max(share + (place < more), 1), f"{available.number} {available.reason}, {processes} processes")


@cache
def _counted() -> ThreadCount:
    return least(cores(), os.environ)


if hasattr(os, "register_at_fork"):  # whoever makes processes may give each cores of its own
    os.register_at_fork(after_in_child=_counted.cache_clear)


def least(available: ThreadCount, environment: Mapping[str, str]) -> ThreadCount:
    """Return the least of what there is and what the environment says.

    Parameters
    ----------
    available : ThreadCount
        From :func:`cores`.
    environment : mapping of str to str
        A value in it that is no positive number is ignored, with a warning.
    """
    asked = {name: _asked(name, environment) for name in (_NUMBA, _OPENMP)}
    said = [ThreadCount(number, name) for name, number in asked.items() if number is not None]
    return min([available, *said], key=lambda count: count.number)


def let_numba_start(environment: MutableMapping[str, str]) -> None:
    """Take a ``NUMBA_NUM_THREADS`` that is no positive number out of the environment, with a warning.

    numba cannot be imported with 0, and answers text with a traceback, twice where numba-cuda is installed.
    """
    if _asked(_NUMBA, environment) is None:
        environment.pop(_NUMBA, None)


def _asked(name: str, environment: Mapping[str, str]) -> int | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    with suppress(ValueError):
        # OpenMP's may be a list, a number for each level of nested regions.
        number = int(text.split(",")[0] if name == _OPENMP else text)
        if number > 0:
            return number
    warnings.warn(f'{name}="{text}" is no positive number of threads, it is ignored', stacklevel=2)
    return None


def cores(root: Path = Path("/")) -> ThreadCount:
    """Return as many threads as this process has cores: the least of its affinity mask and its CPU quota, rounded up.

    Parameters
    ----------
    root : Path, optional
        Of the file system that has ``proc/self`` and the mounts of cgroups.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    if quota > usable - 1:
        return ThreadCount(usable, "cores this process may use")
    return ThreadCount(math.ceil(quota), f"the CPU quota of the cgroup: {round(quota, 2):g} of {usable} cores")


def cpu_quota(root: Path) -> float:
    """Return how many cores' time the cgroups of this process may use, version 1 or 2; infinity without a quota.

    A cgroup has no more than each of those that it lies in.

    Parameters
    ----------
    root : Path
        As for :func:`cores`.
    """
    with suppress(OSError, ValueError, IndexError):  # no Linux, or something that looks like it
        return min(map(_quota, cgroup_folders("cpu", root)), default=math.inf)
    return math.inf


def _quota(folder: Path) -> float:
    for files in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        # Most cgroups have neither file; a quota that is none is the word "max", or -1.
        with suppress(OSError, ValueError):
            quota, period = map(int, " ".join((folder / name).read_text("utf-8") for name in files).split())
            if quota > 0 and period > 0:
                return quota / period
    return math.inf
