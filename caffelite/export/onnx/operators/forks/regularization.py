"""Noise while training, of which nothing is left."""

from collections.abc import Sequence

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.layers.forks.regularization.noise import Noise
from caffelite.net.graph import Node


@converts("SpatialDropout")
def _spatial_dropout(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    return x


@converts("Noise")
def _noise(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Nothing; zeros where it is OpenCL Caffe's, as there."""
    assert isinstance(node.layer, Noise)
    return [g.add("Mul", x[0], g.constant(0))] if node.layer.multiplies else x
