"""Layers of small nets: ShuffleChannel, Axpy."""

from collections.abc import Sequence

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.net.graph import Node


@converts("ShuffleChannel")
def _shuffle_channel(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Reshape, Transpose and Reshape: groups × channels of a group, the other way round."""
    group, shape = node.layer.param.shuffle_channel_param.group, g.shape(node.bottoms[0])
    images, channels, *spatial = shape
    if group in (1, channels):
        return x
    groups = g.reshape(x[0], [images, group, channels // group, *spatial])
    turned = g.add("Transpose", groups, perm=[0, 2, 1, *range(3, len(shape) + 1)])
    return [g.reshape(turned, shape)]


@converts("Axpy")
def _axpy(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Mul and Add; the factors get as many axes as the maps have."""
    factors, shape = g.shape(node.bottoms[0]), g.shape(node.bottoms[1])
    per_map = [*shape[:2], *[1] * (len(shape) - 2)]
    a = x[0] if factors == per_map else g.reshape(x[0], per_map)
    return [g.add("Add", g.add("Mul", a, x[1]), x[2])]
