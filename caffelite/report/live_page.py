"""A page that is written again and again, beside the training, while its run goes on."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import thread_time

from caffelite.errors import Error
from caffelite.pages.page import write_page
from caffelite.report.metrics import Line, Run
from caffelite.report.run_page import LOOK_AGAIN, run_page

#: Of the time of a core at most this share is spent on the page: it is written less often where it takes long.
_SHARE = 0.01


class LivePage:
    """Writes the page of a run whenever there is something new, at most every few seconds, in a thread of its own.

    Parameters
    ----------
    path : Path
    run : Run
        What is known of it already; :meth:`write` adds to it.
    others : sequence of Run
        Runs to compare it with.
    say : callable
        Takes the sentence that the page cannot be written any more; training goes on.

    Raises
    ------
    Error
        The page cannot be written.
    """

    def __init__(self, path: Path, run: Run, others: Sequence[Run], say: Callable[[str], None]) -> None:
        self._path, self._run, self._others, self._say = path, run, others, say
        self._new, self._over = threading.Event(), threading.Event()
        write_page(path, run_page(run, others))
        self._thread = threading.Thread(target=self._write_on, name="caffelite-report", daemon=True)
        self._thread.start()

    def write(self, line: Line) -> None:
        """Take in a line."""
        self._run.add(line)
        self._new.set()

    def _write_on(self) -> None:
        pause = float(LOOK_AGAIN)
        while not self._over.wait(pause):
            if self._new.is_set():
                self._new.clear()
                begun = thread_time()
                if not self._written():
                    return
                pause = max(LOOK_AGAIN, (thread_time() - begun) / _SHARE)

    def _written(self) -> bool:
        try:
            write_page(self._path, run_page(self._run.copy(), self._others))
        except Error as error:
            self._say(f"{error}; training goes on without it")
            return False
        return True

    def close(self) -> None:
        """Write the page as it stays."""
        self._over.set()
        self._thread.join()
        self._written()
