"""What Ctrl-C and a hangup do to a training run."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from caffelite.solvers.solver import Solver

EFFECTS = ("stop", "snapshot", "none")


@contextmanager
def signal_effects(solver: Solver, interrupt: str, hangup: str, say: Callable[[str], None]) -> Iterator[None]:
    """Let signals ask the solver for something while the block runs.

    Parameters
    ----------
    solver : Solver
    interrupt, hangup : {"stop", "snapshot", "none"}
        What SIGINT (Ctrl-C) and SIGHUP (the terminal is closed) do after the iteration that is running. Where
        SIGINT stops the run, a second one ends it at once.
    say : callable
        Takes lines for the user.
    """
    asked = False

    def act(effect: str) -> None:
        nonlocal asked
        if effect == "stop":
            if asked:
                raise KeyboardInterrupt
            asked = True
            solver.request_stop()
            say("stopping with a snapshot after this iteration; Ctrl-C again ends at once")
        elif effect == "snapshot":
            solver.request_snapshot()

    effects = {signal.SIGINT: interrupt}
    if hasattr(signal, "SIGHUP"):
        effects[signal.SIGHUP] = hangup
    before: dict[signal.Signals, Any] = {}
    # Only the main thread may set them.
    if threading.current_thread() is threading.main_thread():
        for number, effect in effects.items():
            before[number] = signal.signal(number, lambda *_, effect=effect: act(effect))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
