"""Programs in processes of their own, asleep until they are asked for something: what the benchmarks share."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def _prefer(checkout: Path | None) -> None:
    if checkout is not None:
        sys.path[:0] = [str(checkout), str(checkout / "tools")]


def _answer(pipe: Connection, make: Callable[..., Callable[[Any], Any]], arguments: Any, checkout: Path | None) -> None:
    _prefer(checkout)
    answer = make(*arguments)
    while (request := pipe.recv()) is not None:
        pipe.send(answer(request))


def _work(pipe: Connection, make: Callable[..., Callable[[], Any]], arguments: Any, checkout: Path | None) -> None:
    _prefer(checkout)
    work = make(*arguments)
    work()
    pipe.send("ready")
    while pipe.recv():
        while not pipe.poll():
            work()
        pipe.recv()
        pipe.send("at rest")


class _Process:
    """A process that holds what a function has made there.

    Parameters
    ----------
    name : str
        What it is called where it has ended too early.
    make : callable
        A function of a module; it is called in the process, with ``arguments``.
    checkout : path, optional
        Another checkout of caffelite, whose package and tools the process imports.
    """

    def __init__(self, loop: Callable[..., None], name: str, make: Any, arguments: Any, checkout: Path | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=loop, args=(theirs, make, arguments, checkout), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, request: Any) -> None:
        self._pipe.send(request)

    def receive(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            sys.exit(f"{self.name} ended; what it said is above")

    def confine(self, cores: set[int]) -> None:
        """Let all threads that the process has run on these cores only (Linux)."""
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)

    def close(self) -> None:
        if self._process.is_alive():
            self._pipe.send(None)
        self._process.join()


class Worker(_Process):
    """A process that answers by what ``make`` returns, a function of a request."""

    def __init__(self, name: str, make: Any, *arguments: Any, checkout: Path | None = None) -> None:
        super().__init__(_answer, name, make, arguments, checkout)

    def ask(self, request: Any) -> Any:
        self.send(request)
        return self.receive()


class Load(_Process):
    """A process that keeps the machine busy inside ``with``, by calling what ``make`` returns over and over."""

    def __init__(self, name: str, make: Any, *arguments: Any) -> None:
        super().__init__(_work, name, make, arguments, None)
        self.receive()

    def __enter__(self) -> None:
        self.send(True)

    def __exit__(self, *raised: object) -> None:
        self.send(False)
        self.receive()
