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

#: The largest maps for GridSample, whose places, from -1 to 1, are rounded: of 1024 columns, to a part in 10 000.
_GRID = 512


@converts("FlowWarp")
def _flow_warp(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """GridSample where the opset has it (16), else four values by GatherElements; then what comes from outside."""
    shape, (h, w) = g.shape(node.bottoms[0]), node.bottoms[0].shape[2:]
    at = np.arange(w), np.arange(h)[:, None]
    # Where a flow ends is known better from the flow itself than from its sum with a place, which is rounded.
    flows = [
        _inside(g, flow, -place, size - place)
        for flow, place, size in zip(g.split(x[1], 1, [1, 1]), at, (w, h), strict=True)
    ]
    known = g.add("And", flows[0][0], flows[1][0])
    if g.opset >= 16 and 1 < min(h, w) and max(h, w) <= _GRID:
        grid = [
            g.add("Mul", g.add("Add", flow, g.constant(place - (size - 1) / 2)), g.constant(2 / (size - 1)))
            for (_, flow), place, size in zip(flows, at, (w, h), strict=True)
        ]
        both = g.add("Transpose", g.add("Concat", *grid, axis=1), perm=[0, 2, 3, 1])
        mode = "linear" if g.opset >= 20 else "bilinear"
        y = g.add("GridSample", x[0], both, mode=mode, padding_mode="border", align_corners=1)
    else:
        flat = [shape[0], 1, h * w]
        across, down = (
            [g.reshape(one, flat) for one in around(g, flow, place, size)]
            for (_, flow), place, size in zip(flows, at, (w, h), strict=True)
        )
        y = g.reshape(_between(g, g.reshape(x[0], [*shape[:2], h * w]), down, across, w, [1, shape[1], 1]), shape)
    fill = np.nan if node.layer.param.flow_warp_param.fill_value == NOT_A_NUMBER else 0
    return [g.add("Where", known, y, g.constant(fill))]


@converts("DeformableConvolution")
def _deformable_convolution(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """DeformConv where the opset has it (19), else a Conv of one tap over what each tap sees, by GatherElements.

    DeformConv lets what lies at the edge of a map fade to 0 over a pixel, which the layer does not: places are brought
    into the map first, and a mask leaves out those that were not in it.
    """
    layer, images = node.layer, g.shape(node.bottoms[0])[0]
    assert isinstance(layer, DeformableConvolution)
    _, channels, (size, kernel, stride, pad, dilation) = layer.sizes(node.bottoms[0].shape)
    groups, taps, out = layer.settings.deformable_group, count(kernel), node.tops[0].shape[2:]
    outputs, group = layer.counts(channels)
    start = g.constant(_taps(kernel, stride, pad, dilation, out), name="places")
    places = g.add("Add", g.reshape(x[1], [images, groups, taps, 2, count(out)]), start)
    ends = np.array(size).reshape(2, 1)
    inside, places = _inside(g, places, np.zeros(()), ends)
    # Row and column.
    inside = g.reduce("ReduceMin", g.add("Cast", inside, to=TensorProto.FLOAT), [3])
    bias = [g.constant(blob.data, name="bias") for blob in layer.blobs[1:]]
    if g.opset >= 19:
        near = g.add("Min", places, g.constant(ends - 1))
        offsets = g.reshape(g.add("Sub", near, start), [images, 2 * groups * taps, *out])
        mask = g.reshape(inside, [images, groups * taps, *out])
        geometry = {"kernel_shape": kernel, "strides": stride, "pads": [*pad, *pad], "dilations": dilation}
        weights = g.constant(layer.blobs[0].data, name="weight")
        inputs = (x[0], weights, offsets, bias[0] if bias else "", mask)
        return [g.add("DeformConv", *inputs, group=group, offset_group=groups, **geometry)]
    each, number = channels // groups, taps * count(out)
    down, across = (
        around(g, g.reshape(one, [images, groups, 1, number]), np.zeros(()), n)
        for one, n in zip(g.split(places, 3, [1, 1]), size, strict=True)
    )
    planes = g.reshape(x[0], [images, groups, each, count(size)])
    seen = g.add(
        "Where",
        g.add("Cast", g.reshape(inside, [images, groups, 1, number]), to=TensorProto.BOOL),
        _between(g, planes, down, across, size[1], [1, 1, each, 1]),
        g.constant(0),
    )
    columns = g.reshape(seen, [images, channels * taps, *out])
    weights = g.constant(layer.blobs[0].data.reshape(outputs, -1, 1, 1), name="weight")
    return [g.add("Conv", columns, weights, *bias, group=group, kernel_shape=[1, 1])]


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


def _inside(g: OnnxGraph, places: str, first: np.ndarray, end: np.ndarray) -> tuple[str, str]:
    """Return which places are from ``first`` on and before ``end``, and the places, 0 instead of those that are not.

    A place that is NaN is not.
    """
    last = np.nextafter(end.astype(np.float32), np.float32(-np.inf))
    near = g.add("Max", g.add("Min", places, g.constant(last, name="last")), g.constant(first, name="first"))
    inside = g.add("Equal", places, near)
    return inside, g.add("Where", inside, places, g.constant(0))


def around(g: OnnxGraph, place: str, start: np.ndarray, size: int) -> tuple[str, str, str]:
    """Return the two elements that ``start + place`` lies between, int64, and how far it is from the first one."""
    before = g.add("Floor", place)
    behind = g.add("Min", g.add("Add", before, g.constant(1)), g.constant(size - 1 - start))
    one, two = (g.add("Cast", element, to=TensorProto.INT64) for element in (before, behind))
    if start.any():
        one, two = (g.add("Add", element, g.constant(start, np.int64)) for element in (one, two))
    return one, two, g.add("Sub", place, before)


def _between(
    g: OnnxGraph, planes: str, down: Sequence[str], across: Sequence[str], width: int, channels: Sequence[int]
) -> str:
    """Return what lies between four values of planes, each of which has as many rows as ``channels`` spreads it over.

    Rows (``down``) and columns (``across``) are what :func:`around` returns.
    """
    (top, bottom, from_top), (left, right, from_left) = down, across

    def row(first: str) -> str:
        start = g.add("Mul", first, g.integers(width))
        places = (g.add("Expand", g.add("Add", start, column), g.integers(channels)) for column in (left, right))
        one, two = (g.add("GatherElements", planes, place, axis=len(channels) - 1) for place in places)
        return mixed(g, one, two, from_left)

    one, two = row(top), row(bottom)
    return mixed(g, one, two, from_top)


def mixed(g: OnnxGraph, one: str, two: str, share: str) -> str:
    """Return ``one + share * (two - one)``."""
    return g.add("Add", one, g.add("Mul", share, g.add("Sub", two, one)))
