"""Standard output and standard error that may go away: a command goes on without them, and its exit code tells.

A disk may fill up, a reader may end, a terminal may be closed, or one of them was closed from the beginning; none of
these is a reason to lose what is being computed.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

#: Whether another process tells how it goes.
_quiet = False


def be_quiet() -> None:
    """Leave it to another process to tell how it goes; errors are told."""
    global _quiet
    _quiet = True


def is_quiet() -> bool:
    """Whether another process tells how it goes."""
    return _quiet


class SteadyStream:
    """A text stream that takes everything: what cannot be written is left out.

    Parameters
    ----------
    stream : text file or None
        None where it was closed when the process began.

    Attributes
    ----------
    failure : OSError or None
        Why something could not be written.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._closed = stream is None
        self._stream = stream or _nowhere()
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text, or leave it out."""
        if self._closed and self.failure is None:
            self.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
        try:
            self._stream.write(text)
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """See to it that what was written is on its way."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.failure = error
        null = _nowhere()
        with suppress(OSError):  # not every stream has a descriptor
            # Python writes once more, when it ends, what it could not write.
            os.dup2(null.fileno(), self._stream.fileno())
        self._stream = null

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # as long as the process lives


@contextmanager
def steady_streams() -> Iterator[list[OSError]]:
    """Let nothing that is written to the standard streams fail while the block runs.

    Yields
    ------
    list of OSError
        At the end it has why some of it could not be written, which standard error tells if it is there.
    """
    # The next file that is opened would take the place of one that is closed.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    failures: list[OSError] = []
    before = sys.stdout, sys.stderr
    out, err = SteadyStream(sys.stdout), SteadyStream(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield failures
    finally:
        out.flush()
        # A reader that has seen enough is no news, as in head.
        if out.failure is not None and out.failure.errno != errno.EPIPE:
            print(f"caffelite: standard output cannot be written: {out.failure.strerror}", file=err)
        err.flush()
        sys.stdout, sys.stderr = before
        failures += [stream.failure for stream in (out, err) if stream.failure is not None]
