"""What a layer is in PyTorch: a function for each type, in the file of its family."""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache

from caffelite.export.torch.text import ModuleText
from caffelite.net.graph import Node

#: Adds what a layer needs, from the variables that hold its bottoms; returns an expression for each of its tops, or one
#: for all of them together.
Write = Callable[[ModuleText, Node, list[str]], str | Sequence[str]]

_WRITERS: dict[str, Write] = {}
#: Why there is no form, by type.
_REFUSED: dict[str, str] = {}


def writes(*types: str) -> Callable[[Write], Write]:
    """Register the function for layers of these types."""

    def register(function: Write) -> Write:
        for name in types:
            _WRITERS[name] = function
        return function

    return register


def refuses(reason: str, *types: str) -> None:
    """Say why layers of these types are not written."""
    _REFUSED.update(dict.fromkeys(types, reason))


@cache
def writers() -> dict[str, Write]:
    """Return what is registered: every module of this package is imported."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return _WRITERS


def refused(kind: str) -> str:
    """Return why there is no form for a type."""
    writers()
    return _REFUSED.get(kind, "no form in PyTorch is known for it")
