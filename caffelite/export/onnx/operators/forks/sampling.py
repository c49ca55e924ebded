"""Layers that read maps between their values, at places that a bottom gives: FlowWarp and DeformableConvolution."""

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.layers.forks.detection.deformable_convolution import DeformableConvolution
from caffelite.layers.forks.flow.flow_warp import NOT_A_NUMBER
from caffelite.net.graph import Node
from caffelite.words import Shape, count


@converts("FlowWarp")
def _flow_warp(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """GridSample where the opset has it (16), else four values by GatherElements; then what comes from outside."""
    shape, size = g.shape(node.bottoms[0]), node.bottoms[0].shape[2:]
    h, w = size
    places = g.add("Add", x[1], g.constant(np.stack(np.meshgrid(np.arange(w), np.arange(h))), name="places"))
    inside, places = _inside(g, places, np.array([w, h]).reshape(2, 1, 1))
    if g.opset >= 16 and min(size) > 1:
        scale = 2 / (np.array([w, h]) - 1)
        grid = g.add("Mul", places, g.constant(scale.reshape(2, 1, 1), name="scale"))
        grid = g.add("Transpose", g.add("Sub", grid, g.constant(1)), perm=[0, 2, 3, 1])
        mode = "linear" if g.opset >= 20 else "bilinear"
        y = g.add("GridSample", x[0], grid, mode=mode, padding_mode="border", align_corners=1)
    else:
        planes = g.reshape(x[0], [*shape[:2], h * w])
        across, down = g.split(g.reshape(places, [shape[0], 2, h * w]), 1, [1, 1])
        y = g.reshape(_between(g, planes, down, across, size, [1, shape[1], 1]), shape)
    fill = np.nan if node.layer.param.flow_warp_param.fill_value == NOT_A_NUMBER else 0
    return [g.add("Where", _all(g, inside, 1), y, g.constant(fill))]


@converts("DeformableConvolution")
def _deformable_convolution(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """What each tap sees, by GatherElements, as channels of a Conv of one tap.

    DeformConv (opset 19) takes zeros for the neighbours of what lies at the edge of a map, which the layer does not.
    """
    layer, images = node.layer, g.shape(node.bottoms[0])[0]
    assert isinstance(layer, DeformableConvolution)
    _, channels, (size, kernel, stride, pad, dilation) = layer.sizes(node.bottoms[0].shape)
    groups, taps, out = layer.settings.deformable_group, count(kernel), node.tops[0].shape[2:]
    each, number = channels // groups, taps * count(out)
    offsets = g.reshape(x[1], [images, groups, taps, 2, count(out)])
    places = g.add("Add", offsets, g.constant(_taps(kernel, stride, pad, dilation, out), name="places"))
    inside, places = _inside(g, places, np.array(size).reshape(2, 1))
    down, across = (g.reshape(one, [images, groups, 1, number]) for one in g.split(places, 3, [1, 1]))
    planes = g.reshape(x[0], [images, groups, each, count(size)])
    seen = _between(g, planes, down, across, size, [1, 1, each, 1])
    known = g.reshape(_all(g, inside, 3), [images, groups, 1, number])
    columns = g.reshape(g.add("Where", known, seen, g.constant(0)), [images, channels * taps, *out])
    outputs, group = layer.counts(channels)
    weights = layer.blobs[0].data.reshape(outputs, -1, 1, 1)
    bias = [g.constant(blob.data, name="bias") for blob in layer.blobs[1:]]
    return [g.add("Conv", columns, g.constant(weights, name="weight"), *bias, group=group, kernel_shape=[1, 1])]


def _taps(kernel: Shape, stride: Shape, pad: Shape, dilation: Shape, out: Shape) -> np.ndarray:
    """Return the row and the column of each tap at each place, ``[taps][2][places]``, where nothing is moved."""
    along = [
        np.arange(k)[:, None] * d + np.arange(n) * s - p
        for k, s, p, d, n in zip(kernel, stride, pad, dilation, out, strict=True)
    ]
    whole = (*kernel, *out)
    rows = np.broadcast_to(along[0][:, None, :, None], whole)
    columns = np.broadcast_to(along[1][:, None, :], whole)
    return np.stack([rows.reshape(count(kernel), -1), columns.reshape(count(kernel), -1)], 1)


def _inside(g: OnnxGraph, places: str, size: np.ndarray) -> tuple[str, str]:
    """Return where places (rows or columns) are inside maps of a size, and the places, 0 where they are not.

    A place that is NaN is not.
    """
    last = np.nextafter(size.astype(np.float32), np.float32(0))
    near = g.add("Max", g.add("Min", places, g.constant(last, name="last")), g.constant(0))
    inside = g.add("Equal", places, near)
    return inside, g.add("Where", inside, places, g.constant(0))


def _all(g: OnnxGraph, inside: str, axis: int) -> str:
    """Return whether row and column, along an axis, are both inside."""
    both = g.reduce("ReduceMin", g.add("Cast", inside, to=TensorProto.FLOAT), [axis])
    return g.add("Cast", both, to=TensorProto.BOOL)


def _between(g: OnnxGraph, planes: str, down: str, across: str, size: Shape, channels: Sequence[int]) -> str:
    """Return what lies at places between four values of planes, of as many channels as ``channels`` spreads it over."""
    (top, *rows), (left, *columns) = (around(g, place, n) for place, n in zip((down, across), size, strict=True))

    def row(first: str) -> str:
        start = g.add("Mul", first, g.integers(size[1]))
        places = [g.add("Expand", g.add("Add", start, column), g.integers(channels, "channels")) for column in columns]
        one, two = (g.add("GatherElements", planes, place, axis=len(channels) - 1) for place in places)
        return mixed(g, one, two, g.add("Sub", across, left))

    one, two = map(row, rows)
    return mixed(g, one, two, g.add("Sub", down, top))


def around(g: OnnxGraph, place: str, size: int) -> tuple[str, str, str]:
    """Return the place before, and the whole numbers of the two that this one is between."""
    first = g.add("Floor", place)
    last = g.add("Min", g.add("Add", first, g.constant(1)), g.constant(size - 1))
    return first, g.add("Cast", first, to=TensorProto.INT64), g.add("Cast", last, to=TensorProto.INT64)


def mixed(g: OnnxGraph, one: str, two: str, share: str) -> str:
    """Return ``one + share * (two - one)``."""
    return g.add("Add", one, g.add("Mul", share, g.add("Sub", two, one)))
