"""Layers of optical flow: Mean, Accum, ChannelNorm, NegReLU, Correlation and Correlation1D."""

from collections.abc import Sequence

import numpy as np

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.export.onnx.operators.activation import affine
from caffelite.export.onnx.operators.forks.segmentation import aligned
from caffelite.layers.forks.flow.accum import Accum
from caffelite.layers.forks.flow.correlation import Correlation
from caffelite.layers.forks.flow.mean import ADD, Mean
from caffelite.net.graph import Node


@converts("Mean")
def _mean(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Mul by the scales and Add the mean, whose channels are repeated."""
    layer = node.layer
    assert isinstance(layer, Mean)
    p = layer.settings
    sign = 1 if p.operation == ADD else -1
    tops = []
    for bottom, version in zip(x, node.bottoms, strict=True):
        times = version.shape[1] // len(layer.mean) if len(layer.mean) > 1 else 1
        mean = np.tile(layer.mean, (times, 1, 1)) * (sign * p.mean_scale * p.output_scale)
        scaled = affine(g, bottom, p.input_scale * p.output_scale, 0)
        tops.append(g.add("Add", scaled, g.constant(mean, name="mean")))
    return tops


@converts("Accum")
def _accum(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Resize with aligned corners, and Concat."""
    assert isinstance(node.layer, Accum)
    parts = []
    for bottom, version in zip(x[: node.layer.joined], node.bottoms, strict=False):
        shape = g.shape(version)
        after = [*shape[:2], *node.tops[0].shape[2:]]
        parts.append(bottom if shape == after else aligned(g, bottom, shape, after))
    return parts if len(parts) == 1 else [g.add("Concat", *parts, axis=1)]


@converts("ChannelNorm")
def _channel_norm(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    return [g.reduce("ReduceL2", x[0], [1])]


@converts("NegReLU")
def _negative_relu(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Min with 0; with a slope, LeakyRelu of what is turned round."""
    slope = node.layer.param.relu_param.negative_slope
    if not slope:
        return [g.add("Min", x[0], g.constant(0))]
    return [g.add("Neg", g.add("LeakyRelu", g.add("Neg", x[0]), alpha=slope))]


@converts("Correlation", "Correlation1D")
def _correlation(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """For each displacement, the mean over channels of a product with a shifted part of the other map."""
    layer = node.layer
    assert isinstance(layer, Correlation)
    p, size = layer.settings, node.bottoms[0].shape[2:]
    down, across = layer.displacements()
    begin = [start - pad for pad, start in zip(*layer.margins(), strict=True)]
    extent = [(n - 1) * p.stride_1 + p.kernel_size for n in node.tops[0].shape[2:]]
    # A neighbourhood of one element needs no mean: only those are read that one begins at.
    steps = [p.stride_1] * 2 if p.kernel_size == 1 and p.stride_1 > 1 else None
    one = _window(g, x[0], size, begin, extent, steps)
    reach = [moves[-1] - moves[0] for moves in (down, across)]
    around = _window(
        g, x[1], size, [begin[0] + down[0], begin[1] + across[0]], [extent[0] + reach[0], extent[1] + reach[1]]
    )
    maps = []
    for v in down:
        for u in across:
            starts = [v - down[0], u - across[0]]
            ends = [start + n for start, n in zip(starts, extent, strict=True)]
            two = g.slice(around, [2, 3], starts, ends, steps) if any(reach) or steps else around
            alike = g.add("Abs", g.add("Sub", one, two)) if p.correlation_type else g.add("Mul", one, two)
            maps.append(g.reduce("ReduceMean", alike, [1]))
    y = maps[0] if len(maps) == 1 else g.add("Concat", *maps, axis=1)
    if p.kernel_size == 1:
        return [y]
    return [g.add("AveragePool", y, kernel_shape=[p.kernel_size] * 2, strides=[p.stride_1] * 2)]


def _window(
    g: OnnxGraph,
    x: str,
    size: Sequence[int],
    begin: Sequence[int],
    extent: Sequence[int],
    steps: Sequence[int] | None = None,
) -> str:
    """Return a part of maps, with zeros where it is beyond them."""
    before = [max(-first, 0) for first in begin]
    after = [max(first + n - m, 0) for first, n, m in zip(begin, extent, size, strict=True)]
    if any(before) or any(after):
        x = g.pad(x, [0, 0, *before], [0, 0, *after])
    starts = [first + more for first, more in zip(begin, before, strict=True)]
    whole = [m + b + a for m, b, a in zip(size, before, after, strict=True)]
    if whole == list(extent) and not steps:
        return x
    return g.slice(x, [2, 3], starts, [start + n for start, n in zip(starts, extent, strict=True)], steps)
