"""Functions of the user's that are called between layers, and in each iteration of a solver."""

from collections.abc import Callable
from typing import Any

from caffelite.solvers.logs import Listener, LogListener

Hook = Callable[[int], Any]


class Hooks:
    """The four moments at which a net calls what it was given, with the number of the layer, in a solver too."""

    def __init__(self) -> None:
        self._hooks: dict[str, list[Hook]] = {}

    def before_forward(self, hook: Hook) -> None:
        """Have ``hook(i)`` called before layer i runs forward."""
        self._hooks.setdefault("before_forward", []).append(hook)

    def after_forward(self, hook: Hook) -> None:
        """Have ``hook(i)`` called after layer i has run forward."""
        self._hooks.setdefault("after_forward", []).append(hook)

    def before_backward(self, hook: Hook) -> None:
        """Have ``hook(i)`` called before layer i runs backward."""
        self._hooks.setdefault("before_backward", []).append(hook)

    def after_backward(self, hook: Hook) -> None:
        """Have ``hook(i)`` called after layer i has run backward."""
        self._hooks.setdefault("after_backward", []).append(hook)


class Callbacks(Listener):
    """Calls functions of the user's in each iteration of a solver: before the first pass, and when gradients are there.

    Attributes
    ----------
    starts, gradients : list of callable
    """

    def __init__(self, **log: Any) -> None:
        super().__init__(**log)
        self.starts: list[Callable[[], Any]] = []
        self.gradients: list[Callable[[], Any]] = []

    def on_iteration(self, iteration: int) -> None:
        for function in self.starts:
            function()

    def on_gradients(self, iteration: int) -> None:
        for function in self.gradients:
            function()


class LoggedCallbacks(Callbacks, LogListener):
    """Writes the lines of Caffe's log as well, to where a LogListener is told to."""
