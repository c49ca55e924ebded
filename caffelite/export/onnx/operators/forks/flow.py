"""Layers of optical flow: Mean, Accum, ChannelNorm, NegReLU, Correlation and Correlation1D."""

from collections.abc import Sequence
from itertools import product

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
    """The means over channels for all displacements, then AveragePool over neighbourhoods."""
    layer = node.layer
    assert isinstance(layer, Correlation)
    p, size = layer.settings, node.bottoms[0].shape[2:]
    moves = layer.displacements()
    begin = [start - pad for pad, start in zip(*layer.margins(), strict=True)]
    extent = [(n - 1) * p.stride_1 + p.kernel_size for n in node.tops[0].shape[2:]]
    # A neighbourhood of one element needs no mean: only those are read that one begins at.
    step = p.stride_1 if p.kernel_size == 1 else 1
    one = _window(g, x[0], size, begin, extent, step)
    first = [at + along[0] for at, along in zip(begin, moves, strict=True)]
    reach = [n + along[-1] - along[0] for n, along in zip(extent, moves, strict=True)]
    around = _window(g, x[1], size, first, reach)
    shifts = [[move - along[0] for move in along] for along in moves]
    if p.correlation_type:
        y = _absolute(g, one, around, shifts, extent, step)
    else:
        shape = [-(-n // step) for n in extent]
        images, channels = g.shape(node.bottoms[0])[:2]
        scaled = g.add("Mul", one, g.constant(1 / channels))
        y = _products(g, scaled, around, shifts, [images, *shape], reach[1], step)
    if p.kernel_size == 1:
        return [y]
    return [g.add("AveragePool", y, kernel_shape=[p.kernel_size] * 2, strides=[p.stride_1] * 2)]


def _absolute(
    g: OnnxGraph, one: str, around: str, shifts: Sequence[Sequence[int]], extent: Sequence[int], step: int
) -> str:
    """For each displacement, the mean of ``|a - b|``."""
    maps = []
    for v, u in product(*shifts):
        two = g.slice(around, [2, 3], [v, u], [v + extent[0], u + extent[1]], _steps(step, 2))
        maps.append(g.reduce("ReduceMean", g.add("Abs", g.add("Sub", one, two)), [1]))
    return g.add("Concat", *maps, axis=1)


def _products(
    g: OnnxGraph, one: str, around: str, shifts: Sequence[Sequence[int]], shape: Sequence[int], pitch: int, step: int
) -> str:
    """For each vertical displacement, the products of rows by MatMul, of which the diagonals are taken.

    Most of the products are of no use, and still that takes less time, and far fewer operators, than a mean of products
    for each displacement.

    Parameters
    ----------
    shifts : sequence of sequence of int
        The displacements, from 0 on.
    shape : sequence of int
        Images, rows and columns of ``one``.
    pitch : int
        Columns of ``around``.
    step : int
        Elements of ``around`` from one element of ``one`` to the next.
    """
    (down, across), (images, height, width) = shifts, shape
    rows = g.add("Transpose", one, perm=[0, 2, 3, 1])
    columns = g.add("Transpose", around, perm=[0, 2, 1, 3])
    at = np.arange(width)
    diagonals = g.constant((at * (pitch + step) + np.array(across)[:, None]).reshape(-1), np.int64, "diagonals")
    parts = []
    for v in down:
        seen = g.slice(columns, [1], [v], [v + (height - 1) * step + 1], _steps(step, 1))
        all_products = g.reshape(g.add("MatMul", rows, seen), [images, height, width * pitch])
        parts.append(g.add("Gather", all_products, diagonals, axis=2))
    joined = parts[0] if len(parts) == 1 else g.add("Concat", *parts, axis=2)
    maps = g.reshape(joined, [images, height, len(down) * len(across), width])
    return g.add("Transpose", maps, perm=[0, 2, 1, 3])


def _steps(step: int, axes: int) -> list[int] | None:
    """Return the steps of a slice along so many axes; None where it leaves nothing out."""
    return [step] * axes if step > 1 else None


def _window(
    g: OnnxGraph,
    x: str,
    size: Sequence[int],
    begin: Sequence[int],
    extent: Sequence[int],
    step: int = 1,
) -> str:
    """Return a part of maps, or every so many elements of it, with zeros where it is beyond them."""
    before = [max(-first, 0) for first in begin]
    after = [max(first + n - m, 0) for first, n, m in zip(begin, extent, size, strict=True)]
    if any(before) or any(after):
        x = g.pad(x, [0, 0, *before], [0, 0, *after])
    starts = [first + more for first, more in zip(begin, before, strict=True)]
    whole = [m + b + a for m, b, a in zip(size, before, after, strict=True)]
    if whole == list(extent) and step == 1:
        return x
    return g.slice(x, [2, 3], starts, [start + n for start, n in zip(starts, extent, strict=True)], _steps(step, 2))
