"""A net of the TEST phase as an ONNX model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import ModelProto, TensorProto, helper

from caffelite import __version__
from caffelite.errors import NetError, ShapeError
from caffelite.export.inputs import inputs_of
from caffelite.export.onnx.choices import DETECTIONS
from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import mapping_of, refused
from caffelite.export.onnx.preprocessing import add_preprocessing
from caffelite.export.preprocessing import Preprocessing
from caffelite.layers.input import Input
from caffelite.net import Net
from caffelite.net.graph import Node, Version
from caffelite.net.parameters import check_parameters
from caffelite.words import Shape, quoted, text_of

#: The versions of ONNX's operators that can be asked for, and the version of the file's format that came with each.
IR_VERSIONS = {11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}
DEFAULT_OPSET = 13
#: What the first axis of inputs is called where it is any number.
BATCH = "batch"
#: The input of a model that begins with preprocessing, uint8, images x height x width x channels, RGB: its name, where
#: no blob is called so.
IMAGE = "image"
#: Operators that a model can have for OpenCV's sake, and ONNX has not.
FOREIGN = ("DetectionOutput",)


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
    batch : int or None
        The size that was asked for.
    preprocessing : Preprocessing or None
        What the model begins with.
    """

    model: ModelProto
    fixed: str
    tensors: dict[Version, str]
    batch: int | None = None
    preprocessing: Preprocessing | None = None


def convert(
    net: Net,
    opset: int = DEFAULT_OPSET,
    batch: int | None = None,
    preprocessing: Preprocessing | None = None,
    metadata: Mapping[str, str] | None = None,
    detections: str = DETECTIONS[0],
    decompose_lrn: bool = False,
) -> Converted:
    """Return a net as an ONNX model; nothing has checked it yet, see :mod:`caffelite.export.onnx.check`.

    Parameters
    ----------
    net : Net
        In the TEST phase, with its weights, and without losses and layers for training: see
        :func:`caffelite.batchnorm.fold.fold`.
    opset : int, optional
    batch : int, optional
        How many images the inputs have; any number where it is not given and the net allows that.
    preprocessing : Preprocessing, optional
        What is done to images before the net; the input of the model is these images then.
    metadata : mapping of str to str, optional
        What the model tells of itself.
    detections : str, optional
        What becomes of a layer that makes detections: one of :data:`~caffelite.export.onnx.choices.DETECTIONS`. A model
        for OpenCV has a node that ONNX does not have: see :func:`cut_foreign`.
    decompose_lrn : bool, optional
        Whether LRN across channels becomes what it is made of, which ONNX Runtime computes faster, in place of ONNX's
        operator LRN, which compilers know.

    Raises
    ------
    NetError
        A layer has no operators in ONNX, or none in this opset; the message names it. With ``preprocessing``: the net
        does not read images.
    """
    check_opset(opset)
    for node in net.graph.nodes:
        if not node.layer.facts.net_input:
            _check(node, opset)
    shapes, fixed = _shapes(net, batch)
    graph = OnnxGraph(net, opset, shapes, detections, decompose_lrn)
    inputs = inputs_of(net)
    graph.names.update({version: version.name for version in inputs})
    given = _described(graph, inputs) if preprocessing is None else [_begin_with(graph, preprocessing, inputs)]
    cut = _detecting(net) if detections == "raw" else []
    for node in net.graph.nodes:
        if not node.layer.facts.net_input and node not in cut:
            _add(graph, node)
    outputs = _outputs(net, cut)
    graph.finish(outputs, [value.name for value in given])
    model = _model(graph, given, _described(graph, outputs), metadata or {})
    return Converted(model, fixed, _tensors(graph), batch, preprocessing)


def check_opset(opset: int) -> None:
    """Refuse a version of ONNX's operators that is not written."""
    if opset not in IR_VERSIONS:
        versions = list(IR_VERSIONS)
        raise NetError(f"opset {opset} is not one of those that are written, {versions[0]} to {versions[-1]}")


def _begin_with(graph: OnnxGraph, preprocessing: Preprocessing, inputs: Sequence[Version]) -> onnx.ValueInfoProto:
    """Let the model begin with images; return what its input is."""
    (version, *rest), source = inputs, graph.net.document.filename
    shape = graph.shape(version)
    if rest or len(shape) != 4:
        told = ", ".join(f"{quoted(v.name)} of {text_of(v.shape)}" for v in inputs)
        raise NetError(f"{source}: preprocessing is for a net with one input, of images; it has {told}")
    images, channels, height, width = shape
    preprocessing.check((channels, height, width), f"{source}: {quoted(version.name)}")
    first = graph.begin(version.producer)
    name = graph.outside(IMAGE)
    graph.settle(version.producer, [add_preprocessing(graph, preprocessing, name, (channels, height, width))], first)
    dims = [BATCH if images == ANY else images, height, width, channels]
    return helper.make_tensor_value_info(name, TensorProto.UINT8, dims)


def cut_foreign(model: ModelProto) -> None:
    """Take the nodes out of a model that ONNX does not have; what they read, tensors of two axes, are outputs then."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    for op in [op for op in graph.node if op.op_type in FOREIGN]:
        graph.node.remove(op)
        outputs = [value for value in graph.output if value.name not in op.output]
        read = [name for name in op.input if name not in constants]
        outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in read]
        del graph.output[:]
        graph.output.extend(outputs)


def _check(node: Node, opset: int) -> None:
    layer, kind = node.layer, node.layer.param.type
    mapping = mapping_of(layer)
    if mapping is None:
        layer.error(f"{kind} cannot be written to ONNX: {refused(kind)}", "type")
    if opset < mapping.opset:
        layer.error(f"{kind} takes opset {mapping.opset}, not {opset}", "type")


def _add(graph: OnnxGraph, node: Node) -> None:
    mapping, first = mapping_of(node.layer), graph.begin(node)
    assert mapping is not None
    graph.settle(node, mapping.convert(graph, node, [graph.names[version] for version in node.bottoms]), first)


def _model(
    graph: OnnxGraph,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    metadata: Mapping[str, str],
) -> ModelProto:
    made = helper.make_graph(graph.nodes, graph.net.name or "net", inputs, outputs, graph.initializers())
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", graph.opset)],
        producer_name="caffelite",
        producer_version=__version__,
    )
    model.ir_version = IR_VERSIONS[graph.opset]
    helper.set_model_props(model, dict(metadata))
    return model


def _tensors(graph: OnnxGraph) -> dict[Version, str]:
    """Return the tensor of each blob that ONNX's operators make."""
    made = {name for op in graph.nodes for name in op.output if op.op_type not in FOREIGN}
    last = [version for version in graph.net.graph.names.values() if version in graph.names]
    return {version: graph.names[version] for version in last if graph.names[version] in made}


def _detecting(net: Net) -> list[Node]:
    """Return the layers that make detections, which nothing may read."""
    nodes = [node for node in net.graph.nodes if (mapping := mapping_of(node.layer)) and mapping.detects]
    for node in nodes:
        for reader in (reader for version in node.tops for reader, _ in version.readers):
            node.layer.error(f"raw leaves it out, but {quoted(reader.name)} reads what it makes", "type")
    return nodes


def _outputs(net: Net, cut: Sequence[Node]) -> list[Version]:
    """Return the outputs of a net without the layers that are cut off."""
    outputs: dict[Version, None] = {}
    for version in (net.graph.names[name] for name in net.outputs):
        if version.producer in cut:
            outputs.update((v, None) for v in version.producer.bottoms if not v.producer.layer.facts.net_input)
        else:
            outputs[version] = None
    return list(outputs)


def _shapes(net: Net, batch: int | None) -> tuple[dict[Version, list[int]], str]:
    """Return the shape of every blob, and why the batch is of one size."""
    layers = [layer for layer in net.layers if isinstance(layer, Input)]
    before = [layer.top_shapes for layer in layers]
    versions = [version for node in net.graph.nodes for version in node.tops]

    def inferred(count: int | None, more: int = 0) -> list[Shape]:
        """Infer for so many images, and so many rows more of what depends on the data."""
        for layer, shapes in zip(layers, before, strict=True):
            layer.top_shapes = [(count, *s[1:]) if count and len(s) > 1 else s for s in shapes]
        for node in net.graph.nodes:
            net.graph.infer(node)
            mapping = mapping_of(node.layer)
            if more and mapping is not None and mapping.varies is not None:
                net.graph.set_shapes(node, [_longer(v.shape, mapping.varies, more) for v in node.tops])
            check_parameters(node)
        return [version.shape for version in versions]

    fixed = ""
    try:
        if batch:
            one, other = inferred(batch, 1), inferred(batch)
            net.reshape()
            fixed = f"--batch {batch}"
        else:
            try:
                one, other = inferred(2), inferred(3, 1)
            except ShapeError as error:
                fixed, one, other = error.message, inferred(None), inferred(None, 1)
    finally:
        if not batch:
            for layer, shapes in zip(layers, before, strict=True):
                layer.top_shapes = shapes
            net.graph.infer_shapes()
    return {v: _symbolic(a, b) for v, a, b in zip(versions, one, other, strict=True)}, fixed


def _longer(shape: Shape, axis: int, more: int) -> Shape:
    return (*shape[:axis], shape[axis] + more, *shape[axis + 1 :])


def _symbolic(one: Shape, other: Shape) -> list[int]:
    return [m if m == n else ANY for m, n in zip(one, other, strict=True)]


def _described(graph: OnnxGraph, versions: Iterable[Version]) -> list[onnx.ValueInfoProto]:
    """Describe tensors; where a shape varies with the data, its first axis is not named after the batch."""
    varying, described = graph.net.graph.behind_dynamic(), []
    for version in versions:
        first = None if version.producer in varying else BATCH
        dims = [n if n != ANY else None if axis else first for axis, n in enumerate(graph.shape(version))]
        described.append(helper.make_tensor_value_info(version.name, TensorProto.FLOAT, dims))
    return described
