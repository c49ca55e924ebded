"""Layers that scale: Normalize, BN, ChannelScale, EltwiseAffine."""

from collections.abc import Sequence

import numpy as np

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.layers.forks.normalization.bn import BN
from caffelite.layers.forks.normalization.normalize import PLAIN_EPS, Normalize
from caffelite.net.graph import Node
from caffelite.words import Shape


@converts("Normalize")
def _normalize(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Div by the norm, with eps inside the root: LpNormalization has none and ReduceL2 would lose it."""
    layer, shape = node.layer, node.bottoms[0].shape
    assert isinstance(layer, Normalize)
    across = not layer.plain and layer.settings.across_spatial
    axes = list(range(1, len(shape))) if across else [1]
    if layer.absolute:
        # Not ReduceL1, which OpenVINO 2026.4 takes for a sum over all axes.
        total = g.reduce("ReduceSum", g.add("Abs", x[0]), axes)
    else:
        total = g.reduce("ReduceSumSquare", x[0], axes)
    total = g.add("Add", total, g.constant(PLAIN_EPS if layer.plain else layer.settings.eps, name="eps"))
    norms = total if layer.absolute else g.add("Sqrt", total)
    y = g.add("Div", x[0], norms)
    if layer.plain:
        return [y, norms][: len(node.tops)]
    scale = layer.blobs[0].data
    return [y] if (scale == 1).all() else [g.add("Mul", y, g.constant(_per_channel(scale, shape), name="scale"))]


def _per_channel(values: np.ndarray, shape: Shape) -> np.ndarray:
    """Return a number for each channel with axes of one element behind it; one for all stays as it is."""
    return values.reshape(-1, *[1] * (len(shape) - 2)) if values.size > 1 else values.reshape(())


@converts("EltwiseAffine")
def _eltwise_affine(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    slope, bias = (
        g.constant(_per_channel(blob.data, node.bottoms[0].shape), name=name)
        for blob, name in zip(node.layer.blobs, ("slope", "bias"), strict=True)
    )
    return [g.add("Add", g.add("Mul", x[0], slope), bias)]


@converts("BN")
def _bn(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """BatchNormalization with the stored statistics; SegNet's INFERENCE has none: Mul and Add."""
    layer, shape = node.layer, node.bottoms[0].shape
    assert isinstance(layer, BN)
    if not layer.uses_stored:
        layer.error("it normalises by the statistics of each batch here", layer.batch_setting.name)
    values = [blob.data.reshape(-1) for blob in layer.blobs]
    if layer.only_scales:
        scale, shift = (_per_channel(v, shape) for v in values)
        return [g.add("Add", g.add("Mul", x[0], g.constant(scale, name="scale")), g.constant(shift, name="shift"))]
    names = ("scale", "shift", "mean", "variance")
    parameters = [g.constant(v, name=name) for v, name in zip(values, names, strict=True)]
    return [g.add("BatchNormalization", x[0], *parameters, epsilon=layer.eps)]


@converts("ChannelScale")
def _channel_scale(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Mul by a factor for each place, or by the number that is stored."""
    layer, shape = node.layer, g.shape(node.bottoms[0])
    p = layer.param.channel_scale_param
    number = g.constant(layer.blobs[0].data, name="number") if p.global_scale else ""
    if not p.do_forward:
        y = x[0]
    elif p.global_scale:
        y = g.add("Mul", x[0], number)
    else:
        per_place = [shape[0], 1, *shape[2:]]
        factors = x[1] if g.shape(node.bottoms[1]) == per_place else g.reshape(x[1], per_place)
        y = g.add("Mul", x[0], factors)
    return [y, number][: len(node.tops)]
