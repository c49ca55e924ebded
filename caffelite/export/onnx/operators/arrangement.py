"""Layers that arrange, join, cut, choose and combine."""

import itertools
from collections.abc import Sequence

from onnx import TensorProto

from caffelite.export.onnx.graph import ANY, END, OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.layers.concat import Concat
from caffelite.layers.crop import Crop
from caffelite.layers.slice import Slice
from caffelite.net.graph import Node
from caffelite.words import text_of

_PROD, _SUM, _MAX = 0, 1, 2


@converts("Concat")
def _concat(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    assert isinstance(node.layer, Concat)
    return [g.add("Concat", *x, axis=node.layer.joined_axis(node.bottoms[0].shape))] if len(x) > 1 else x


@converts("Slice")
def _slice(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Split; a Slice for each top where the last one has what is left of the batch."""
    assert isinstance(node.layer, Slice)
    axis, _ = node.layer.cut(node.bottoms[0].shape)
    sizes = [g.shape(version)[axis] for version in node.tops]
    if len(sizes) == 1:
        return x
    if sizes[-1] != ANY or sizes[0] == ANY:
        return g.split(x[0], axis, sizes)
    edges = [0, *itertools.accumulate(sizes[:-1]), END]
    return [g.slice(x[0], [axis], [start], [end]) for start, end in itertools.pairwise(edges)]


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
    """Reshape to the top's shape, Flatten where that is the usual one; where it is the bottom's, nothing."""
    bottom, top = node.bottoms[0].shape, node.tops[0].shape
    before, after = g.shape(node.bottoms[0]), g.shape(node.tops[0])
    if bottom == top and before == after:
        return x
    if len(top) == 2 and len(bottom) > 1 and bottom[0] == top[0] and before[0] == after[0]:
        return [g.add("Flatten", x[0], axis=1)]
    if after.count(ANY) > 1:
        node.layer.error(f"two axes of its top {text_of(top)} depend on the batch: give it with --batch")
    return [g.reshape(x[0], after)]


@converts("Permute")
def _permute(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    order = list(node.layer.param.permute_param.order)
    order += [i for i in range(len(node.bottoms[0].shape)) if i not in order]
    return x if order == sorted(order) else [g.add("Transpose", x[0], perm=order)]


@converts("Crop")
def _crop(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Slice of the axes that are longer than those of the second bottom."""
    assert isinstance(node.layer, Crop)
    shape, like = (version.shape for version in node.bottoms)
    known = zip(g.shape(node.bottoms[0]), g.shape(node.bottoms[1]), strict=True)
    parts = node.layer.part(shape, like)
    axes = []
    for axis, (part, (have, want)) in enumerate(zip(parts, known, strict=True)):
        if part == slice(None) or shape[axis] == like[axis] and have == want:
            continue
        if ANY in (have, want):
            node.layer.error("it cuts the batch, whose size must be known: give it with --batch", "axis")
        axes.append(axis)
    return [g.slice(x[0], axes, *zip(*((parts[i].start, parts[i].stop) for i in axes), strict=True))] if axes else x[:1]


def reversed_along(g: OnnxGraph, x: str, axes: Sequence[int]) -> str:
    """Turn the order along some axes round."""
    back = [-1] * len(axes)
    return g.slice(x, axes, back, [-END] * len(axes), back) if axes else x


@converts("Tile")
def _tile(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    p, axes = node.layer.param.tile_param, len(node.bottoms[0].shape)
    axis = node.layer.axis(p.axis, node.bottoms[0].shape)
    return [g.add("Tile", x[0], g.integers([p.tiles if i == axis else 1 for i in range(axes)], "repeats"))]


@converts("BatchReindex")
def _batch_reindex(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    return [g.add("Gather", x[0], g.add("Cast", x[1], to=TensorProto.INT64), axis=0)]


@converts("Filter", varies=0)
def _filter(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Compress, one for each bottom that is filtered."""
    selector = x[-1] if len(node.bottoms[-1].shape) == 1 else g.reshape(x[-1], [ANY])
    chosen = g.add("Cast", selector, to=TensorProto.BOOL)
    return [g.add("Compress", name, chosen, axis=0) for name in x[:-1]]
