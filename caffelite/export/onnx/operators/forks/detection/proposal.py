"""Proposal: the regions that a region proposal network finds."""

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.export.onnx.operators.forks.detection.boxes import LOWEST, ranked, suppressed
from caffelite.layers.forks.detection.proposal import FURTHEST, Proposal
from caffelite.net.graph import Node
from caffelite.words import count

_FLOAT = TensorProto.FLOAT


@converts("Proposal", varies=0)
def _proposal(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """The anchors moved, then NonMaxSuppression of the best of each image."""
    layer, (images, _, height, width) = node.layer, g.shape(node.bottoms[0])
    assert isinstance(layer, Proposal)
    anchors = len(layer.anchors)
    number = anchors * height * width
    objects = g.slice(x[0], [1], [anchors], [2 * anchors])
    scores = g.reshape(g.add("Transpose", objects, perm=[0, 2, 3, 1]), [images, 1, number])
    offsets = g.reshape(g.add("Transpose", x[1], perm=[0, 2, 3, 1]), [images, 1, number, 4])
    values = count(node.bottoms[2].shape[1:])
    sizes = g.reshape(x[2], [g.shape(node.bottoms[2])[0], 1, 1, values])
    boxes = _moved(g, layer.anchors_at(height, width), offsets, sizes)
    factors = g.add("Gather", sizes, g.integers([3, 2] if values == 4 else [2, 2], "factors"), axis=3)
    scores = _without_small(g, layer, boxes, scores, g.add("Mul", factors, g.constant(layer.min_size)))
    looked, kept = layer.limits(number)
    boxes, scores = ranked(g, boxes, scores, looked)
    # Their last pixel belongs to these boxes.
    overlapping = g.add("Add", boxes, g.constant([0, 0, 1, 1], name="edge"))
    lists = suppressed(g, boxes, scores, (1, looked), layer.threshold, most=kept, overlapping=overlapping)
    tops = [g.add("Concat", g.unsqueeze(lists.image(g), [1]), lists.box(g), axis=1)]
    if len(node.tops) > 1:
        best = lists.score(g)
        tops.append(best if len(node.tops[1].shape) == 1 else g.unsqueeze(best, [1]))
    return tops


def _moved(g: OnnxGraph, anchors: np.ndarray, offsets: str, sizes: str) -> str:
    """Return the anchors moved by their offsets and cut to their images, ``images × 1 × boxes × 4``."""
    size = anchors[:, 2:] - anchors[:, :2] + 1
    middle, extent = g.split(offsets, 3, [2, 2])
    by_size = g.constant(size, name="size")
    middle = g.add("Add", g.add("Mul", middle, by_size), g.constant(anchors[:, :2] + size / 2, name="middle"))
    extent = g.add("Mul", g.add("Exp", g.add("Min", extent, g.constant(FURTHEST))), by_size)
    reach = g.add("Mul", extent, g.constant(0.5))
    limits = g.add("Sub", g.add("Gather", sizes, g.integers([1, 0], "across"), axis=3), g.constant(1))
    corners = (g.add(how, middle, reach) for how in ("Sub", "Add"))
    cut = [g.add("Max", g.add("Min", corner, limits), g.constant(0)) for corner in corners]
    return g.add("Concat", *cut, axis=3)


def _without_small(g: OnnxGraph, layer: Proposal, boxes: str, scores: str, least: str) -> str:
    """Return the scores; those of boxes that are too low or narrow do not count, or are 0."""
    low, high = g.split(boxes, 3, [2, 2])
    extent = g.add("Add", g.add("Sub", high, low), g.constant(1))
    smaller = g.add("Cast", g.add("Less", extent, least), to=_FLOAT)
    small = g.add("Greater", g.reduce("ReduceMax", smaller, [3], keepdims=False), g.constant(0))
    return g.add("Where", small, g.constant(LOWEST if layer.drops_small else 0), scores)
