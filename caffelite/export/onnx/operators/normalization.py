"""Layers that scale: BatchNorm, Scale, Bias, LRN, MVN."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.layers.batchnorm import BatchNorm
from caffelite.net.graph import Node
from caffelite.words import Shape

_ACROSS = 0
#: Caffe's default for ``beta`` of LRN.
_BETA = 0.75


@converts("BatchNorm")
def _batch_norm(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """BatchNormalization with the stored statistics, and with NVCaffe's scale and shift, where the layer has them."""
    layer = node.layer
    assert isinstance(layer, BatchNorm)
    if not layer.uses_stored:
        layer.error("it normalises by the statistics of each batch here", "use_global_stats")
    mean, variance, factor = (blob.data for blob in layer.blobs[:3])
    share = 1 / factor.flat[0] if factor.flat[0] else 0.0
    scale, shift = (b.data for b in layer.blobs[3:]) if layer.scales else (np.ones_like(mean), np.zeros_like(mean))
    values = {"scale": scale, "shift": shift, "mean": mean * share, "variance": variance * share}
    parameters = [g.constant(array, name=name) for name, array in values.items()]
    # An axis of channels alone is one of images for Caffe.
    rows = x[0] if len(node.bottoms[0].shape) > 1 else g.unsqueeze(x[0], [1])
    y = g.add("BatchNormalization", rows, *parameters, epsilon=layer.eps)
    return [y if rows == x[0] else g.squeeze(y, [1])]


@converts("Scale", "Bias")
def _scale(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Mul and Add of a small array, with axes of one element behind it."""
    layer, shape = node.layer, node.bottoms[0].shape
    is_scale = layer.param.type == "Scale"
    axis = layer.axis((layer.param.scale_param if is_scale else layer.param.bias_param).axis, shape) if shape else 0
    y, operators = x[0], ["Mul", "Add"] if is_scale else ["Add"]
    if len(x) > 1:
        small = len(node.bottoms[1].shape)
        behind = len(shape) - axis - small
        other = g.unsqueeze(x[1], range(small, small + behind)) if small and behind else x[1]
        y = g.add(operators.pop(0), y, other)
    for operator, blob in zip(operators, layer.blobs, strict=False):
        y = g.add(operator, y, g.constant(_spread(blob.data, axis, shape), name=operator.lower()))
    return [y]


def _spread(values: np.ndarray, axis: int, shape: Shape) -> np.ndarray:
    return values.reshape(*values.shape, *[1] * (len(shape) - axis - values.ndim))


@converts("LRN")
def _lrn(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """LRN across channels, or what it is made of where that is asked for; ONNX has no operator for LRN within them."""
    p = node.layer.param.lrn_param
    across = p.norm_region == _ACROSS
    if across and not g.decompose_lrn:
        return [g.add("LRN", x[0], size=p.local_size, alpha=p.alpha, beta=p.beta, bias=p.k)]
    energy = _energy_across(g, x[0], p, node.bottoms[0].shape[1]) if across else _energy_within(g, x[0], p)
    return [g.add("Div", x[0], _power(g, energy, p.beta))]


def _energy_across(g: OnnxGraph, x: str, p: Any, channels: int) -> str:
    """Add ``k + alpha / n * sum of squares`` over neighbouring channels: a 1 × 1 convolution with a band of ones."""
    # Squares of numbers that are small already are in float16's range too.
    share = p.alpha / p.local_size
    small = g.add("Mul", x, g.constant(math.sqrt(abs(share)), name="scale"))
    away = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels)))
    band = np.where(away <= p.local_size // 2, math.copysign(1, share), 0)[:, :, None, None]
    squares = g.add("Mul", small, small)
    k = g.constant(np.full(channels, p.k), name="k")
    return g.add("Conv", squares, g.constant(band, name="band"), k, kernel_shape=[1, 1])


def _energy_within(g: OnnxGraph, x: str, p: Any) -> str:
    """Add ``1 + alpha * mean of squares`` over a window that is full at the edges too."""
    around = p.local_size // 2
    squares = g.pad(g.add("Mul", x, x), [0, 0, around, around], [0, 0, around, around])
    mean = g.add("AveragePool", squares, kernel_shape=[p.local_size] * 2, strides=[1, 1])
    return g.add("Add", g.add("Mul", mean, g.constant(p.alpha)), g.constant(1))


def _power(g: OnnxGraph, x: str, exponent: float) -> str:
    """Raise to a power; to Caffe's default by two roots, which ONNX Runtime computes several times as fast as Pow."""
    if exponent != _BETA:
        return g.add("Pow", x, g.constant(exponent))
    root = g.add("Sqrt", x)
    return g.add("Mul", root, g.add("Sqrt", root))


@converts("MVN")
def _mvn(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    p, axes = node.layer.param.mvn_param, len(node.bottoms[0].shape)
    values = x[0] if axes == 4 else g.unsqueeze(x[0], range(axes, 4))
    over = range(1 if p.across_channels else 2, 4)
    centred = g.add("Sub", values, g.reduce("ReduceMean", values, over))
    if not p.normalize_variance:
        return [centred]
    deviation = g.add("Sqrt", g.reduce("ReduceMean", g.add("Mul", centred, centred), over))
    return [g.add("Div", centred, g.add("Add", deviation, g.constant(p.eps)))]
