"""Layers that resize maps by a filter: Resample and Downsample."""

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.layers.forks.flow.resample import CUBIC, NEAREST, Downsample, Resample
from caffelite.net.graph import Node


@converts("Resample")
def _resample(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Resize; where no Resize has the same weights, MatMul with them along both axes. NEAREST is Gather."""
    layer, before, after = node.layer, node.bottoms[0].shape, node.tops[0].shape
    assert isinstance(layer, Resample)
    p, y = layer.param.resample_param, x[0]
    if p.type == NEAREST:
        for axis, places in enumerate(layer.nearest(before, after), len(before) - 2):
            if not np.array_equal(places, np.arange(before[axis])):
                y = g.add("Gather", y, g.integers(places.tolist(), "places"), axis=axis)
        return [y]
    scales = [np.float32(n) / np.float32(m) for n, m in zip(before[-2:], after[-2:], strict=True)]
    if scales == [1, 1]:
        return x[:1]
    # A cubic Resize could have them, with ``exclude_outside``, but OpenVINO 2026.4 does not read that.
    if p.type == CUBIC or scales[0] != scales[1] or (p.antialias and scales[0] > 1):
        return [_product(g, y, layer.matrices(before, after))]
    shape = g.shape(node.bottoms[0])
    modes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return [g.resize(y, shape, [*shape[:-2], *after[-2:]], **modes)]


@converts("Downsample")
def _downsample(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """The mean of what is a number, by MatMul with the weights of both axes; NaN where too little is one."""
    layer, before, after = node.layer, node.bottoms[0].shape, node.tops[0].shape
    assert isinstance(layer, Downsample)
    if before[-2:] == after[-2:]:
        return x[:1]
    axes = layer.matrices(before, after)
    unknown = g.add("IsNaN", x[0])
    total = _product(g, g.add("Where", unknown, g.constant(0), x[0]), axes)
    weight = _product(g, g.add("Cast", unknown, to=TensorProto.FLOAT), axes)
    whole = np.outer(*(axis.sum(1) for axis in axes))
    known = g.add("Sub", g.constant(whole, name="weights"), weight)
    enough = g.add("Not", g.add("Greater", weight, g.add("Mul", known, g.constant(0.5))))
    return [g.add("Where", enough, g.add("Div", total, known), g.constant(np.nan))]


def _product(g: OnnxGraph, x: str, axes: Sequence[np.ndarray]) -> str:
    """Multiply the last two axes by the weights along them."""
    down, across = axes
    rows = g.add("MatMul", g.constant(down, name="down"), x)
    return g.add("MatMul", rows, g.constant(across.T, name="across"))
