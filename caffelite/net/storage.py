"""Storages: memory for values or gradients, shared by those that are not in use at the same time."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TypeVar

import numpy as np

from caffelite.kernels.engine import arrays
from caffelite.words import Shape, count

#: The moment after all others.
FOREVER = 1 << 60
Key = TypeVar("Key")


@dataclass(eq=False, slots=True)
class Storage:
    """Memory for ``size`` floats, and the moments between which it is in use.

    Attributes
    ----------
    size : int
    first, last : int
        The moments at which it is written first and read last.
    array : ndarray
        The memory, at least ``size`` long; empty until it is allocated.
    whole : Storage or None
        What it is a part of.
    offset : int
        Where in ``whole`` it begins.
    """

    size: int
    first: int = FOREVER
    last: int = -1
    array: np.ndarray = field(default_factory=lambda: np.empty(0))
    whole: "Storage | None" = None
    offset: int = 0

    def use(self, moment: int) -> None:
        """Let it live at this moment."""
        self.first = min(self.first, moment)
        self.last = max(self.last, moment)

    def keep(self) -> None:
        """Let it live always, between passes too."""
        self.first, self.last = -1, FOREVER

    def view(self, shape: Shape) -> np.ndarray:
        """Return its memory as an array of this shape."""
        return self.array[: count(shape)].reshape(shape)

    def resize(self, size: int) -> None:
        """Take memory of its own for ``size`` floats."""
        if size != self.size:
            self.array = arrays.zeros(size, self.array.dtype)
            self.size = size


class Table(dict[Key, Storage]):
    """Storages by what they are for, each of which can give way to another without a look at all of them."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[Storage, list[Key]] = {}

    def __setitem__(self, key: Key, storage: Storage) -> None:
        super().__setitem__(key, storage)
        self._keys.setdefault(storage, []).append(key)

    def sharing(self, storage: Storage) -> list[Key]:
        """Return all that this storage is for."""
        return self._keys.get(storage, [])

    def replace(self, old: Storage, new: Storage) -> None:
        """Let ``new`` be what ``old`` was."""
        for key in self._keys.pop(old, []):
            self[key] = new


@dataclass(slots=True)
class _Arena:
    """One array in which storages follow each other in time."""

    members: list[Storage]
    size: int


def allocate(storages: Iterable[Storage], dtype: np.dtype, check: Callable[[int], None] = lambda size: None) -> int:
    """Give storages their arrays; those that do not live at the same time share one.

    Parameters
    ----------
    storages : iterable of Storage
        The same one may come several times.
    dtype : dtype
    check : callable, optional
        Is told how many bytes it will be, before they are taken; raises where that is too much.

    Returns
    -------
    int
        The bytes that are taken.
    """
    distinct = list({id(storage): storage for storage in storages}.values())
    arenas: list[_Arena] = []
    busy: list[tuple[int, int]] = []  # a heap of (last moment, number of the arena)
    free: list[tuple[int, int]] = []  # (size, number of the arena), in order
    for storage in sorted((s for s in distinct if not s.whole), key=lambda s: (s.first, -s.size)):
        while busy and busy[0][0] < storage.first:
            number = heappop(busy)[1]
            insort(free, (arenas[number].size, number))
        if free:
            # The smallest that is large enough, else the largest, which grows.
            place = bisect_left(free, (storage.size, 0))
            number = free.pop(place if place < len(free) else bisect_left(free, (free[-1][0], 0)))[1]
            arenas[number].members.append(storage)
            arenas[number].size = max(arenas[number].size, storage.size)
        else:
            number = len(arenas)
            arenas.append(_Arena([storage], storage.size))
        heappush(busy, (storage.last, number))
    size = dtype.itemsize * sum(arena.size for arena in arenas)
    check(size)
    for arena in arenas:
        memory = arrays.zeros(arena.size, dtype)
        for storage in arena.members:
            storage.array = memory
    for storage in distinct:
        offset, whole = 0, storage
        while whole.whole:
            offset, whole = offset + whole.offset, whole.whole
        storage.array = whole.array[offset : offset + storage.size]
    return size
