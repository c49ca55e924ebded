"""How Ctrl-C and SIGTERM end a command: one line and an exit code, whatever it is doing."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import Any, NoReturn

from caffelite.parallel.ends import exit_now, wait_turn

#: What is told, and the exit code: what a shell says of a program that the signal has ended.
ENDINGS: dict[int, tuple[str, int]] = {
    signal.SIGINT: ("ended by the user", 130),
    signal.SIGTERM: ("ended by SIGTERM", 143),
}
#: Some programs send a signal to the process and to its group: what comes so soon is the same one.
SAME_SECONDS = 1.0
#: A command that has not come to its end by then does not know that it should: numba's compiler swallows exceptions.
_PATIENCE = 4.0


class Ended(KeyboardInterrupt):
    """A signal ends the command; whatever lets Ctrl-C pass lets it pass too."""


def end_now(number: int) -> NoReturn:
    """End the process as a signal wants it, with no clean-up: what is unfinished is removed by a later run."""
    text, code = ENDINGS[number]
    wait_turn()
    with suppress(OSError):
        os.write(2, f"caffelite: {text}\n".encode())
    exit_now(code)


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """Raise :class:`Ended` where SIGINT or SIGTERM comes while the block runs.

    A second one ends the process at once, and so does time, where the exception does not bring the block to its end.

    Yields
    ------
    list of int
        The signal that came. Other code may have made another error of the exception, or swallowed it.
    """
    came: list[int] = []
    first = 0.0
    timer = threading.Timer(_PATIENCE, end_now)
    timer.daemon = True

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not came:
            came.append(number)
            first = monotonic()
            timer.args = (number,)
            timer.start()
            raise Ended
        if monotonic() > first + SAME_SECONDS:
            end_now(number)

    def unraisable(error: Any) -> None:
        if not came:
            told(error)
        elif issubclass(error.exc_type, KeyboardInterrupt):
            # It came while C code was calling Python (a compiler, a finalizer), which cannot pass it on.
            end_now(came[0])
        # Else it left an object half made, whose finalizer misses the rest: the command ends, nobody needs to know.

    told, sys.unraisablehook = sys.unraisablehook, unraisable
    before: dict[int, Any] = {}
    # Only the main thread may set handlers; what the parent told the process to ignore is ignored.
    if threading.current_thread() is threading.main_thread():
        for number in ENDINGS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, handle)
    try:
        yield came
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = told
