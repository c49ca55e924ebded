"""How much memory a net may take: what the machine has, or what the process is limited to."""

import math
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from caffelite.cgroups import cgroup_folders
from caffelite.errors import NetError
from caffelite.words import quoted


def check_room(name: str, parameters: int, blobs: int = 0) -> None:
    """Raise NetError where a net takes more memory than there is, before it is taken.

    Parameters
    ----------
    name : str
        The net's.
    parameters, blobs : int
        Bytes that they take, with their gradients.
    """
    most, reason = memory_limit()
    if parameters + blobs > most:
        parts = f"its parameters {_gigabytes(parameters)}" + (f" and its blobs {_gigabytes(blobs)}" if blobs else "")
        raise NetError(
            f"net {quoted(name)}: {parts} take more memory than the {_gigabytes(most)} of {reason}; a smaller batch or "
            "smaller layers take less"
        )


@cache
def memory_limit(root: Path = Path("/")) -> tuple[float, str]:
    """Return how many bytes this process may have, and what says so; infinity where that is not known.

    Parameters
    ----------
    root : Path, optional
        As for :func:`caffelite.cgroups.cgroup_folders`.
    """
    try:
        machine = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        machine = math.inf
    quota = _cgroup_limit(root)
    return (quota, "this process's cgroup") if quota < machine else (machine, "this machine")


def _cgroup_limit(root: Path) -> float:
    """Return how many bytes the cgroups of this process may have; infinity without a limit."""
    limits = [math.inf]
    with suppress(OSError, ValueError, IndexError):  # no Linux, or something that looks like it
        for folder in cgroup_folders("memory", root):
            for name in ("memory.max", "memory.limit_in_bytes"):
                # Most cgroups have neither file; without a limit it is the word "max", or more than any machine has.
                with suppress(OSError, ValueError):
                    limits.append(float(int((folder / name).read_text("utf-8"))))
    return min(limits)


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.3g} GB"
