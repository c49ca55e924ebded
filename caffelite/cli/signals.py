"""What Ctrl-C, a hangup and SIGTERM do to a training run."""

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from caffelite.cli.endings import SAME_SECONDS, end_now
from caffelite.solvers.solver import Solver

EFFECTS = ("stop", "snapshot", "none")
#: Schedulers and containers grant 10 seconds from SIGTERM on. After so many the snapshot is written without the loop,
#: where it has one at hand, which takes time too; after so many the process ends.
_PATIENCE, _END = 5.0, 9.0


class Asked:
    """What signals have asked of a run.

    Parameters
    ----------
    solver : Solver
    say : callable
        Takes lines for the user.

    Attributes
    ----------
    terminated : bool
        Whether SIGTERM came.
    """

    def __init__(self, solver: Solver, say: Callable[[str], None]) -> None:
        self._solver = solver
        self._say = say
        self._interrupted = self.terminated = False

    def act(self, effect: str) -> None:
        """Do what a signal is set to: ``stop``, ``snapshot`` or ``none``."""
        if effect == "stop":
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            self._solver.request_stop()
            self._tell("stopping with a snapshot after this iteration; Ctrl-C again ends at once")
        elif effect == "snapshot":
            self._solver.request_snapshot()

    def terminate(self) -> None:
        """Stop the run with a snapshot."""
        if not self.terminated:
            self.terminated = True
            self._solver.request_stop()
            self._tell("SIGTERM: stopping with a snapshot; a second one ends at once")

    def watch(self, pipe: int) -> None:
        """See to it that SIGTERM ends the process in time, whatever the thread that trains is doing.

        Parameters
        ----------
        pipe : int
            From it come the numbers of signals as they arrive: a handler in Python waits for the kernel that is
            running, which may take long. It ends with the run.
        """
        first = 0.0
        deadlines: list[float] = []
        while True:
            wait = max(deadlines[0] - monotonic(), 0) if deadlines else None
            if not select.select([pipe], [], [], wait)[0]:
                deadlines.pop(0)
                if self._rescued() or not deadlines:
                    end_now(signal.SIGTERM)
                continue
            numbers = os.read(pipe, 256)
            if not numbers:
                os.close(pipe)
                return
            if signal.SIGTERM in numbers:
                if not first:
                    first = monotonic()
                    deadlines = [first + _PATIENCE, first + _END]
                elif monotonic() > first + SAME_SECONDS:
                    end_now(signal.SIGTERM)

    def _rescued(self) -> bool:
        try:
            return self._solver.rescue()
        except Exception as error:  # there is nobody above who would tell it
            self._tell(f"the snapshot cannot be written: {error}")
            return True

    def _tell(self, text: str) -> None:
        # A handler may have come while a line was being written; then this one is left out.
        with suppress(RuntimeError):
            self._say(text)


@contextmanager
def signal_effects(solver: Solver, interrupt: str, hangup: str, say: Callable[[str], None]) -> Iterator[Asked]:
    """Let signals ask the solver for something while the block runs.

    SIGTERM stops the run with a snapshot, within 10 seconds. Where the iteration or the batch of a test that is running
    takes longer than 5 from then on, the snapshot is that of the last whole iteration, and the process ends in the
    middle; where the iterations before were short, so that nothing was put aside for it, without one.

    Parameters
    ----------
    solver : Solver
    interrupt, hangup : {"stop", "snapshot", "none"}
        What SIGINT (Ctrl-C) and SIGHUP (the terminal is closed) do after the iteration that is running. Where
        SIGINT stops the run, a second one ends it at once.
    say : callable
        Takes lines for the user.
    """
    asked = Asked(solver, say)
    # Only the main thread may set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    handlers: dict[int, Any] = {
        signal.SIGINT: lambda *_: asked.act(interrupt),
        signal.SIGTERM: lambda *_: asked.terminate(),
    }
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = lambda *_: asked.act(hangup)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    if os.name != "nt":  # pipes cannot be waited for there, and SIGTERM does not come
        threading.Thread(target=asked.watch, args=(reading,), daemon=True).start()
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if os.name != "nt":
            signal.set_wakeup_fd(-1)
        os.close(writing)
