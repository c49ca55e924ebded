"""Tasks side by side, in processes of this machine; on the ranks of MPI: :mod:`.ranks`.

A task is worked on by a function that a process can be told by its name; it and its result are pickled on the way.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Protocol

from caffelite.errors import Error
from caffelite.net.machine import choose_threads, thread_count

_SECONDS_TO_END = 5.0


class WorkerError(Error):
    """The process that worked on a task has ended before its time; tells how."""


class Outcome(NamedTuple):
    """What became of a task.

    Attributes
    ----------
    number : int
        Its place among the tasks.
    result : object
        What the function returned.
    error : Exception or None
        What it raised, or a :class:`WorkerError`.
    """

    number: int
    result: Any
    error: BaseException | None


class Team(Protocol):
    """Who works on tasks.

    Attributes
    ----------
    jobs : int
        How many tasks at a time.
    threads : int
        That each of them has.
    """

    jobs: int
    threads: int

    def finish(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Generator[Outcome, None, None]:
        """Yield the outcomes as they come; what runs is ended where the iteration is closed before its end."""
        ...


class Processes:
    """Processes of this machine, each with an equal share of the threads: a :class:`Team`.

    They are started anew (``spawn``), so that nothing of this process can be in their way, and stay for one task after
    the other. One that dies takes its own task with it and no other.

    Parameters
    ----------
    tasks : int
        How many there will be.
    jobs : int, optional
        Tasks at a time; by default one a thread, as far as there are tasks.
    """

    def __init__(self, tasks: int, jobs: int | None = None) -> None:
        total = thread_count().number
        self.jobs = max(1, min(tasks, jobs or total))
        self.threads = max(1, total // self.jobs)

    def finish(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> Generator[Outcome, None, None]:
        """See :class:`Team`."""
        waiting = deque(enumerate(tasks))
        busy: dict[Connection, tuple[_Worker, int]] = {}
        idle: list[_Worker] = []
        try:
            while waiting or busy:
                while waiting and len(busy) < self.jobs:
                    worker = idle.pop() if idle else _Worker(work, self.threads)
                    number, task = waiting.popleft()
                    busy[worker.connection] = worker, number
                    with suppress(OSError):  # it has died; that is seen below
                        worker.connection.send(task)
                for connection in wait(list(busy)):
                    worker, number = busy[connection]  # type: ignore[index]
                    outcome = worker.outcome(number)
                    del busy[worker.connection]
                    if not isinstance(outcome.error, WorkerError):
                        idle.append(worker)
                    yield outcome
        finally:
            for worker in [*idle, *(worker for worker, _ in busy.values())]:
                worker.end()


class _Worker:
    """A process, and the pipe to it."""

    def __init__(self, work: Callable[[Any], Any], threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, work, threads), daemon=True)
        with _deaf_to_interrupts():
            self._process.start()
        theirs.close()

    def outcome(self, number: int) -> Outcome:
        """Return what has come of a task."""
        try:
            return Outcome(number, *self.connection.recv())
        except (EOFError, OSError):
            # The pipe is closed a moment before there is an exit code.
            self._process.join(_SECONDS_TO_END)
            code = self._process.exitcode
            self.end()
            return Outcome(number, None, WorkerError(f"its process was ended by {_ended_by(code)}"))

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self.connection.close()
        self._process.kill()
        self._process.join()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Keep SIGINT from processes that are started meanwhile: Ctrl-C reaches this one, which ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # where it is started with the first process, it lets SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ended_by(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        return f"{name}, as the system does where memory is short" if name == "SIGKILL" else name
    return f"signal {-code}"


def _serve(connection: Connection, work: Callable[[Any], Any], threads: int) -> None:
    """Work on what comes through the pipe until it is closed."""
    choose_threads(threads, "its share of them")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError):
        while True:
            task = connection.recv()
            try:
                reply: tuple[Any, BaseException | None] = work(task), None
            except Exception as error:  # it is raised or told where the outcomes are read
                reply = None, error
            connection.send(reply)


def _end_with_parent() -> None:
    """End this process when the one that started it has gone, in whichever way."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
