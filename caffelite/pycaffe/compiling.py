"""Saying that kernels are compiled, where a program would be silent for a while."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from caffelite.net.machine import code_is_kept, listening
from caffelite.pycaffe.log import is_written

#: Seconds of compiling without a word.
_PATIENCE = 1.0


@contextmanager
def told() -> Iterator[None]:
    """Have one line on standard error say that kernels are compiled in the block, where that takes over a second.

    ``GLOG_minloglevel=1`` in the environment, or ``init_log(1)``, keeps it away, as it does the lines of the log.
    """
    since: float | None = None
    said = not is_written()

    def compiles(kernel: str) -> None:
        nonlocal since, said
        now = monotonic()
        since = now if since is None else since
        if not said and now - since > _PATIENCE:
            said = True
            kept = ", which are kept for the next time" if code_is_kept() else ""
            print(f"caffelite: compiling kernels{kept}", file=sys.stderr, flush=True)

    with listening(compiles):
        yield
