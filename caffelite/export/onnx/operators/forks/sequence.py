"""Layers of sequences: Lstm, ContinuationIndicator, Transpose, Reverse."""

from collections.abc import Sequence

import numpy as np

from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.net.graph import Node

_BEFORE_THE_FIRST = -(2**63)


@converts("Transpose")
def _transpose(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    order = list(node.layer.param.transpose_param.dim)
    return x if order == sorted(order) else [g.add("Transpose", x[0], perm=order)]


@converts("Reverse")
def _reverse(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    axis = node.layer.axis(node.layer.param.reverse_param.axis, node.bottoms[0].shape)
    return [reversed_along(g, x[0], [axis])]


def reversed_along(g: OnnxGraph, x: str, axes: Sequence[int]) -> str:
    """Turn the order along some axes round."""
    back = [-1] * len(axes)
    return g.slice(x, axes, back, [_BEFORE_THE_FIRST] * len(axes), back) if axes else x


@converts("ContinuationIndicator")
def _continuation_indicator(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    shape = g.shape(node.tops[0])
    if ANY in shape:
        node.layer.error("it has a number for each stream of the batch, whose size must be known: give it with --batch")
    indicator = np.ones(shape)
    indicator[0] = 0
    return [g.constant(indicator)]
