"""What a net would have, move and compute with inputs of given shapes, without running it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffelite.dnn.names import INPUT, Names
from caffelite.errors import ShapeError
from caffelite.layers.contract.blobs import Blob
from caffelite.layers.input import Input
from caffelite.net.graph import Graph, Node
from caffelite.net.parameters import parameters_of
from caffelite.net.timing import stand_ins
from caffelite.words import Shape, count, text_of

_FLOAT = np.dtype(np.float32)


def infer(graph: Graph, net_inputs: Any) -> None:
    """Set the shapes of a graph that is not planned.

    Parameters
    ----------
    graph : Graph
    net_inputs : sequence of int, or of such sequences
        The shape of the input, or those of all inputs in their order.

    Raises
    ------
    ShapeError
    """
    inputs = [node.layer for node in graph.nodes if isinstance(node.layer, Input)]
    shapes = _shapes(net_inputs)
    tops = sum(len(layer.param.top) for layer in inputs)
    if len(shapes) != tops:
        raise ShapeError(f"{len(shapes)} shapes are given for {tops} inputs")
    for layer in inputs:
        own, shapes = shapes[: len(layer.param.top)], shapes[len(layer.param.top) :]
        layer.top_shapes = own
    graph.infer_shapes()


def _shapes(net_inputs: Any) -> list[Shape]:
    shapes = [net_inputs] if len(net_inputs) and not np.ndim(net_inputs[0]) else list(net_inputs)
    return [tuple(int(n) for n in shape) for shape in shapes]


def flops(node: Node) -> int:
    """Return twice the products that a layer sums up."""
    layer = node.layer
    sizes = [parameter.shape for parameter in parameters_of(node)]
    layer.blobs = [Blob(layer.name, np.broadcast_to(_FLOAT.type(0), size)) for size in sizes]
    return 2 * layer.multiply_adds(stand_ins(node.bottoms, (), _FLOAT), stand_ins(node.tops, (), _FLOAT))[0]


def bytes_of(node: Node) -> tuple[int, int]:
    """Return the bytes of a layer's parameters, and those of its tops."""
    weights = sum(count(parameter.shape) for parameter in parameters_of(node))
    return weights * _FLOAT.itemsize, sum(count(top.shape) for top in node.tops) * _FLOAT.itemsize


def arrays_of(shapes: Sequence[Shape]) -> tuple[np.ndarray, ...]:
    """Return shapes as OpenCV's Python shows them."""
    return tuple(np.array(shape, np.int32) for shape in shapes)


def dot(names: Names) -> str:
    """Return a net as a graph in Graphviz's language, with the shapes that it was asked for last."""
    lines = ["digraph G {"]
    readers: dict[Node, list[str]] = {}
    for name, node in zip(names.names, names.nodes, strict=True):
        label = [name, node.layer.param.type, *(f"output: {text_of(top.shape)}" for top in node.tops if top.shape)]
        lines.append(f"\t{_quoted(name)} [label={_quoted(*label)} shape=box]")
        for bottom in node.bottoms:
            readers.setdefault(bottom.producer, []).append(name)
    own = dict(zip(names.nodes, names.names, strict=True))
    lines += [
        f"\t{_quoted(own.get(node, INPUT))} -> {_quoted(reader)}"
        for node, reading in readers.items()
        for reader in reading
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(*lines: str) -> str:
    """Return text as Graphviz reads it in quotes, in lines."""
    return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'
