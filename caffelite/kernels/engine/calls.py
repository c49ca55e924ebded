"""Kernels bound to their arrays, and how they are started.

:func:`call` binds a kernel and returns a :class:`Call`: what Python has to do for a run is done then; a start is one
call of a compiled function. Kernels that are needed :func:`together` are compiled on all cores.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, cast

import numpy as np

from caffelite.kernels.engine import settings
from caffelite.kernels.engine.compiling import Compiled, Kernel
from caffelite.kernels.engine.entry import Argument, pack, version_of
from caffelite.kernels.engine.processes import compile_missing
from caffelite.kernels.engine.routines import routines_of
from caffelite.kernels.engine.team import DRIVERS, TEAM, run


class _Waiting(threading.local):
    calls: "list[Call] | None" = None


_waiting = _Waiting()


@contextmanager
def together() -> Iterator[None]:
    """Compile what the calls made inside need at the end, on all cores."""
    if _waiting.calls is not None:
        yield
        return
    calls: list[Call] = []
    _waiting.calls = calls
    try:
        yield
    finally:
        _waiting.calls = None
    needed: set[tuple[Compiled[Any], Any]] = {(call.kernel, version_of(call.arguments)) for call in calls}
    needed |= {(one, None) for call in calls for one in (*routines_of(call.arguments), *DRIVERS)}
    compile_missing([one for one in needed if not one[0].kept(one[1])])
    for call in calls:
        call.compile()


class Call:
    """A kernel bound to its arguments: calling it runs it.

    The arrays are held by address, so what is written to them before the call is what the kernel sees.
    """

    __slots__ = ("kernel", "arguments", "tasks", "workers", "blocks", "once", "_address", "_table", "_row")

    def __init__(
        self,
        kernel: Kernel,
        tasks: int,
        arguments: tuple[Argument, ...],
        workers: int,
        blocks: int = 1,
        once: bool = False,
    ) -> None:
        self.once = once
        self.kernel = kernel
        self.arguments = arguments
        self.tasks = tasks
        self.workers = min(workers, max(tasks, 1))
        self.blocks = blocks
        self._table = np.empty(0, np.int64)
        self._address = 0
        self._row = Row([self])
        if _waiting.calls is None:
            self.compile()
        else:
            _waiting.calls.append(self)

    def compile(self) -> None:
        """See to it that there is machine code, of the kernel and the routines that it takes."""
        self._table = pack(self.arguments)
        self._address = self.kernel.address(version_of(self.arguments))

    def words(self) -> tuple[int, int, int, int, int]:
        """Return what running it takes: see :func:`caffelite.kernels.engine.team.run`."""
        if not self._address:
            self.compile()
        return self._address, self._table.ctypes.data, self.tasks, self.workers, self.blocks

    def __call__(self) -> None:
        self._row()

    def __repr__(self) -> str:
        return f"<Call of {self.kernel.name}, {self.tasks} tasks on {self.workers} threads>"


class Row:
    """Calls that run one after the other, all from one compiled function: small kernels take less than Python does."""

    __slots__ = ("calls", "_table", "_address", "_alone")

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self._table: np.ndarray | None = None
        self._address = 0
        self._alone = all(call.workers == 1 for call in calls)

    def __call__(self) -> None:
        if not self._address:
            self._table = np.array([call.words() for call in self.calls], np.intp)
            self._address = self._table.ctypes.data
        if not TEAM.ready and not self._alone:
            TEAM.start()
        run(TEAM.address, self._address, len(self.calls))


def in_rows(steps: Iterable[Callable[[], None]]) -> list[Callable[[], None]]:
    """Return steps that do the same: each run of calls is one step."""
    rows: list[Callable[[], None]] = []
    for bound, group in groupby(steps, lambda step: isinstance(step, Call)):
        members = list(group)
        rows += [Row(cast(list[Call], members))] if bound else members
    return rows


#: Below this many operations a second thread costs more than it saves: its launch takes about 2 µs.
SERIAL_WORK = 30_000

#: Into how many blocks a thread's share of the tasks is cut: those that another thread has not come to, one that is
#: done takes over.
_BLOCKS = 4


def call(
    kernel: Kernel,
    tasks: int,
    *arguments: Argument,
    work: float | None = None,
    once: bool = False,
    whole: bool = False,
) -> Call:
    """Bind a kernel to its arguments.

    Parameters
    ----------
    kernel : Kernel
    tasks : int
        Number of independent tasks; they are dealt out to the threads in contiguous runs, and those in blocks.
    *arguments : ndarray, int, float or NamedTuple of numbers
        C-contiguous arrays, numbers and records of numbers, after ``begin, end, worker`` of the kernel's function.
    work : float, optional
        Simple operations in all (an addition of two floats is one). Little work runs on one thread.
    once : bool, optional
        What it computes depends on parameters alone: where they stay as they are, running it once is enough.
    whole : bool, optional
        A run of tasks takes preparations, so that a thread's share is better not cut.

    Returns
    -------
    Call
    """
    workers = 1 if work is not None and work < SERIAL_WORK else settings.threads()
    blocks = _BLOCKS if work is None else min(int(work / (SERIAL_WORK * workers)), _BLOCKS)
    return Call(kernel, tasks, arguments, workers, 1 if whole else max(min(blocks, tasks // workers), 1), once)
