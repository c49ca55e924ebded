"""Functions of the user's that are called between layers."""

from collections.abc import Callable
from typing import Any

Hook = Callable[[int], Any]


class Hooks:
    """The four moments at which a net calls what it was given, with the number of the layer."""

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

    def _call(self, moment: str, index: int) -> None:
        for hook in self._hooks.get(moment, ()):
            hook(index)
