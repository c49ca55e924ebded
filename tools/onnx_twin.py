"""An ONNX model that computes what a net of caffelite computes, for ONNX Runtime to be timed beside it.

It knows the layers of the classic image classifiers only, as they are in the TEST phase.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from caffelite.net import Net
from caffelite.net.graph import Node, Version

#: Any version that has all of these operators as they are used here; ONNX Runtime reads it since 1.10.
OPSET = 15
_MAX, _AVE = 0, 1
_SUM = 1
_ACROSS = 0


class NoTwinError(Exception):
    pass


class _Twin:
    """The ONNX graph in the making."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        #: What a version of a blob is called; a layer that computes nothing passes the name on.
        self.names: dict[Version, str] = {}

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def parameters(self, node: Node) -> list[str]:
        return [self.constant(f"{node.name}/{j}", values) for j, values in enumerate(self.values(node))]

    def values(self, node: Node) -> list[np.ndarray]:
        return [blob.data for blob in node.layer.blobs]

    def bottom(self, node: Node) -> str:
        return self.names[node.bottoms[0]]

    def add(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add an operator, and return the name of what it makes: its own."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def model(self) -> onnx.ModelProto:
        inputs, outputs = [], []
        for node in self.net.graph.nodes:
            kind = node.layer.param.type
            if kind == "Input":
                for version in node.tops:
                    self.names[version] = version.name
                    inputs.append(_described(version))
                continue
            if kind not in _OPERATORS:
                raise NoTwinError(f"{node.name}: no ONNX operator is known here for the type {kind}")
            self.names[node.tops[0]] = _OPERATORS[kind](self, node)
        for name in self.net.outputs:
            version = self.net.graph.names[name]
            self.add("Identity", [self.names[version]], name)
            outputs.append(_described(version))
        graph = helper.make_graph(self.nodes, self.net.name or "net", inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="caffelite")
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model


def _described(version: Version) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(version.name, TensorProto.FLOAT, version.shape)


def _pair(settings: Any, name: str, default: int) -> list[int]:
    """Return a setting of Convolution or Pooling for both axes, from whichever form it is given in."""
    short = name.removesuffix("_size")
    split = [f"{short}_h", f"{short}_w"]
    if all(form in settings.DESCRIPTOR.fields_by_name and settings.HasField(form) for form in split):
        return [getattr(settings, form) for form in split]
    value = getattr(settings, name)
    values = [value] if isinstance(value, int) else list(value)
    return (values or [default]) * (1 if len(values) == 2 else 2)


def _convolution(twin: _Twin, node: Node) -> str:
    p = node.layer.param.convolution_param
    if len(node.bottoms) > 1 or len(node.bottoms[0].shape) != 4:
        raise NoTwinError(f"{node.name}: only convolutions of one blob of images")
    return twin.add(
        "Conv",
        [twin.bottom(node), *twin.parameters(node)],
        f"{node.name}:out",
        group=p.group,
        kernel_shape=twin.values(node)[0].shape[2:],
        strides=_pair(p, "stride", 1),
        pads=_pair(p, "pad", 0) * 2,
        dilations=_pair(p, "dilation", 1),
    )


def _pooling(twin: _Twin, node: Node) -> str:
    p, x = node.layer.param.pooling_param, twin.bottom(node)
    size, result = node.bottoms[0].shape[2:], node.tops[0].shape[2:]
    kernel = list(size) if p.global_pooling else _pair(p, "kernel_size", 0)
    stride, before = _pair(p, "stride", 1), _pair(p, "pad", 0)
    name = f"{node.name}:out"
    if p.pool not in (_MAX, _AVE) or len(node.tops) > 1:
        raise NoTwinError(f"{node.name}: only MAX without mask, and AVE")
    if p.pool == _AVE and kernel == list(size) and not any(before):
        return twin.add("GlobalAveragePool", [x], name)
    # Caffe rounds the number of windows up; so many zeros at the end are what they need.
    needed = [(n - 1) * s + k for n, s, k in zip(result, stride, kernel, strict=True)]
    after = [max(n - b - m, 0) for n, b, m in zip(needed, before, size, strict=True)]
    if p.pool == _MAX:
        return twin.add("MaxPool", [x], name, kernel_shape=kernel, strides=stride, pads=[*before, *after])
    if any(before):
        # The pad counts in Caffe's mean, on either side; what a window has beyond it does not.
        pads = twin.constant(f"{node.name}/pads", np.array([0, 0, *before] * 2, np.int64))
        x = twin.add("Pad", [x, pads], f"{node.name}:padded")
        after = [max(a - b, 0) for a, b in zip(after, before, strict=True)]
    return twin.add(
        "AveragePool", [x], name, kernel_shape=kernel, strides=stride, pads=[0, 0, *after], count_include_pad=0
    )


def _batch_norm(twin: _Twin, node: Node) -> str:
    mean, variance, factor, *rest = twin.values(node)
    if rest or not getattr(node.layer, "use_global_stats", True):
        raise NoTwinError(f"{node.name}: only the stored statistics, without a scale")
    share = 1 / factor[0] if factor[0] else 0
    one, zero = np.ones_like(mean), np.zeros_like(mean)
    inputs = [
        twin.constant(f"{node.name}/{what}", values)
        for what, values in (("scale", one), ("shift", zero), ("mean", mean * share), ("variance", variance * share))
    ]
    return twin.add(
        "BatchNormalization",
        [twin.bottom(node), *inputs],
        f"{node.name}:out",
        epsilon=node.layer.param.batch_norm_param.eps,
    )


def _scale(twin: _Twin, node: Node) -> str:
    p, axes = node.layer.param.scale_param, len(node.bottoms[0].shape)
    if len(node.bottoms) > 1 or p.axis != 1 or p.num_axes != 1:
        raise NoTwinError(f"{node.name}: only a learned factor for each channel")
    shape = (-1, *(1,) * (axes - 2))
    factor, *offset = (twin.constant(f"{node.name}/{j}", v.reshape(shape)) for j, v in enumerate(twin.values(node)))
    name = f"{node.name}:out"
    if not offset:
        return twin.add("Mul", [twin.bottom(node), factor], name)
    return twin.add("Add", [twin.add("Mul", [twin.bottom(node), factor], f"{node.name}:scaled"), offset[0]], name)


def _relu(twin: _Twin, node: Node) -> str:
    slope = node.layer.param.relu_param.negative_slope
    if slope:
        return twin.add("LeakyRelu", [twin.bottom(node)], f"{node.name}:out", alpha=slope)
    return twin.add("Relu", [twin.bottom(node)], f"{node.name}:out")


def _lrn(twin: _Twin, node: Node) -> str:
    p = node.layer.param.lrn_param
    if p.norm_region != _ACROSS:
        raise NoTwinError(f"{node.name}: only ACROSS_CHANNELS")
    return twin.add(
        "LRN", [twin.bottom(node)], f"{node.name}:out", size=p.local_size, alpha=p.alpha, beta=p.beta, bias=p.k
    )


def _concat(twin: _Twin, node: Node) -> str:
    p = node.layer.param.concat_param
    axis = p.concat_dim if p.HasField("concat_dim") else p.axis
    return twin.add("Concat", [twin.names[version] for version in node.bottoms], f"{node.name}:out", axis=axis)


def _eltwise(twin: _Twin, node: Node) -> str:
    p = node.layer.param.eltwise_param
    if p.operation != _SUM or any(coeff != 1 for coeff in p.coeff):
        raise NoTwinError(f"{node.name}: only sums")
    operator = "Add" if len(node.bottoms) == 2 else "Sum"
    return twin.add(operator, [twin.names[version] for version in node.bottoms], f"{node.name}:out")


def _inner_product(twin: _Twin, node: Node) -> str:
    p = node.layer.param.inner_product_param
    if p.axis != 1:
        raise NoTwinError(f"{node.name}: only axis 1")
    rows = twin.add("Flatten", [twin.bottom(node)], f"{node.name}:rows", axis=1)
    return twin.add("Gemm", [rows, *twin.parameters(node)], f"{node.name}:out", transB=int(not p.transpose))


def _softmax(twin: _Twin, node: Node) -> str:
    return twin.add("Softmax", [twin.bottom(node)], f"{node.name}:out", axis=node.layer.param.softmax_param.axis)


def _flatten(twin: _Twin, node: Node) -> str:
    shape = twin.constant(f"{node.name}/shape", np.array(node.tops[0].shape, np.int64))
    return twin.add("Reshape", [twin.bottom(node), shape], f"{node.name}:out")


_OPERATORS: dict[str, Callable[[_Twin, Node], str]] = {
    "BatchNorm": _batch_norm,
    "Concat": _concat,
    "Convolution": _convolution,
    "Dropout": _Twin.bottom,
    "Eltwise": _eltwise,
    "Flatten": _flatten,
    "InnerProduct": _inner_product,
    "LRN": _lrn,
    "Pooling": _pooling,
    "ReLU": _relu,
    "Scale": _scale,
    "Softmax": _softmax,
}


def twin(net: Net) -> onnx.ModelProto:
    """Return the model of a net in the TEST phase, with its parameters.

    Raises
    ------
    NoTwinError
        A layer, or a setting of one, that is not known here; the text names it.
    """
    return _Twin(net).model()
