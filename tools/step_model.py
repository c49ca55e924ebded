"""What a training step takes over several processes: the model of ``scaling.py``, which says what is in it."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """What a message costs.

    Attributes
    ----------
    alpha : float
        Seconds that one without content takes.
    beta : float
        Bytes a second.
    """

    alpha: float
    beta: float

    def __str__(self) -> str:
        return f"{self.alpha * 1e6:.0f} us, {self.beta * 8e-9:.3g} Gbit/s"


def ring(n: int, size: float, link: Link) -> float:
    """Return the seconds of a sum of ``size`` bytes around a ring of n processes."""
    return 2 * (n - 1) * (link.alpha + size / (n * link.beta)) if n > 1 else 0.0


def tree(n: int, size: float, link: Link) -> float:
    """Return the seconds of a sum of ``size`` bytes up and down a binary tree of n processes."""
    return 2 * math.ceil(math.log2(n)) * (link.alpha + size / link.beta) if n > 1 else 0.0


def best(n: int, size: float, link: Link) -> float:
    """Return the seconds of the faster one, as libraries of MPI choose it."""
    return min(ring(n, size, link), tree(n, size, link))


#: Processes of a machine, and the link between them (shared memory), where sums are made in two levels.
_OF_A_MACHINE, _INSIDE = 8, Link(2e-6, 5e9)


def two_levels(n: int, size: float, link: Link) -> float:
    """Return the seconds of a sum inside machines of 8 processes, then over the machines."""
    inside = min(n, _OF_A_MACHINE)
    return ring(inside, size, _INSIDE) + best(n // inside, size, link)


@dataclass(frozen=True)
class Event:
    """Something of a step that has to do with other processes.

    Attributes
    ----------
    seconds : float
        What was computed since the last one, or since the step began.
    kind : {"sum", "start", "join", "end"}
        A sum that is waited for, one that is started, the wait for all those, the end of the step.
    size : int
        Bytes of the sum.
    """

    seconds: float
    kind: str
    size: int = 0


def step_time(
    events: list[Event], n: int, link: Link, cost: Callable[[int, float, Link], float], half: bool = False
) -> float:
    """Return the seconds of a step.

    Parameters
    ----------
    events : list of Event
        Of one process.
    n : int
        Processes.
    link : Link
    cost : callable
        :func:`ring`, :func:`tree` or :func:`best`.
    half : bool, optional
        Whether gradients are sent in two bytes.
    """
    now = free = 0.0
    for event in events:
        now += event.seconds
        if event.kind in ("sum", "start"):
            # One sum after the other: they share the link.
            size = event.size / 2 if half and event.kind == "start" else event.size
            free = max(free, now) + cost(n, size, link)
        if event.kind in ("sum", "join"):
            now = max(now, free)
    return now


def on_images(few: tuple[int, list[Event]], many: tuple[int, list[Event]], images: float) -> list[Event]:
    """Return the events of a step on another number of images, along the line through two that were measured."""
    result = []
    for a, b in zip(few[1], many[1], strict=True):
        slope = max(b.seconds - a.seconds, 0.0) / (many[0] - few[0])
        result.append(Event(max(a.seconds + slope * (images - few[0]), 0.0), a.kind, a.size))
    return result
