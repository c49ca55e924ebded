"""What a layer is in PyTorch: a function for each type, in the file of its family."""

from collections.abc import Callable, Sequence

from caffelite.export.registry import Registry
from caffelite.export.torch.text import ModuleText
from caffelite.net.graph import Node

#: Adds what a layer needs, from the variables that hold its bottoms; returns an expression for each of its tops, or one
#: for all of them together.
Write = Callable[[ModuleText, Node, list[str]], str | Sequence[str]]

_WRITERS: Registry[Write] = Registry(__name__)
#: ``writes(*types)`` registers the function for layers of these types.
writes = _WRITERS.register
#: The function for each type.
writers = _WRITERS.all
#: ``refuses(reason, *types)`` says why layers of these types are not written.
refuses = _WRITERS.refuse


def refused(kind: str) -> str:
    """Return why there is no form for a type."""
    return _WRITERS.reason(kind) or "no form in PyTorch is known for it"
