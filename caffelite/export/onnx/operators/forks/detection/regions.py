"""Pooling of regions of interest.

Values that lie between four of a map are taken by Gather from a table with a row for each place, of all channels that
are read there.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from onnx import TensorProto

from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.export.onnx.operators.forks.sampling import around, mixed
from caffelite.layers.forks.detection.deformable_psroi_pooling import DeformablePSROIPooling
from caffelite.layers.forks.detection.psroi_align import PSROIAlign
from caffelite.layers.forks.detection.psroi_pooling import PSROIPooling
from caffelite.layers.forks.detection.roi_align import ROIAlign
from caffelite.layers.forks.detection.roi_pooling import ROIPooling
from caffelite.net.graph import Node
from caffelite.words import Shape

_FLOAT, _INT64, _DOUBLE, _BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.DOUBLE, TensorProto.BOOL
#: Where the ends of a region along an axis (0: rows) are in it.
_ENDS = ((2, 4), (1, 3))
#: The axes of bins and points: regions, classes of shifts, then bins and points in them for rows and for columns.
_AXES = 6


class Places(NamedTuple):
    """Places along an axis of a map, and which of them are inside it; those that are not are 0."""

    place: str
    inside: str


@converts("ROIPooling")
def _roi_pooling(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """MaxRoiPool, whose bins are Caffe's."""
    layer, regions = node.layer, _regions(g, node, x)
    assert isinstance(layer, ROIPooling)
    scale = layer.scale
    if layer.pad:
        (top, bottom), (left, right) = (_padded(g, regions, axis, layer.pad, scale) for axis in (0, 1))
        regions, scale = g.add("Concat", _column(g, regions, 0), left, top, right, bottom, axis=1), 1.0
    return [g.add("MaxRoiPool", x[0], regions, pooled_shape=layer.pooled, spatial_scale=scale)]


@converts("ROIAlign")
def _roi_align(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Corners of bins.

    RoiAlign takes the middle of bins, and reads up to a whole element beyond the edge of a map, where the layer has 0.
    """
    layer, regions, size = node.layer, _regions(g, node, x), node.bottoms[0].shape[2:]
    assert isinstance(layer, ROIAlign)
    along = []
    for axis, corners in enumerate(layer.pooled):
        low, high = (g.add("Sub", end, g.constant(0.5)) for end in _padded(g, regions, axis, layer.pad, layer.scale))
        extent = g.add("Sub", high, low)
        step = g.add("Div", extent, g.constant(corners - 1))
        place = g.add("Add", low, g.add("Mul", g.constant([np.arange(corners)], name="corners"), step))
        places = _inside(g, place, size[axis])
        has_size = g.add("Greater", extent, g.constant(0))
        along.append(Places(places.place, g.add("And", places.inside, has_size)))
    rows, columns = (Places(*(g.unsqueeze(one, [2 - axis]) for one in along[axis])) for axis in (0, 1))
    table = g.reshape(g.add("Transpose", x[0], perm=[0, 2, 3, 1]), [ANY, node.bottoms[0].shape[1]])
    start = g.add("Mul", g.unsqueeze(_image(g, regions), [2]), g.integers(math.prod(size)))
    values, inside = _between(g, table, start, rows, columns, size, 3)
    y = g.add("Where", g.unsqueeze(inside, [3]), values, g.constant(0))
    return [g.add("Transpose", y, perm=[0, 3, 1, 2])]


@converts("PSROIPooling")
def _psroi_pooling(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Sums of bins as differences of running sums, which are of float64; divided by the size of the bins."""
    layer, regions, size = node.layer, _regions(g, node, x), node.bottoms[0].shape[2:]
    assert isinstance(layer, PSROIPooling)
    group, (images, channels) = layer.pooled[0], g.shape(node.bottoms[0])[:2]
    ends = []
    for axis in (0, 1):
        first, length = _bins(g, regions, axis, layer.scale, group, rounds=True)
        edges = [_edges(g, first, length, numbers) for numbers in (np.arange(group), np.arange(1, group + 1))]
        low, high = (
            _clipped(g, g.add(how, edge), size[axis]) for how, edge in zip(("Floor", "Ceil"), edges, strict=True)
        )
        ends.append([g.unsqueeze(g.add("Cast", one, to=_INT64), [2 - axis]) for one in (low, high)])
    (top, bottom), (left, right) = ends
    sums = g.add("Cast", x[0], to=_DOUBLE)
    for axis in (2, 3):
        sums = g.add("CumSum", sums, g.integers(axis, "axis"))
    zero = g.constant(0, np.float64, "fill")
    sums = g.add("Pad", sums, g.integers([0, 0, 1, 1, 0, 0, 0, 0], "pads"), zero)
    wide = (size[0] + 1, size[1] + 1)
    table = _table(g, sums, (images, 1, channels // group**2, group, wide))
    start = g.squeeze(_starts(g, regions, 1, group, math.prod(wide)), [1, 3, 5])
    # Up to the bottom less up to the top, each between left and right.
    below, above = (
        g.add("Sub", *(_gathered(g, table, start, row, column, wide[1]) for column in (right, left)))
        for row in (bottom, top)
    )
    total = g.add("Sub", below, above)
    area = g.add("Mul", g.add("Sub", bottom, top), g.add("Sub", right, left))
    divisor = g.unsqueeze(g.add("Cast", g.add("Max", g.add("Cast", area, to=_FLOAT), g.constant(1)), to=_DOUBLE), [3])
    mean = g.add("Cast", g.add("Div", total, divisor), to=_FLOAT)
    return [g.add("Transpose", mean, perm=[0, 3, 1, 2])]


@converts("PSROIAlign")
def _psroi_align(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Points of bins; those that lie outside count as 0."""
    layer, regions, size = node.layer, _regions(g, node, x), node.bottoms[0].shape[2:]
    assert isinstance(layer, PSROIAlign)
    group, points, along = layer.pooled[0], layer.points, []
    for axis in (0, 1):
        first, length = _bins(g, regions, axis, layer.scale, group)
        low, high = (
            g.unsqueeze(_clipped(g, _edges(g, first, length, numbers), size[axis] - 1), [2])
            for numbers in (np.arange(group), np.arange(1, group + 1))
        )
        step = g.unsqueeze(g.add("Div", length, g.constant(points + 1)), [2])
        place = g.add("Add", low, g.add("Mul", g.constant(np.arange(1, points + 1), name="points"), step))
        inside = g.add("Less", place, high)
        place = g.add("Where", inside, place, g.constant(0))
        # Rows get the axes of columns, and those the axes of rows.
        axes = [1, 4, 5] if axis == 0 else [1, 2, 3]
        along.append(Places(g.unsqueeze(place, axes), g.unsqueeze(inside, axes)))
    values, inside = _between_groups(g, node, x[0], regions, along, 1)
    values = g.add("Where", g.unsqueeze(inside, [_AXES]), values, g.constant(0))
    return [_outputs(g, node, g.reduce("ReduceMean", values, [3, 5], keepdims=False))]


@converts("DeformablePSROIPooling")
def _deformable_psroi_pooling(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Points of bins that are shifted; those that lie outside do not count."""
    layer, regions, size = node.layer, _regions(g, node, x), node.bottoms[0].shape[2:]
    assert isinstance(layer, DeformablePSROIPooling)
    p, group, along = layer.settings, layer.pooled[0], []
    classes = 1 if p.no_trans else node.bottoms[2].shape[1] // 2
    shifts = [] if p.no_trans else _shifts(g, layer, x[2], classes)
    for axis in (0, 1):
        first, extent = _bins(g, regions, axis, layer.scale, 1, rounds=True, offset=0.5)
        length = g.add("Div", extent, g.constant(group))
        place = g.unsqueeze(_edges(g, first, length, np.arange(group)), [1, 3, 4, 5] if axis == 0 else [1, 2, 3, 5])
        first, extent, length = (g.unsqueeze(one, [2, 3, 4, 5]) for one in (first, extent, length))
        if shifts:
            place = g.add("Add", place, g.add("Mul", shifts[axis], extent))
        numbers = np.arange(p.sample_per_part).reshape([-1, 1, 1] if axis == 0 else [-1])
        step = g.add("Div", length, g.constant(p.sample_per_part))
        place = g.add("Add", place, g.add("Mul", g.constant(numbers, name="points"), step))
        along.append(_inside(g, place, size[axis]))
    values, inside = _between_groups(g, node, x[0], regions, along, classes)
    weight = g.unsqueeze(g.add("Cast", inside, to=_FLOAT), [_AXES])
    total = g.reduce("ReduceSum", g.add("Mul", values, weight), [3, 5], keepdims=False)
    number = g.reduce("ReduceSum", weight, [3, 5], keepdims=False)
    return [_outputs(g, node, g.add("Div", total, g.add("Max", number, g.constant(1))))]


def _shifts(g: OnnxGraph, layer: DeformablePSROIPooling, x: str, classes: int) -> list[str]:
    """Return the shifts of rows and columns of bins, in sizes of the region, ``regions × classes × G × 1 × G × 1``."""
    p, group = layer.settings, layer.pooled[0]
    parts = np.floor(np.arange(group, dtype=np.float32) / np.float32(group) * np.float32(p.part_size))
    numbers = g.integers(parts.astype(int), "parts")
    shifts = g.reshape(x, [ANY, classes, 2, p.part_size, p.part_size])
    shifts = g.add("Gather", g.add("Gather", shifts, numbers, axis=3), numbers, axis=4)
    shifts = g.add("Mul", shifts, g.constant(p.trans_std))
    right, down = (g.squeeze(one, [2]) for one in g.split(shifts, 2, [1, 1]))
    return [g.unsqueeze(one, [3, 5]) for one in (down, right)]


# Regions.


def _regions(g: OnnxGraph, node: Node, x: list[str]) -> str:
    """Return the regions as rows of 5 numbers."""
    return x[1] if len(node.bottoms[1].shape) == 2 else g.reshape(x[1], [ANY, 5])


def _column(g: OnnxGraph, regions: str, number: int) -> str:
    return g.slice(regions, [1], [number], [number + 1])


def _image(g: OnnxGraph, regions: str) -> str:
    """Return the images of regions, ``regions × 1``."""
    return g.add("Cast", _column(g, regions, 0), to=_INT64)


def _padded(g: OnnxGraph, regions: str, axis: int, pad: float, scale: float) -> tuple[str, str]:
    """Return the ends of regions along an axis, grown by a share of their size, in elements of the map."""
    low, high = (_column(g, regions, number) for number in _ENDS[axis])
    if pad:
        size = g.add("Add", g.add("Sub", high, low), g.constant(1))
        more = g.add("Mul", size, g.constant(pad))
        low, high = g.add("Sub", low, more), g.add("Add", high, more)
    return g.add("Mul", low, g.constant(scale)), g.add("Mul", high, g.constant(scale))


def _bins(
    g: OnnxGraph, regions: str, axis: int, scale: float, group: int, rounds: bool = False, offset: float = 0
) -> tuple[str, str]:
    """Return where regions begin and how long their bins are, ``regions × 1``, in elements of the map."""
    low, high = (_column(g, regions, number) for number in _ENDS[axis])
    if rounds:
        low, high = _rounded(g, low), _rounded(g, high)
    first = g.add("Mul", low, g.constant(scale))
    last = g.add("Mul", g.add("Add", high, g.constant(1)), g.constant(scale))
    if offset:
        first, last = g.add("Sub", first, g.constant(offset)), g.add("Sub", last, g.constant(offset))
    extent = g.add("Max", g.add("Sub", last, first), g.constant(0.1))
    return first, extent if group == 1 else g.add("Div", extent, g.constant(group))


def _edges(g: OnnxGraph, first: str, length: str, numbers: np.ndarray) -> str:
    """Return where bins of these numbers begin, ``regions × bins``."""
    return g.add("Add", g.add("Mul", g.constant([numbers], name="bins"), length), first)


def _rounded(g: OnnxGraph, x: str) -> str:
    """Round halves away from zero, where Round of ONNX takes the even neighbour."""
    size = g.add("Abs", x)
    whole = g.add("Floor", size)
    lower = g.add("Less", g.add("Sub", size, whole), g.constant(0.5))
    return g.add("Mul", g.add("Sign", x), g.add("Add", whole, g.add("Cast", g.add("Not", lower), to=_FLOAT)))


def _clipped(g: OnnxGraph, x: str, high: float) -> str:
    return g.add("Clip", x, g.constant(0), g.constant(high))


def _inside(g: OnnxGraph, place: str, size: int) -> Places:
    """Return places, those up to half an element beyond a map at its edge, and which of them are no further out."""
    beyond = g.add("Or", g.add("Less", place, g.constant(-0.5)), g.add("Greater", place, g.constant(size - 0.5)))
    return Places(_clipped(g, place, size - 1), g.add("Not", beyond))


# Values.


def _table(g: OnnxGraph, x: str, sizes: tuple[int, int, int, int, Shape]) -> str:
    """Return the channels of groups as a table: a row for each image, class, bin and place, of the outputs of a class.

    ``sizes``: images, classes, outputs of a class, bins along an axis, and height and width of a map.
    """
    images, classes, outputs, group, size = sizes
    # Reshape of more axes than an image has maps: places stay one axis.
    x = g.reshape(x, [images, classes, outputs, group * group * math.prod(size)])
    return g.reshape(g.add("Transpose", x, perm=[0, 1, 3, 2]), [ANY, outputs])


def _starts(g: OnnxGraph, regions: str, classes: int, group: int, places: int) -> str:
    """Return the row of such a table where the maps of bins begin, ``regions × classes × G × 1 × G × 1``."""
    numbers = np.arange(classes * group * group).reshape(1, classes, group, 1, group, 1) * places
    image = g.add("Mul", _image(g, regions), g.integers(numbers.size * places))
    image = g.unsqueeze(image, range(2, _AXES))
    return g.add("Add", image, g.constant(numbers, np.int64, "starts"))


def _gathered(g: OnnxGraph, table: str, start: str, row: str, column: str, width: int) -> str:
    """Return the rows of a table for these places of maps that begin at ``start``."""
    place = g.add("Add", g.add("Mul", row, g.integers(width)), column)
    return g.add("Gather", table, g.add("Add", start, place))


def _between(
    g: OnnxGraph, table: str, start: str, rows: Places, columns: Places, size: Shape, axes: int
) -> tuple[str, str]:
    """Return the values between four places each, with an axis more, and which of them are inside."""
    (*two_rows, down), (*two_columns, across) = (
        around(g, one.place, np.zeros(()), n) for one, n in zip((rows, columns), size, strict=True)
    )
    down, across = (g.unsqueeze(share, [axes]) for share in (down, across))

    def between_columns(row: str) -> str:
        left, right = (_gathered(g, table, start, row, column, size[1]) for column in two_columns)
        return mixed(g, left, right, across)

    above, below = map(between_columns, two_rows)
    return mixed(g, above, below, down), g.add("And", rows.inside, columns.inside)


def _between_groups(
    g: OnnxGraph, node: Node, x: str, regions: str, along: Sequence[Places], classes: int
) -> tuple[str, str]:
    """Return the values at points of bins, ``regions × classes × G × points × G × points × outputs of a class``."""
    layer, size, images = node.layer, node.bottoms[0].shape[2:], g.shape(node.bottoms[0])[0]
    assert isinstance(layer, PSROIPooling)
    group = layer.pooled[0]
    table = _table(g, x, (images, classes, layer.outputs // classes, group, size))
    start = _starts(g, regions, classes, group, math.prod(size))
    rows, columns = along
    return _between(g, table, start, rows, columns, size, _AXES)


def _outputs(g: OnnxGraph, node: Node, values: str) -> str:
    """Return ``regions × classes × G × G × outputs of a class`` as the top."""
    return g.reshape(g.add("Transpose", values, perm=[0, 1, 4, 2, 3]), g.shape(node.tops[0]))
