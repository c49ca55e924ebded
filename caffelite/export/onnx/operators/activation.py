"""Functions of one number, and those with a learned slope."""

import math
from collections.abc import Sequence

from onnx import TensorProto

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import Convert, converts
from caffelite.layers.dropout import Dropout
from caffelite.layers.shared.elementwise import ElementWise
from caffelite.net.graph import Node


def _one(operator: str) -> Convert:
    """Return the function for a layer that is one operator without settings."""

    def convert(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
        return [g.add(operator, x[0])]

    return convert


for _type, _operator in {"AbsVal": "Abs", "BNLL": "Softplus", "Sigmoid": "Sigmoid", "TanH": "Tanh"}.items():
    converts(_type)(_one(_operator))


@converts("ReLU")
def _relu(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    slope = node.layer.param.relu_param.negative_slope
    return [g.add("LeakyRelu", x[0], alpha=slope) if slope else g.add("Relu", x[0])]


@converts("ELU")
def _elu(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    return [g.add("Elu", x[0], alpha=node.layer.param.elu_param.alpha)]


@converts("PReLU")
def _prelu(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    slopes, axes = node.layer.blobs[0].data, len(node.bottoms[0].shape)
    return [g.add("PRelu", x[0], g.constant(slopes.reshape(-1, *[1] * (axes - 2)), name="slope"))]


@converts("Clip")
def _clip(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    settings = node.layer.param.clip_param
    return [g.add("Clip", x[0], g.constant(settings.min), g.constant(settings.max))]


@converts("ReLU6")
def _relu6(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    slope = node.layer.param.relu6_param.negative_slope
    low = g.add("LeakyRelu", x[0], alpha=slope) if slope else x[0]
    return [g.add("Clip", low, "" if slope else g.constant(0), g.constant(6))]


@converts("Threshold")
def _threshold(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    bound = g.constant(node.layer.param.threshold_param.threshold)
    return [g.add("Cast", g.add("Greater", x[0], bound), to=TensorProto.FLOAT)]


@converts("Power")
def _power(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    settings = node.layer.param.power_param
    if settings.power == 0 or settings.scale == 0:
        return [_constant(g, x[0], _constants(node)[0])]
    y = affine(g, x[0], settings.scale, settings.shift)
    if settings.power == 1:
        return [y]
    return [g.add("Mul", y, y) if settings.power == 2 else g.add("Pow", y, g.constant(settings.power))]


@converts("Exp")
def _exp(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    inner, outer = _constants(node)
    return [affine(g, g.add("Exp", affine(g, x[0], inner, 0)), outer, 0)]


@converts("Log")
def _log(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    shift, scale, factor = _constants(node)
    return [affine(g, g.add("Log", affine(g, x[0], scale, shift)), factor, 0)]


@converts("Swish")
def _swish(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    beta = node.layer.param.swish_param.beta
    return [g.add("Mul", x[0], g.add("Sigmoid", affine(g, x[0], beta, 0)))]


@converts("HSigmoid")
def _hard_sigmoid(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    return [g.add("HardSigmoid", x[0], alpha=1 / 6, beta=0.5)]


@converts("HSwish")
def _hard_swish(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    if g.opset >= 14:
        return [g.add("HardSwish", x[0])]
    return [g.add("Mul", x[0], g.add("HardSigmoid", x[0], alpha=1 / 6, beta=0.5))]


@converts("Mish")
def _mish(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    if g.opset >= 18:
        return [g.add("Mish", x[0])]
    return [g.add("Mul", x[0], g.add("Tanh", g.add("Softplus", x[0])))]


@converts("Softmax")
def _softmax(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    shape = node.bottoms[0].shape
    return [g.softmax(x[0], node.layer.axis(node.layer.param.softmax_param.axis, shape), len(shape))]


def affine(g: OnnxGraph, x: str, scale: float, shift: float) -> str:
    """Multiply by a number and add one, where that changes anything."""
    if scale != 1:
        x = g.add("Mul", x, g.constant(scale))
    return g.add("Add", x, g.constant(shift)) if shift else x


@converts("Dropout")
def _dropout(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Nothing, or what ``scale_train: false`` of several forks leaves to TEST."""
    assert isinstance(node.layer, Dropout)
    return [affine(g, x[0], node.layer.test_scale, 0)]


@converts("Split", "Silence", "MnActivation")
def _same(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Pass the tensor on, as often as it is asked for."""
    return x * len(node.tops)


def _constants(node: Node) -> list[float]:
    """Return the constants of a layer's function."""
    assert isinstance(node.layer, ElementWise)
    return [float(value) for value in node.layer.constants]


def _constant(g: OnnxGraph, x: str, value: float) -> str:
    """Return a tensor of one value, in the shape of another one."""
    if math.isnan(value):
        return g.add("Mul", x, g.constant(value))
    return g.add("Clip", x, g.constant(value), g.constant(value))
