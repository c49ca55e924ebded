"""Lines in the format of Caffe's log: whether they are written, and those of the user's own."""

import os
import warnings

from caffelite.pycaffe.hooks import Callbacks, LoggedCallbacks
from caffelite.solvers.logs import LogListener

#: What :func:`init_log` was given last.
_level: list[int] = []


def init_log(level: int | None = None, stderr: bool = True) -> None:
    """Set which lines of the log are written, for :func:`log` and for solvers that are made from now on.

    Parameters
    ----------
    level : int, optional
        0: all of them; 1 or more: none. By default that of ``GLOG_minloglevel`` in the environment, else 0.
    stderr : bool, optional
        Lines always go to standard error; False has a warning say so.
    """
    if level is not None:
        _level[:] = [int(level)]
    if not stderr:
        warnings.warn("no log files are written: the lines of the log go to standard error", stacklevel=2)


def log(text: str) -> None:
    """Write a line of the log."""
    if is_written():
        LogListener(year=False).on_log("_caffe.cpp:68", text)


def callbacks() -> Callbacks:
    """Return what a new solver tells how it goes."""
    return LoggedCallbacks(year=False) if is_written() else Callbacks()


def is_written() -> bool:
    """Whether lines of the log are written."""
    level = os.environ.get("GLOG_minloglevel", "0")
    return (_level[0] if _level else int(level) if level.isdecimal() else 0) < 1
