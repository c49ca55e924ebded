"""Operators that arrange, join, cut and resize, and those that do nothing in use."""

import itertools
from collections.abc import Callable

import numpy as np

from caffelite.export.caffe.graph import CaffeGraph
from caffelite.export.caffe.operators import converts
from caffelite.export.caffe.reading import OnnxNode
from caffelite.words import Shape, text_of

_FLOAT = 1
#: What Resize rounds places to.
_ROUNDED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


@converts("Identity", "Dropout")
def _same(g: CaffeGraph, node: OnnxNode) -> None:
    if node.inputs[0] not in g.paddings:
        g.bottom(node)
    g.same(node)


@converts("Cast")
def _cast(g: CaffeGraph, node: OnnxNode) -> None:
    if node.attributes["to"] != _FLOAT:
        g.refuse(node, "it makes numbers of another type, and blobs of Caffe's are float")
    _same(g, node)


@converts("Concat")
def _concat(g: CaffeGraph, node: OnnxNode) -> None:
    axis = node.attributes["axis"] % len(g.shape(node.outputs[0]))
    layer = g.add(node, "Concat", *(g.bottom(node, position) for position in range(len(node.inputs))))
    if axis != 1:
        layer.concat_param.axis = axis


@converts("Split")
def _split(g: CaffeGraph, node: OnnxNode) -> None:
    axis = node.attributes.get("axis", 0) % len(g.shape(node.inputs[0]))
    sizes = [g.shape(name)[axis] for name in node.outputs]
    if len(sizes) == 1:
        _same(g, node)
        return
    _add_slice(g, node, axis, list(itertools.accumulate(sizes[:-1])), node.outputs)


@converts("Slice")
def _slice(g: CaffeGraph, node: OnnxNode) -> None:
    """Slice for each axis that is cut; what is before and behind is left to nobody."""
    shape = g.shape(node.inputs[0])
    starts, ends = g.integers(node, "starts", 1), g.integers(node, "ends", 2)
    if starts is None or ends is None:
        g.refuse(node, "where it begins and ends is not known")
    axes = g.integers(node, "axes", 3) or range(len(starts))
    if any(step != 1 for step in g.integers(node, "steps", 4) or ()):
        g.refuse(
            node, "it takes every n-th element or turns their order round, and Slice takes all from one to another"
        )
    cuts = []
    for axis, start, end in zip((a % len(shape) for a in axes), starts, ends, strict=True):
        begin, stop, _ = slice(start, end).indices(shape[axis])
        if (begin, stop) != (0, shape[axis]):
            cuts.append((axis, begin, stop, shape[axis]))
    if not cuts:
        _same(g, node)
        return
    blob = g.bottom(node)
    for number, (axis, begin, stop, size) in enumerate(cuts):
        top = node.outputs[0] if number == len(cuts) - 1 else g.between(node, f"axis{axis}")
        before = [g.between(node, f"before{axis}")] if begin else []
        behind = [g.between(node, f"behind{axis}")] if stop < size else []
        points = [begin] * bool(begin) + [stop] * (stop < size)
        _add_slice(g, node, axis, points, [*before, top, *behind], blob)
        blob = top


def _add_slice(g: CaffeGraph, node: OnnxNode, axis: int, points: list[int], tops: list[str], bottom: str = "") -> None:
    p = g.add(node, "Slice", bottom or g.bottom(node), tops=tops).slice_param
    p.slice_point.extend(points)
    if axis != 1:
        p.axis = axis


@converts("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def _reshape(g: CaffeGraph, node: OnnxNode) -> None:
    """Flatten or Reshape to the shape that the result has."""
    before, after = g.shape(node.inputs[0]), g.shape(node.outputs[0])
    if before == after:
        _same(g, node)
    else:
        g.reshape(node, g.bottom(node), before, after)


@converts("Transpose")
def _transpose(g: CaffeGraph, node: OnnxNode) -> None:
    axes = len(g.shape(node.inputs[0]))
    order = list(node.attributes.get("perm", range(axes - 1, -1, -1)))
    if order == sorted(order):
        _same(g, node)
    else:
        g.add(node, "Permute", g.bottom(node)).permute_param.order.extend(order)


@converts("Resize", "Upsample")
def _resize(g: CaffeGraph, node: OnnxNode) -> None:
    """Deconvolution with ones where each value is repeated; Interp where corners stay and values are interpolated."""
    before, after = g.shape(node.inputs[0]), g.shape(node.outputs[0])
    if before == after:
        _same(g, node)
        return
    if len(before) != 4 or before[:2] != after[:2]:
        g.refuse(node, f"it makes {text_of(after)} of {text_of(before)}, and layers of Caffe's resize height and width")
    mode = node.attributes.get("mode", "nearest")
    places = node.attributes.get(
        "coordinate_transformation_mode", "asymmetric" if node.operator == "Upsample" else "half_pixel"
    )
    if mode == "nearest":
        rounding = node.attributes.get("nearest_mode", "floor" if node.operator == "Upsample" else "round_prefer_floor")
        if not all(_repeats(m, n, places, rounding) for m, n in zip(before[2:], after[2:], strict=True)):
            g.refuse(node, "it does not repeat each value the same number of times")
        _add_repeats(g, node, before[1], (after[2] // before[2], after[3] // before[3]))
    elif mode == "linear" and places == "align_corners":
        p = g.add(node, "Interp", g.bottom(node)).interp_param
        p.height, p.width = after[2:]
    else:
        g.refuse(node, f"it is {mode} with {places}, and layers of Caffe's interpolate linearly with align_corners")


def _repeats(size: int, result: int, places: str, rounding: str) -> bool:
    """Whether the nearest values are each one so many times in a row."""
    if result % size:
        return False
    i = np.arange(result)
    if places == "asymmetric":
        at = i * size / result
    elif places in ("half_pixel", "pytorch_half_pixel"):
        at = (i + 0.5) * size / result - 0.5
    else:
        return False
    nearest = np.clip(_ROUNDED[rounding](at), 0, size - 1)
    return bool(np.array_equal(nearest, i // (result // size)))


def _add_repeats(g: CaffeGraph, node: OnnxNode, channels: int, times: Shape) -> None:
    ones = np.ones((channels, 1, *times), np.float32)
    p = g.add(node, "Deconvolution", g.bottom(node), weights=[ones]).convolution_param
    p.num_output, p.group, p.bias_term = channels, channels, False
    if times[0] == times[1]:
        p.kernel_size.append(times[0])
        p.stride.append(times[0])
    else:
        p.kernel_h, p.kernel_w = times
        p.stride_h, p.stride_w = times
