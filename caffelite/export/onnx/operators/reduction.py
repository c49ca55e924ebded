"""Layers that make a few numbers of many: Reduction, ArgMax."""

from collections.abc import Sequence

from onnx import TensorProto

from caffelite.export.onnx.graph import ANY, OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.export.onnx.operators.arrangement import reversed_along
from caffelite.layers.reduction import Reduction
from caffelite.net.graph import Node
from caffelite.words import count

_ABSOLUTE = 2
#: By the number that Caffe's operation has.
_OPERATORS = {1: "ReduceSum", 2: "ReduceSum", 3: "ReduceSumSquare", 4: "ReduceMean"}


@converts("Reduction")
def _reduction(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """ReduceSum, ReduceSumSquare or ReduceMean."""
    layer, axes = node.layer, len(node.bottoms[0].shape)
    assert isinstance(layer, Reduction)
    values = x[0] if axes else g.unsqueeze(x[0], [0])
    if layer.settings.operation == _ABSOLUTE:
        # Not ReduceL1, which OpenVINO 2026.4 takes for a sum over all axes.
        values = g.add("Abs", values)
    over = range(layer.first_axis(node.bottoms[0].shape), max(axes, 1))
    y = g.reduce(_OPERATORS[layer.settings.operation], values, over, keepdims=False)
    return [y if layer.settings.coeff == 1 else g.add("Mul", y, g.constant(layer.settings.coeff))]


@converts("ArgMax")
def _argmax(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """ArgMax or ReduceMax for one value, TopK for several; without an axis, of each image as a row."""
    p, shape = node.layer.param.argmax_param, node.bottoms[0].shape
    if p.HasField("axis"):
        axis = node.layer.axis(p.axis, shape)
        if g.shape(node.bottoms[0])[axis] == ANY:
            node.layer.error("it searches the batch, whose size must be known: give it with --batch", "axis")
        return [_largest(g, x[0], axis, shape[axis], p.top_k, values=p.out_max_val)]
    rows = x[0] if len(shape) == 2 else g.add("Flatten", x[0], axis=1)
    both = [_largest(g, rows, 1, count(shape[1:]), p.top_k, values) for values in (False, True)[: 1 + p.out_max_val]]
    parts = [g.unsqueeze(part, [1]) for part in both]
    y = parts[0] if len(parts) == 1 else g.add("Concat", *parts, axis=1)
    more = len(node.tops[0].shape) - 3
    return [g.unsqueeze(y, range(3, 3 + more)) if more else y]


def _largest(g: OnnxGraph, x: str, axis: int, dim: int, top_k: int, values: bool) -> str:
    """Return the places of the largest along an axis, or these themselves; of equal ones the last comes first."""
    if values and top_k == 1:
        return g.reduce("ReduceMax", x, [axis])
    if not values and top_k == 1 and g.opset >= 12:
        return g.add("Cast", g.add("ArgMax", x, axis=axis, select_last_index=1), to=TensorProto.FLOAT)
    # TopK has the first of equal ones first, so it is given the last one first.
    turned = x if values else reversed_along(g, x, [axis])
    largest, places = g.add_many("TopK", 2, turned, g.integers([top_k], "k"), axis=axis)
    if values:
        return largest
    return g.add("Sub", g.constant(dim - 1), g.add("Cast", places, to=TensorProto.FLOAT))
