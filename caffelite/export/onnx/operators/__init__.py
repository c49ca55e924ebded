"""What a layer is in ONNX: a function for each type, in the file of its family.

Types of forks are in ``forks``, in files of the names that the folders of ``caffelite.layers.forks`` have.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.registry import Registry
from caffelite.layers.contract.layer import Layer
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
    varies : int or None
        The axis of its tops whose size depends on the data.
    detects : bool
        It makes detections of a net's numbers, as the last layer.
    """

    convert: Convert
    opset: int
    varies: int | None = None
    detects: bool = False


_MAPPINGS: Registry[Mapping] = Registry(__name__)
#: How each type becomes ONNX operators.
mappings = _MAPPINGS.all
#: ``refuses(reason, *types)`` says why layers of these types cannot be ONNX operators.
refuses = _MAPPINGS.refuse
#: What is said of a type that has neither a mapping nor a reason.
UNKNOWN = "no ONNX operators are known for it"


def converts(
    *types: str, opset: int = 11, varies: int | None = None, detects: bool = False
) -> Callable[[Convert], Convert]:
    """Register the function for layers of these types; see :class:`Mapping`."""

    def register(function: Convert) -> Convert:
        _MAPPINGS.put(Mapping(function, opset, varies, detects), *types)
        return function

    return register


def mapping_of(layer: Layer) -> Mapping | None:
    """Return how a layer becomes ONNX operators, if it does; one in place of a Python class as the type that it is."""
    return mappings().get(layer.param.type) or mappings().get(layer.type)


def refused(kind: str) -> str:
    """Return why there is no mapping for a type."""
    facts = registry()[kind].facts
    reason = UNKNOWN
    if facts.loss:
        left = "" if facts.deploy == "dropped" else f", and what is left of it in use is {facts.deploy}"
        reason = f"it is a loss, which only training takes{left}"
    elif facts.kind == "measure":
        reason = "it measures how good a net is, for which it takes labels"
    elif facts.source:
        reason = "it brings data into the net, which an Input layer stands for in use"
    return _MAPPINGS.reason(kind) or reason
