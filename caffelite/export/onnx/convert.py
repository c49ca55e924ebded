"""A net of the TEST phase as an ONNX model."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import ModelProto, TensorProto, helper

from caffelite import __version__
from caffelite.errors import NetError, ShapeError
from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import mappings, refused
from caffelite.layers.input import Input
from caffelite.net import Net
from caffelite.net.graph import Node, Version
from caffelite.net.parameters import check_parameters
from caffelite.words import Shape

#: The versions of ONNX's operators that can be asked for, and the version of the file's format that came with each.
IR_VERSIONS = {11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}
DEFAULT_OPSET = 13
#: What the first axis of inputs is called where it is any number.
BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Converted:
    """An ONNX model, and what is known of it.

    Attributes
    ----------
    model : ModelProto
    fixed : str
        Why the batch is of one size; empty where it can be of any.
    tensors : dict of Version to str
        The tensor that holds each blob which an operator makes.
    """

    model: ModelProto
    fixed: str
    tensors: dict[Version, str]


def convert(net: Net, opset: int = DEFAULT_OPSET, batch: int | None = None) -> Converted:
    """Return a net as an ONNX model.

    Parameters
    ----------
    net : Net
        In the TEST phase, with its weights, and without losses and layers for training: see
        :func:`caffelite.batchnorm.fold.fold`.
    opset : int, optional
    batch : int, optional
        How many images the inputs have; any number where it is not given and the net allows that.

    Raises
    ------
    NetError
        A layer has no operators in ONNX, or none in this opset; the message names it.
    """
    if opset not in IR_VERSIONS:
        versions = list(IR_VERSIONS)
        raise NetError(f"opset {opset} is not one of those that are written, {versions[0]} to {versions[-1]}")
    shapes, fixed = _shapes(net, batch)
    graph = OnnxGraph(net, opset, shapes)
    inputs = [version for node in net.graph.nodes if node.layer.facts.net_input for version in node.tops]
    graph.names.update({version: version.name for version in inputs})
    for node in net.graph.nodes:
        if not node.layer.facts.net_input:
            _add(graph, node)
    outputs = [net.graph.names[name] for name in net.outputs]
    graph.finish(outputs, [version.name for version in inputs])
    made = helper.make_graph(
        graph.nodes,
        net.name or "net",
        [_described(version, shapes[version]) for version in inputs],
        [_described(version, shapes[version]) for version in outputs],
        graph.initializers(),
    )
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", opset)], producer_name="caffelite", producer_version=__version__
    )
    model.ir_version = IR_VERSIONS[opset]
    onnx.checker.check_model(model, full_check=True)
    made_by_operators = {name for op in graph.nodes for name in op.output}
    tensors = {v: graph.names[v] for v in net.graph.names.values() if graph.names[v] in made_by_operators}
    return Converted(model, fixed, tensors)


def _add(graph: OnnxGraph, node: Node) -> None:
    layer, kind = node.layer, node.layer.param.type
    mapping = mappings().get(kind)
    if mapping is None:
        layer.error(f"{kind} cannot be written to ONNX: {refused(kind)}", "type")
    if graph.opset < mapping.opset:
        layer.error(f"{kind} takes opset {mapping.opset}, not {graph.opset}", "type")
    first = graph.begin(node)
    graph.settle(node, mapping.convert(graph, node, [graph.names[version] for version in node.bottoms]), first)


def _shapes(net: Net, batch: int | None) -> tuple[dict[Version, list[int]], str]:
    """Return the shape of every blob, and why the batch is of one size."""
    layers = [layer for layer in net.layers if isinstance(layer, Input)]
    before = [layer.top_shapes for layer in layers]
    versions = [version for node in net.graph.nodes for version in node.tops]

    def inferred(count: int | None) -> list[Shape]:
        for layer, shapes in zip(layers, before, strict=True):
            layer.top_shapes = [(count, *s[1:]) if count and len(s) > 1 else s for s in shapes]
        net.graph.infer_shapes()
        for node in net.graph.nodes:
            check_parameters(node)
        return [version.shape for version in versions]

    fixed = ""
    try:
        if batch:
            known = inferred(batch)
            net.reshape()
            return {v: list(shape) for v, shape in zip(versions, known, strict=True)}, f"--batch {batch}"
        try:
            two, three = inferred(2), inferred(3)
        except ShapeError as error:
            fixed, two = error.message, inferred(None)
            three = two
    finally:
        if not batch:
            for layer, shapes in zip(layers, before, strict=True):
                layer.top_shapes = shapes
            net.graph.infer_shapes()
    return {v: _symbolic(a, b) for v, a, b in zip(versions, two, three, strict=True)}, fixed


def _symbolic(two: Shape, three: Shape) -> list[int]:
    return [m if m == n else ANY for m, n in zip(two, three, strict=True)]


def _described(version: Version, shape: Sequence[int]) -> onnx.ValueInfoProto:
    dims = [BATCH if n == ANY and i == 0 else None if n == ANY else n for i, n in enumerate(shape)]
    return helper.make_tensor_value_info(version.name, TensorProto.FLOAT, dims)
