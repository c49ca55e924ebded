"""How much memory a net may take: what the machine has, or what the process is limited to."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

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
        Of the file system that has ``proc/self`` and ``sys/fs/cgroup``.
    """
    try:
        machine = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        machine = float("inf")
    quota = min(_quotas(root), default=float("inf"))
    return (quota, "this process's cgroup") if quota < machine else (machine, "this machine")


def _quotas(root: Path) -> Iterator[float]:
    """Yield the limits of the cgroups of this process, version 2 or 1, and of those that they lie in: cgroups(7)."""
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, file = (mounted / "memory", "memory.limit_in_bytes") if controllers else (mounted, "memory.max")
        own = PurePosixPath(path.lstrip("/"))
        for folder in (own, *own.parents):
            text = _text(top / folder / file).strip()
            if text.isdecimal():  # Without a limit it is the word "max", or more than any machine has.
                yield float(text)


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.3g} GB"
