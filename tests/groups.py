"""Several processes as threads of one, for tests of what layers and solvers do with a group."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from caffelite.layers.contract.group import Group


class ThreadGroup(Group):
    """One of ``size`` threads; sums are made in the order of their ranks, so all get the same bits."""

    def __init__(self, size: int, rank: int, barrier: threading.Barrier, places: list[Any]) -> None:
        self.size, self.rank = size, rank
        self._barrier, self._places = barrier, places

    def sum(self, values: np.ndarray) -> None:
        self._places[self.rank] = values.copy()
        self._barrier.wait()
        total = self._places[0].copy()
        for part in self._places[1:]:
            assert part.shape == total.shape and part.dtype == total.dtype, "ranks add up different things"
            total += part
        self._barrier.wait()
        values[...] = total

    def start_sum(self, values: np.ndarray) -> "ThreadGroup":
        self.sum(values)
        return self

    def done(self) -> bool:
        return True

    def wait(self) -> None:
        """It is there already."""


def in_threads(size: int, work: Callable[[Group], Any]) -> list[Any]:
    """Return what ``work`` returns in each of ``size`` processes; an error of one is raised here."""
    barrier, places = threading.Barrier(size, timeout=60), [None] * size
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadGroup(size, rank, barrier, places))
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised where the threads were started
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    assert not barrier.broken, "not all processes came to the same sums"
    return results
