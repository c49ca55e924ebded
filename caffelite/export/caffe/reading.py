"""Reading an ONNX model: its nodes, and the shapes and constants that a run of it shows.

The file is untrusted: weights outside its folder are not read, sizes are checked before anything is computed.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    external_data_helper,
    helper,
    numpy_helper,
)
from onnx.checker import ValidationError

from caffelite.errors import DataError, NetError, first_line
from caffelite.export.onnx.check import new_session, refusals
from caffelite.export.onnx.files import LIMIT
from caffelite.schema.blobs import LARGEST_BLOB
from caffelite.words import Shape, count, did_you_mean, quoted, text_of

#: ONNX's own operators, by the names that their domain has.
_DOMAINS = ("", "ai.onnx")
#: ONNX Runtime runs no older ones.
_LEAST_OPSET = 7
#: What they make is another thing each time, or depends on more than what they list as inputs.
_NEVER_CONSTANT = ("Bernoulli", "If", "Loop", "Multinomial", "RandomNormal", "RandomUniform", "Scan")


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """A node of a model.

    Attributes
    ----------
    operator : str
        With its domain in front, where that is not ONNX's.
    name : str
        The first output's where the node has none.
    inputs, outputs : list of str
        An input that is left out is empty.
    attributes : dict of str to object
    """

    operator: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


class OnnxSource:
    """A model whose inputs have known shapes.

    Attributes
    ----------
    model : ModelProto
        As it was read, with these shapes.
    path : Path
    nodes : list of OnnxNode
        Those whose outputs depend on an input.
    inputs : dict of str to tuple of int
    outputs : list of str
    opset : int
    """

    def __init__(self, path: Path, shapes: Mapping[str, Shape]) -> None:
        self.path = path
        self.model = _loaded(path)
        graph = self.model.graph
        self.opset = _opset(path, self.model)
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = _fixed_inputs(path, self.model, shapes)
        self.outputs = [value.name for value in graph.output]
        self._constants: dict[str, np.ndarray] = {}
        self._shapes: dict[str, Shape] = dict(self.inputs)
        fixed = {"", *self._initializers}
        self.nodes = []
        for node in graph.node:
            if _is_constant(node, fixed):
                fixed.update(node.output)
            else:
                self.nodes.append(_node(node))
        self._fixed = fixed

    def look(self) -> None:
        """Run the model once, for the shapes of all tensors and the values of those that depend on no input."""
        made = [name for node in self.model.graph.node for name in node.output if name]
        probe = ModelProto()
        probe.CopyFrom(self.model)
        del probe.graph.output[:]
        probe.graph.output.extend(ValueInfoProto(name=name) for name in made)
        feeds = {name: np.zeros(shape, np.float32) for name, shape in self.inputs.items()}
        with tempfile.TemporaryDirectory() as folder, refusals(self.path):
            file = Path(folder) / "model.onnx"
            file.write_bytes(probe.SerializeToString())
            try:
                values = new_session(file).run(made, feeds)
            except (RuntimeError, UnicodeDecodeError) as error:
                raise NetError(f"{self.path}: ONNX Runtime has no values for it: {error}") from error
        for name, value in zip(made, values, strict=True):
            if isinstance(value, np.ndarray):
                self._shapes[name] = value.shape
                if name in self._fixed:
                    self._constants[name] = value
        for output in self.model.graph.output:
            _set_shape(output, self.shape(output.name))

    def constant(self, name: str) -> np.ndarray | None:
        """Return the values of a tensor that depends on no input; None for others and for one that is left out."""
        if name in self._initializers and name not in self._constants:
            try:
                self._constants[name] = numpy_helper.to_array(self._initializers[name])
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"{self.path}: the values of {quoted(name)} are not as many as its shape says"
                ) from error
        return self._constants.get(name)

    def shape(self, name: str) -> Shape:
        """Return the shape of a tensor."""
        constant = self.constant(name)
        return constant.shape if constant is not None else self._shapes[name]


def _loaded(path: Path) -> ModelProto:
    try:
        if path.stat().st_size > LIMIT:
            raise DataError(f"{path}: it has more than {LIMIT >> 20} MB, which a model in one file cannot have")
        model = onnx.load(path, load_external_data=False)
        _check_external(path, model)
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except OSError as error:
        name = Path(error.filename or path)
        raise DataError(f"{name}: {error.strerror or error}") from None
    except (DecodeError, ValidationError, ValueError) as error:
        raise DataError(f"{path}: not an ONNX model that can be read: {first_line(error)}") from None
    if not model.graph.node:
        raise DataError(f"{path}: not an ONNX model: it has no nodes")
    # Protobuf gives the bytes of what is not UTF-8.
    if any(isinstance(name, bytes) for name in _names(model.graph)):
        raise DataError(f"{path}: not an ONNX model that can be read: a name in it is not UTF-8")
    return model


def _names(graph: GraphProto) -> Iterator[str]:
    yield graph.name
    for named in (*graph.input, *graph.output, *graph.initializer):
        yield named.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)


def _check_external(path: Path, model: ModelProto) -> None:
    """Refuse weights in files outside the model's folder, and more of them than fit into memory twice."""
    folder, size = path.parent.resolve(), 0
    for tensor in _tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        told = {entry.key: entry.value for entry in tensor.external_data}
        if not (folder / told.get("location", "")).resolve().is_relative_to(folder):
            raise DataError(f"{path}: the values of {quoted(tensor.name)} are in a file outside its folder")
        size += 4 * count(tensor.dims)
    if size > LIMIT:
        raise DataError(f"{path}: its weights have more than {LIMIT >> 20} MB, which are not read")


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)


def _opset(path: Path, model: ModelProto) -> int:
    opset = next((entry.version for entry in model.opset_import if entry.domain in _DOMAINS), 0)
    if opset < _LEAST_OPSET:
        raise NetError(f"{path}: opset {opset} is older than {_LEAST_OPSET}, which ONNX Runtime does not run")
    return opset


def _fixed_inputs(path: Path, model: ModelProto, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Give the inputs of a model the shapes that were asked for, one image where the batch is open; return them."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = {}
    for value in [value for value in model.graph.input if value.name not in initializers]:
        tensor = value.type.tensor_type
        if tensor.elem_type != TensorProto.FLOAT:
            kind = TensorProto.DataType.Name(tensor.elem_type).lower()
            raise NetError(f"{path}: input {quoted(value.name)} is of type {kind}, and Caffe's blobs are float")
        shape = shapes.get(value.name) or tuple(
            dim.dim_value or (1 if axis == 0 else 0) for axis, dim in enumerate(tensor.shape.dim)
        )
        if not shape or min(shape) <= 0:
            raise NetError(f"{path}: the shape of input {quoted(value.name)} is open: give it with --input")
        if count(shape) > LARGEST_BLOB:
            raise NetError(f"{path}: input {quoted(value.name)} of {text_of(shape)} is larger than a blob can be")
        inputs[value.name] = shape
        _set_shape(value, shape)
    for name in shapes:
        if name not in inputs:
            raise NetError(f"{path}: it has no input {quoted(name)}{did_you_mean(name, inputs)}")
    # It was written for the shapes that were there.
    del model.graph.value_info[:]
    return inputs


def _set_shape(value: ValueInfoProto, shape: Shape) -> None:
    tensor = value.type.tensor_type
    tensor.shape.CopyFrom(helper.make_tensor_type_proto(tensor.elem_type, shape).tensor_type.shape)


def _is_constant(node: NodeProto, fixed: set[str]) -> bool:
    if node.op_type in ("Shape", "Size"):
        return True
    return not node.op_type.startswith(_NEVER_CONSTANT) and all(name in fixed for name in node.input)


def _node(node: NodeProto) -> OnnxNode:
    operator = node.op_type if node.domain in _DOMAINS else f"{node.domain}.{node.op_type}"
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    texts = {name: value.decode(errors="replace") for name, value in attributes.items() if isinstance(value, bytes)}
    outputs = list(node.output)
    return OnnxNode(operator, node.name or "".join(outputs[:1]), list(node.input), outputs, attributes | texts)
