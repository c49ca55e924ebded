"""Functions of each value, Softmax and LRN."""

import numpy as np

from caffelite.export.caffe.graph import CaffeGraph
from caffelite.export.caffe.operators import converts
from caffelite.export.caffe.reading import OnnxNode

#: Operators that are layers without settings.
_PLAIN = {
    "Abs": "AbsVal",
    "Exp": "Exp",
    "HardSwish": "HSwish",
    "Log": "Log",
    "Mish": "Mish",
    "Relu": "ReLU",
    "Sigmoid": "Sigmoid",
    "Softplus": "BNLL",
    "Tanh": "TanH",
}
_LARGEST = float(np.finfo(np.float32).max)


@converts(*_PLAIN)
def _plain(g: CaffeGraph, node: OnnxNode) -> None:
    g.add(node, _PLAIN[node.operator], g.bottom(node))


@converts("LeakyRelu")
def _leaky_relu(g: CaffeGraph, node: OnnxNode) -> None:
    g.add(node, "ReLU", g.bottom(node)).relu_param.negative_slope = node.attributes.get("alpha", 0.01)


@converts("PRelu")
def _prelu(g: CaffeGraph, node: OnnxNode) -> None:
    slope, shape = g.weight(node, 1), g.shape(node.inputs[0])
    if slope.size == 1:
        g.add(node, "PReLU", g.bottom(node), weights=[slope]).prelu_param.channel_shared = True
        return
    channels = (1, shape[1], *[1] * (len(shape) - 2))
    if (1,) * (len(shape) - slope.ndim) + slope.shape != channels:
        g.refuse(node, "its slopes are not one for each channel, which those of PReLU are")
    g.add(node, "PReLU", g.bottom(node), weights=[slope])


@converts("Elu")
def _elu(g: CaffeGraph, node: OnnxNode) -> None:
    g.add(node, "ELU", g.bottom(node)).elu_param.alpha = node.attributes.get("alpha", 1.0)


@converts("Clip")
def _clip(g: CaffeGraph, node: OnnxNode) -> None:
    """ReLU6, ReLU or Clip."""
    low, high = _bound(g, node, "min", 1, -_LARGEST), _bound(g, node, "max", 2, _LARGEST)
    if (low, high) in ((0, 6), (0, _LARGEST)):
        g.add(node, "ReLU6" if high == 6 else "ReLU", g.bottom(node))
        return
    p = g.add(node, "Clip", g.bottom(node)).clip_param
    p.min, p.max = low, high


def _bound(g: CaffeGraph, node: OnnxNode, attribute: str, position: int, without: float) -> float:
    if attribute in node.attributes:
        return float(node.attributes[attribute])
    if position >= len(node.inputs) or not node.inputs[position]:
        return without
    return float(g.weight(node, position).reshape(-1)[0])


@converts("HardSigmoid")
def _hard_sigmoid(g: CaffeGraph, node: OnnxNode) -> None:
    """HSigmoid where it is that of MobileNet v3; else Power and Clip."""
    slope, middle = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    if np.isclose(slope, 1 / 6) and middle == 0.5:
        g.add(node, "HSigmoid", g.bottom(node))
        return
    line = g.between(node, "line")
    p = g.add(node, "Power", g.bottom(node), tops=[line]).power_param
    p.scale, p.shift = slope, middle
    clip = g.add(node, "Clip", line).clip_param
    clip.min, clip.max = 0, 1


@converts("Softmax")
def _softmax(g: CaffeGraph, node: OnnxNode) -> None:
    """Softmax along one axis; before opset 13 it is along all from the axis on, which must be one then."""
    shape, newer = g.shape(node.inputs[0]), g.source.opset >= 13
    axis = node.attributes.get("axis", -1 if newer else 1) % len(shape)
    if not newer and any(n != 1 for n in shape[axis + 1 :]):
        g.refuse(node, "it is along several axes, and that of Caffe is along one")
    p = g.add(node, "Softmax", g.bottom(node))
    if axis != 1:
        p.softmax_param.axis = axis


@converts("LRN")
def _lrn(g: CaffeGraph, node: OnnxNode) -> None:
    p = g.add(node, "LRN", g.bottom(node)).lrn_param
    p.local_size = node.attributes["size"]
    p.alpha, p.beta = node.attributes.get("alpha", 1e-4), node.attributes.get("beta", 0.75)
    p.k = node.attributes.get("bias", 1.0)
