"""What a layer is in ONNX: a function for each type, in the file of its family.

Types of forks are in ``forks``, in files of the names that the folders of ``caffelite.layers.forks`` have.
"""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.layers.contract.registry import registry
from caffelite.net.graph import Node

#: Adds a layer's operators, from the tensors of its bottoms; returns those of its tops. A tensor that it was given may
#: be among them: the layer changes nothing then.
Convert = Callable[[OnnxGraph, Node, list[str]], Sequence[str]]


class Mapping(NamedTuple):
    """How a layer type becomes ONNX operators.

    Attributes
    ----------
    convert : callable
    opset : int
        The least version of ONNX's operators that it takes.
    """

    convert: Convert
    opset: int


_MAPPINGS: dict[str, Mapping] = {}
#: Why there is no mapping, by type.
_REFUSED: dict[str, str] = {}
#: What is said of a type that has neither a mapping nor a reason.
UNKNOWN = "no ONNX operators are known for it"


def converts(*types: str, opset: int = 11) -> Callable[[Convert], Convert]:
    """Register the function for layers of these types."""

    def register(function: Convert) -> Convert:
        for name in types:
            _MAPPINGS[name] = Mapping(function, opset)
        return function

    return register


def refuses(reason: str, *types: str) -> None:
    """Say why layers of these types cannot be ONNX operators."""
    _REFUSED.update(dict.fromkeys(types, reason))


@cache
def mappings() -> dict[str, Mapping]:
    """Return what is registered: every module below this package is imported."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return _MAPPINGS


def refused(kind: str) -> str:
    """Return why there is no mapping for a type."""
    mappings()
    facts = registry()[kind].facts
    reason = UNKNOWN
    if facts.loss:
        left = "" if facts.deploy == "dropped" else f", and what is left of it in use is {facts.deploy}"
        reason = f"it is a loss, which only training takes{left}"
    elif facts.kind == "measure":
        reason = "it measures how good a net is, for which it takes labels"
    elif facts.source:
        reason = "it brings data into the net, which an Input layer stands for in use"
    return _REFUSED.get(kind, reason)
