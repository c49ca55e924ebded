"""Convolution and pooling of other kinds: over volumes, local, deformable."""

from collections.abc import Sequence
from functools import reduce

import numpy as np

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts, mappings
from caffelite.layers.convolution import Convolution
from caffelite.layers.forks.filters.local import Local
from caffelite.layers.forks.filters.pooling_3d import Volumes
from caffelite.net.graph import Node

_MAX = 0


@converts("Convolution3D", "NdConvolution")
def _convolution(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Conv; NdConvolution leaves out the spatial axes that come out as 1."""
    assert isinstance(node.layer, Convolution)
    tops = mappings()["Convolution"].convert(g, node, x)
    if node.layer.param.type == "Convolution3D":
        return tops
    whole = Convolution.shapes(node.layer, *(version.shape for version in node.bottoms))[0]
    ones = [axis for axis, size in enumerate(whole) if axis > 1 and size == 1]
    return [g.squeeze(top, ones) for top in tops] if ones else tops


@converts("Pooling3D", "NdPooling")
def _pooling(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """MaxPool or AveragePool over volumes, by the rules of :mod:`~caffelite.export.onnx.operators.pooling`."""
    layer = node.layer
    assert isinstance(layer, Volumes)
    axes = layer.windows(node.bottoms[0].shape)
    windows = [w[axis:10:2] for w, axis in axes]
    if any((out - 1) * stride - pad >= size for size, _, stride, pad, out in windows):
        layer.error("its last window lies beyond the map, of which ONNX makes nothing")
    biggest = layer.pool == _MAX
    if all(size == kernel and out == 1 and not pad for size, kernel, _, pad, out in windows):
        return [g.add("GlobalMaxPool" if biggest else "GlobalAveragePool", x[0])]
    y = g.add(
        "MaxPool" if biggest else "AveragePool",
        x[0],
        kernel_shape=[kernel for _, kernel, *_ in windows],
        strides=[stride for _, _, stride, *_ in windows],
        pads=[pad for *_, pad, _ in windows] + [max((n - 1) * s + k - q - m, 0) for m, k, s, q, n in windows],
    )
    if biggest:
        return [y]
    shares = [w._replace(counts_padding=False).divisors(axis) / w.divisors(axis) for w, axis in axes]
    counts = reduce(np.multiply.outer, shares)
    return [y if (counts == 1).all() else g.add("Mul", y, g.constant(counts, name="counts"))]


@converts("Local")
def _local(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Gather what each window sees, and MatMul with the filters of its place."""
    layer = node.layer
    assert isinstance(layer, Local)
    s, images = layer.sizes(node.bottoms[0].shape), g.shape(node.bottoms[0])[0]
    padded = g.pad(x[0], [0, 0, s.pad, s.pad], [0, 0, s.pad, s.pad]) if s.pad else x[0]
    width = s.width + 2 * s.pad
    planes = g.reshape(padded, [images, s.channels, (s.height + 2 * s.pad) * width])
    tap, out = np.arange(s.size), [np.arange(n) * s.stride for n in (s.out_h, s.out_w)]
    rows = tap[:, None, None, None] + out[0][:, None]
    columns = tap[:, None, None] + out[1]
    places = (rows * width + columns).reshape(s.size**2, -1)
    seen = g.add("Gather", planes, g.constant(places, np.int64, "places"), axis=2)
    taps = g.reshape(seen, [images, s.channels * s.size**2, s.out_h * s.out_w])
    filters = layer.blobs[0].data.reshape(s.outputs, -1, s.out_h * s.out_w).transpose(2, 1, 0)
    sums = g.add("MatMul", g.add("Transpose", taps, perm=[2, 0, 1]), g.constant(filters, name="weight"))
    y = g.reshape(g.add("Transpose", sums, perm=[1, 2, 0]), g.shape(node.tops[0]))
    if len(layer.blobs) == 1:
        return [y]
    return [g.add("Add", y, g.constant(layer.blobs[1].data.reshape(s.outputs, s.out_h, s.out_w), name="bias"))]
