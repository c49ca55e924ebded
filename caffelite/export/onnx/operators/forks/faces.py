"""Layers of face recognition: Flip, MarginInnerProduct and LargeMarginInnerProduct."""

import math
from collections.abc import Sequence

import numpy as np

from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.export.onnx.operators.arrangement import reversed_along
from caffelite.layers.forks.faces.flip import Flip
from caffelite.layers.forks.faces.margin_inner_product import MarginInnerProduct
from caffelite.net.graph import Node


@converts("Flip")
def _flip(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    assert isinstance(node.layer, Flip)
    axes = len(node.bottoms[0].shape)
    return [reversed_along(g, x[0], [axis % axes for axis in node.layer.axes])]


@converts("MarginInnerProduct", "LargeMarginInnerProduct")
def _margin_inner_product(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Gemm of rows; those of MarginInnerProduct's weights are of length one."""
    layer = node.layer
    settings = (
        layer.param.margin_inner_product_param
        if layer.param.type == "MarginInnerProduct"
        else layer.param.largemargin_inner_product_param
    )
    if settings.type:
        layer.error(
            "it takes a margin off the score of each label, as training does; without labels it is type: SINGLE",
            "type",
        )
    if len(node.tops) > 1:
        layer.error("its second top counts the passes, which ONNX cannot", "top", 1)
    weights = layer.blobs[0].data
    if isinstance(layer, MarginInnerProduct):
        norms = np.linalg.norm(weights, axis=1, keepdims=True)
        weights = weights / np.where(norms > 0, norms, 1)
    shape, after = g.shape(node.bottoms[0]), g.shape(node.tops[0])
    axis = layer.axis(settings.axis, node.bottoms[0].shape)
    rows = x[0]
    if len(shape) != 2 or axis != 1:
        rows = g.reshape(rows, [ANY if ANY in shape[:axis] else math.prod(shape[:axis]), weights.shape[1]])
    y = g.add("Gemm", rows, g.constant(weights, name="weight"), transB=1)
    return [y if axis == 1 else g.reshape(y, after)]
