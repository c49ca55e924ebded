"""The team of threads that kernels are spread over.

The thread that calls writes down what is to be done and does its share; the others wait in compiled code for the next
number in a sequence, and take shares of their own. A share is cut into blocks, and whoever is done with the own share
takes blocks of the others': a thread that the system has put to sleep holds up the one block that it has begun, and one
that never came holds up nothing. What a kernel computes does not depend on who does which task, so neither do numbers.

A thread that waits for work looks for it for a moment, then gives way to whoever is ready to run on its core, then
sleeps; a caller that waits for a block looks for a moment, then sleeps.
Where the whole team is taken, by another Python thread that runs a net, the caller does everything alone.

The words of the team's memory, by index; what different threads write lies in different lines of the cache:

=============  =====================================================================================================
``SEQUENCE``   number of the kernel run that is going on or was the last one; it only grows
``ADDRESS``    … ``BLOCKS``: the kernel, the table of its arguments, its tasks, the shares they are dealt out in, and
               the blocks of a share. They are changed only while no block is left
``THREADS``    how many threads take part, the caller among them
``SPINS``      how often a waiting thread looks before it gives way
``YIELDS``     nanoseconds for which it gives way before it sleeps
``STOP``       whether threads are to end
``DONE``       blocks that others than the caller have done of this run
``ASLEEP``     threads that sleep, or are about to
``OWNER``      whether a caller has the team
``CALLER``     whether that caller sleeps until ``DONE`` grows
``WAITED``     nanoseconds that callers have waited for the blocks of others
``TRACE``      address of a place for what is done and when, or 0: :meth:`Team.traced`
``LEFT``       one a share, a line each: sequence number and blocks that nobody has begun. One operation compares and
               sets both: who reads ``ADDRESS`` and the others and then takes a block of the same number has read what
               belongs to it, however long it was away
=============  =====================================================================================================
"""

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numba
import numpy as np

from caffelite.kernels.engine import settings, thread_count
from caffelite.kernels.engine.atomics import (
    add,
    exchange,
    give_way,
    load,
    nanoseconds,
    pause,
    replace,
    sleep,
    store,
    wake,
)
from caffelite.kernels.engine.drivers import driver, invoke
from caffelite.kernels.engine.thread_count import MOST

_LINE = 16  # words: processors fetch lines of 64 bytes in pairs
_WORD = 8

SEQUENCE, ADDRESS, CONTEXT, TASKS, SHARES, BLOCKS, THREADS, SPINS, YIELDS, STOP = (_WORD * i for i in range(10))
DONE, ASLEEP, OWNER, CALLER, WAITED, TRACE = (_WORD * _LINE * i for i in range(1, 7))
LEFT = _WORD * _LINE * 7
_STEP = _WORD * _LINE

#: Bits for the blocks of a share in a word of ``LEFT``; the sequence number stands above.
_BITS = 12
_BLOCKS = (1 << _BITS) - 1

_inline = numba.njit(inline="never", nogil=True)


@_inline
def _do(team, address, begin, end, worker, context):
    """Do tasks of a kernel, and note when, if that is asked for."""
    trace = load(team + TRACE)
    if trace == 0:
        invoke(address, begin, end, worker, context)
        return
    start = nanoseconds()
    invoke(address, begin, end, worker, context)
    stop = nanoseconds()
    number = add(trace, 1)  # behind it: how many there is room for, and the notes
    if number < load(trace + _WORD):
        note = trace + (2 + 4 * number) * _WORD
        store(note, worker)
        store(note + _WORD, context)
        store(note + 2 * _WORD, start)
        store(note + 3 * _WORD, stop)


@_inline
def _take(team, sequence, worker):
    """Do blocks of a run until none is left; return how many. The own share comes first."""
    address, context, tasks = load(team + ADDRESS), load(team + CONTEXT), load(team + TASKS)
    shares, blocks = load(team + SHARES), load(team + BLOCKS)
    taken = 0
    if worker >= shares:  # there is no scratch memory for it
        return taken
    for i in range(shares):
        share = worker + i if worker + i < shares else worker + i - shares
        place = team + LEFT + share * _STEP
        while True:
            word = load(place)
            left = word & _BLOCKS
            if left == 0 or word >> _BITS != sequence:
                break
            if replace(place, word, word - 1):
                block = share * blocks + blocks - left
                begin, end = tasks * block // (shares * blocks), tasks * (block + 1) // (shares * blocks)
                if begin < end:
                    _do(team, address, begin, end, worker, context)
                taken += 1
    return taken


@_inline
def _look(place, value, times):
    """Look at the word at a place until it is another one than ``value``; return whether it became one in time."""
    for _ in range(times):
        if load(place) != value:
            return True
        pause()
    return False


@_inline
def _give_way(place, value, most):
    """The same for so many nanoseconds, while others run on this core if they want to."""
    start = nanoseconds()
    while nanoseconds() - start < most:
        give_way()
        if load(place) != value:
            return True
    return False


@driver
def work(team, worker):
    """Take part in all that is done, until ``STOP``: the life of a thread.

    Parameters
    ----------
    team : int
        Address of the team's memory.
    worker : int
        Number of the thread, from 1 on.
    """
    seen = load(team + SEQUENCE)
    while load(team + STOP) == 0:
        place = team + SEQUENCE
        if not _look(place, seen, load(team + SPINS)) and not _give_way(place, seen, load(team + YIELDS)):
            # The caller clears ASLEEP before it wakes: all sleep no more then.
            add(team + ASLEEP, 1)
            while load(place) == seen and load(team + STOP) == 0:
                sleep(place, seen)
        seen = load(place)
        taken = _take(team, seen, worker)
        if taken:
            add(team + DONE, taken)
            if load(team + CALLER):
                wake(team + DONE)


@_inline
def _share_out(team, address, context, tasks, shares, blocks):
    """Have the team do a kernel, and take part; return when all of it is done."""
    store(team + ADDRESS, address)
    store(team + CONTEXT, context)
    store(team + TASKS, tasks)
    store(team + SHARES, shares)
    store(team + BLOCKS, blocks)
    store(team + DONE, 0)
    sequence = load(team + SEQUENCE) + 1
    for share in range(shares):
        store(team + LEFT + share * _STEP, sequence << _BITS | blocks)
    # Before it is known who sleeps: who looks again before it sleeps sees this.
    exchange(team + SEQUENCE, sequence)
    if load(team + ASLEEP) and exchange(team + ASLEEP, 0):
        wake(team + SEQUENCE)
    others = shares * blocks - _take(team, sequence, 0)
    done = load(team + DONE)
    if done != others:
        start = nanoseconds()
        while done != others:
            # It does not give way: a core that it leaves is another's for milliseconds, where sleepers are woken soon.
            if not _look(team + DONE, done, load(team + SPINS)):
                exchange(team + CALLER, 1)
                if load(team + DONE) == done:
                    sleep(team + DONE, done)
                store(team + CALLER, 0)
            done = load(team + DONE)
        add(team + WAITED, nanoseconds() - start)


@driver
def run(team, calls, count):
    """Run kernels one after the other.

    Parameters
    ----------
    team : int
        Address of the team's memory.
    calls : int
        Address of five words a kernel: the address of its machine code, that of the table of its arguments, its tasks,
        the shares they are dealt out in (1: the caller does them alone), and the blocks of a share.
    count : int
        Of kernels.
    """
    mine = False
    for i in range(count):
        call = calls + i * 5 * _WORD
        address, context, tasks = load(call), load(call + _WORD), load(call + 2 * _WORD)
        shares, blocks = min(load(call + 3 * _WORD), load(team + THREADS)), load(call + 4 * _WORD)
        if shares > 1 and not mine:
            mine = replace(team + OWNER, 0, 1)
        if shares > 1 and mine:
            _share_out(team, address, context, tasks, shares, blocks)
        else:
            _do(team, address, 0, tasks, 0, context)
    if mine:
        store(team + OWNER, 0)


@driver
def stop(team):
    """Have all threads of a team end; ``team`` is the address of its memory."""
    store(team + STOP, 1)
    add(team + SEQUENCE, 1)
    wake(team + SEQUENCE)


#: What a team takes, to be compiled together with the kernels of a net.
DRIVERS = (work, run, stop)


class Team:
    """The threads of this process beside those that call.

    They are started when they are first needed, and again in a process that was copied (``fork``): a copy has the
    memory of the team, but only the thread that copied it.

    Attributes
    ----------
    address : int
        Of its memory.
    ready : bool
        Whether as many threads as :func:`caffelite.kernels.engine.settings.threads` says are there.
    """

    def __init__(self) -> None:
        memory = np.zeros((LEFT + _STEP * (MOST + 1)) // _WORD, np.int64)
        self._memory = memory[-memory.ctypes.data % _STEP // _WORD :]
        self.address = self._memory.ctypes.data
        self._start_over()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start_over)
        atexit.register(self._stop)

    def _set(self, place: int, value: int) -> None:
        self._memory[place // _WORD] = value

    def _start_over(self) -> None:
        self.ready = False
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        for place in (ASLEEP, OWNER, CALLER, STOP):
            self._set(place, 0)
        self._set(THREADS, 1)
        self.wait_so(*settings.waiting())

    def wait_so(self, spins: int, yields: int) -> None:
        """Set how often a waiting thread looks before it gives way, and for how many nanoseconds before it sleeps."""
        self._set(SPINS, spins)
        self._set(YIELDS, yields)

    def start(self) -> None:
        """Start the threads that are missing; those that the system does not give are done without."""
        with self._lock:
            for needed in DRIVERS:  # here, and not while the process ends
                needed.address(None)
            wanted = settings.threads()
            try:
                while len(self._threads) < wanted - 1:
                    number = len(self._threads) + 1
                    thread = threading.Thread(
                        target=work, args=(self.address, number), name=f"caffelite-{number}", daemon=True
                    )
                    thread.start()
                    self._threads.append(thread)
            except RuntimeError:  # no more threads for this process, or the interpreter is about to end
                wanted = len(self._threads) + 1
            self._set(THREADS, wanted)
            self.ready = True

    def waited(self) -> float:
        """Return for how many seconds callers have waited for other threads, in all."""
        return float(self._memory[WAITED // _WORD]) * 1e-9

    @contextmanager
    def traced(self, room: int = 100_000) -> Iterator[list[tuple[int, int, int, int]]]:
        """Note what is done while the block runs.

        Parameters
        ----------
        room : int
            Notes at most; what comes after is not noted.

        Yields
        ------
        list of (int, int, int, int)
            Filled at the end of the block: the thread's number, the kernel's table of arguments (the second of
            :meth:`.calls.Call.words`), and the clock at the beginning and the end, in nanoseconds.
        """
        notes = np.zeros(2 + 4 * room, np.int64)
        notes[1] = room
        found: list[tuple[int, int, int, int]] = []
        self._set(TRACE, notes.ctypes.data)
        try:
            yield found
        finally:
            self._set(TRACE, 0)
            rows = notes[2 : 2 + 4 * min(int(notes[0]), room)].reshape(-1, 4)
            found += [(int(a), int(b), int(c), int(d)) for a, b, c, d in rows]

    def _stop(self) -> None:
        """End the threads: compiled code must not run while the process takes its memory away."""
        if not self._threads:
            return
        self._set(THREADS, 1)
        stop(self.address)
        for thread in self._threads:
            thread.join(_LAST)


#: Seconds that the end of the process waits for a thread that is in the middle of a kernel.
_LAST = 1.0

TEAM = Team()


def choose_threads(number: int, reason: str) -> None:
    """Set how many threads take part: parameters and errors as :func:`.thread_count.choose_threads` has them.

    A net has scratch memory for as many as there were when it was made, and uses no more.
    """
    thread_count.choose_threads(number, reason)
    TEAM.ready = False
