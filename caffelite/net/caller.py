"""One thread at a time runs a net: a second one is told so, as it would write over what the first one computes."""

import os
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast
from weakref import WeakSet

from caffelite.errors import BusyError
from caffelite.words import quoted


class Caller:
    """The thread that runs a net, with all that belongs to the net: its solver, its face of Caffe's names.

    Parameters
    ----------
    net : str
        The net's name.

    Attributes
    ----------
    lock : threading.RLock
        Held while the thread is in the net. The same thread may come in again: a Python layer, a function between
        two layers, the handler of a signal.
    """

    def __init__(self, net: str) -> None:
        self.net = net
        self.lock = threading.RLock()
        _CALLERS.add(self)

    def refuse(self) -> BusyError:
        """Return the error for a second thread."""
        return BusyError(
            f"net {quoted(self.net)}: another thread is running it; each thread needs a net of its own, and nets can "
            "have the same parameters: Net(…, share=net), in pycaffe net.share_with(other)"
        )


_CALLERS: WeakSet[Caller] = WeakSet()


def _come_free() -> None:
    """Free nets whose thread has not come along into a process that ``fork`` has made."""
    for caller in list(_CALLERS):
        caller.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_come_free)


_Method = TypeVar("_Method", bound=Callable[..., Any])


def one_thread(method: _Method) -> _Method:
    """Let one thread at a time into the methods of this kind of all that has the same attribute ``caller``.

    Raises
    ------
    BusyError
        Another thread is in one of them.
    """

    @wraps(method)
    def alone(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        caller = self.caller
        lock = caller.lock
        if not lock.acquire(False):
            raise caller.refuse()
        try:
            return method(self, *args, **kwargs)
        finally:
            lock.release()

    return cast(_Method, alone)
