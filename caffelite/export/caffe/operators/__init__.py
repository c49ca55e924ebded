"""What an operator of ONNX is in Caffe: a function for each, in the file of its family."""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache

from caffelite.export.caffe.graph import CaffeGraph
from caffelite.export.caffe.reading import OnnxNode

#: Adds the layers of a node.
Convert = Callable[[CaffeGraph, OnnxNode], None]

_OPERATORS: dict[str, Convert] = {}


def converts(*operators: str) -> Callable[[Convert], Convert]:
    """Register the function for nodes of these operators."""

    def register(function: Convert) -> Convert:
        for name in operators:
            _OPERATORS[name] = function
        return function

    return register


@cache
def operators() -> dict[str, Convert]:
    """Return what is registered: every module below this package is imported."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return _OPERATORS
