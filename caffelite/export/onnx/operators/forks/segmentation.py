"""Layers of segmentation: Interp, Upsample, BiasChannel."""

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts, refuses
from caffelite.layers.forks.segmentation.bias_channel import BiasChannel
from caffelite.layers.forks.segmentation.interp import NEAREST, Interp
from caffelite.layers.forks.segmentation.upsample import Upsample
from caffelite.net.graph import Node

refuses("it takes the classes of an image in random order", "AdaptiveBiasChannel")
refuses("ONNX finds the distinct values of a whole batch, not of each image", "UniqueLabel")


@converts("Interp")
def _interp(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Slice off the edges, then Resize with aligned corners; NEAREST takes its rows and columns by Gather."""
    layer, shape, after = node.layer, g.shape(node.bottoms[0]), g.shape(node.tops[0])
    assert isinstance(layer, Interp)
    p, y, last = layer.settings, x[0], range(len(shape) - 2, len(shape))
    if p.mode == NEAREST:
        for axis, places in zip(
            last, layer.places(node.bottoms[0].shape, node.tops[0].shape, np.dtype(np.float32)), strict=True
        ):
            if not np.array_equal(places.low, np.arange(shape[axis])):
                y = g.add("Gather", y, g.integers(places.low, "places"), axis=axis)
        return [y]
    if p.pad_beg or p.pad_end:
        ends = [shape[axis] + p.pad_end for axis in last]
        y = g.slice(y, last, [-p.pad_beg] * 2, ends)
        shape[-2:] = [end + p.pad_beg for end in ends]
    return [y if shape == after else aligned(g, y, shape, after)]


def aligned(g: OnnxGraph, x: str, before: Sequence[int], after: Sequence[int]) -> str:
    """Resize maps bilinearly so that their corners stay where they are."""
    return g.resize(x, before, after, mode="linear", coordinate_transformation_mode="align_corners")


@converts("Upsample")
def _upsample(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Resize, each value several times; with places, ScatterElements into planes of zeros."""
    layer, shape, after = node.layer, g.shape(node.bottoms[0]), g.shape(node.tops[0])
    assert isinstance(layer, Upsample)
    if not layer.unpools:
        if shape == after:
            return x
        modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return [g.resize(x[0], shape, after, mode="nearest", **modes)]
    # Places are counted in a plane, so each is a row.
    planes, size, larger = shape[:-2], shape[-2] * shape[-1], after[-2] * after[-1]
    values, mask = (g.reshape(name, [*planes, size]) for name in x)
    axis = len(planes)
    zeros = g.pad(g.add("Mul", mask, g.constant(0)), [0] * (axis + 1), [0] * axis + [larger - size])
    scattered = g.add("ScatterElements", zeros, g.add("Cast", mask, to=TensorProto.INT64), values, axis=axis)
    return [g.reshape(scattered, after)]


@converts("BiasChannel")
def _bias_channel(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """Compare the labels with the number of each channel, and Add what those that are equal are raised by."""
    layer = node.layer
    assert isinstance(layer, BiasChannel)
    p, classes = layer.settings, node.bottoms[0].shape[1]
    raised = np.full(classes, p.fg_bias)
    if layer.has_background or not layer.by_place:
        raised[p.background_label if layer.by_place else 0] = p.bg_bias
    counted = ~np.isin(np.arange(classes), layer.ignored)
    raised *= counted
    labels = g.add("Cast", x[1], to=TensorProto.INT64)
    if not layer.by_place:
        images, number = g.shape(node.bottoms[1])[:2]
        listed = _equal(g, g.reshape(labels, [images, number, 1]), np.arange(classes))
        added = g.reduce("ReduceSum", g.add("Mul", listed, g.constant(raised, name="raised")), [1], keepdims=False)
        return [g.add("Add", x[0], g.unsqueeze(added, [2, 3]))]
    listed = _equal(g, labels, np.arange(classes).reshape(-1, 1, 1))
    # What each class (a column) adds to each channel (a row).
    matrix = np.diag(raised)
    if layer.has_background:
        matrix[p.background_label, counted] = p.bg_bias
    return [
        g.add("Add", x[0], g.add("Conv", listed, g.constant(matrix.reshape(classes, classes, 1, 1), name="raised")))
    ]


def _equal(g: OnnxGraph, labels: str, classes: np.ndarray) -> str:
    """Return 1 where a label is the class of its place, else 0."""
    return g.add("Cast", g.add("Equal", labels, g.constant(classes, np.int64, "classes")), to=TensorProto.FLOAT)
