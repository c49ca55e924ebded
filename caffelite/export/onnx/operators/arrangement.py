"""Layers that arrange, join, cut and combine."""

from collections.abc import Sequence

from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.net.graph import Node
from caffelite.words import text_of

_PROD, _SUM, _MAX = 0, 1, 2


@converts("Concat")
def _concat(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.concat_param
    axis = p.concat_dim if p.HasField("concat_dim") else p.axis
    if len(x) == 1:
        return x
    return [g.add("Concat", *x, axis=node.layer.axis(axis, node.bottoms[0].shape))]


@converts("Slice")
def _slice(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    p, shape = node.layer.param.slice_param, g.shape(node.bottoms[0])
    axis = node.layer.axis(p.slice_dim if p.HasField("slice_dim") else p.axis, node.bottoms[0].shape)
    if shape[axis] == ANY:
        node.layer.error("it cuts the batch, whose size must be known: give it with --batch", "axis")
    return g.split(x[0], axis, [version.shape[axis] for version in node.tops]) if len(node.tops) > 1 else x


@converts("Eltwise")
def _eltwise(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Mul, Sum or Max; coefficients are multiplied first, and one of -1 is a Sub."""
    p = node.layer.param.eltwise_param
    if p.operation == _MAX:
        return [g.add("Max", *x)]
    if p.operation == _PROD:
        return [_chained(g, "Mul", x)]
    coeffs = list(p.coeff) or [1.0] * len(x)
    if len(x) == 2 and coeffs == [1.0, -1.0]:
        return [g.add("Sub", *x)]
    terms = [name if c == 1 else g.add("Mul", name, g.constant(c)) for name, c in zip(x, coeffs, strict=True)]
    return [g.add("Add" if len(x) == 2 else "Sum", *terms)]


def _chained(g: OnnxGraph, operator: str, x: list[str]) -> str:
    y = x[0]
    for other in x[1:]:
        y = g.add(operator, y, other)
    return y


@converts("Flatten", "Reshape")
def _reshape(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Reshape to the top's shape; where that is the bottom's, nothing."""
    before, after = g.shape(node.bottoms[0]), g.shape(node.tops[0])
    if before == after:
        return x
    if after.count(ANY) > 1:
        node.layer.error(f"two axes of its top {text_of(node.tops[0].shape)} depend on the batch: give it with --batch")
    if node.layer.param.type == "Flatten" and len(after) == 2 and before[0] == after[0]:
        return [g.add("Flatten", x[0], axis=1)]
    return [g.reshape(x[0], after)]


@converts("Permute")
def _permute(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    order = list(node.layer.param.permute_param.order)
    order += [i for i in range(len(node.bottoms[0].shape)) if i not in order]
    return x if order == sorted(order) else [g.add("Transpose", x[0], perm=order)]


@converts("Crop")
def _crop(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    p, shape, like = node.layer.param.crop_param, g.shape(node.bottoms[0]), g.shape(node.bottoms[1])
    first = node.layer.axis(p.axis, node.bottoms[0].shape)
    axes = [axis for axis in range(first, len(shape)) if shape[axis] != like[axis]]
    offsets = list(p.offset) or [0]
    offsets = offsets * (len(shape) - first) if len(offsets) == 1 else offsets
    starts = [offsets[axis - first] for axis in axes]
    ends = [start + like[axis] for start, axis in zip(starts, axes, strict=True)]
    return [g.slice(x[0], axes, starts, ends)] if axes else [x[0]]


@converts("Tile")
def _tile(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    p, axes = node.layer.param.tile_param, len(node.bottoms[0].shape)
    axis = node.layer.axis(p.axis, node.bottoms[0].shape)
    return [g.add("Tile", x[0], g.integers([p.tiles if i == axis else 1 for i in range(axes)], "repeats"))]
