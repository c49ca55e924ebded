"""Pooling and SPP, with Caffe's rules for the last window and the divisor written out.

Runtimes disagree on ``ceil_mode`` and ``count_include_pad``, so neither is used: what Caffe rounds up is padding at the
end, and a mean is over the elements of the map alone, times a map of how many these are by Caffe's divisor. Windows
that lie beyond the map hold a constant in Caffe, which is put behind the others.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.kernels.functions import FLT_MIN
from caffelite.kernels.pooling.windows import Windows
from caffelite.kernels.tiles.lanes import LOWEST
from caffelite.layers.pooling import Pooling
from caffelite.layers.spp import SPP
from caffelite.net.graph import Node
from caffelite.words import Shape

_MAX, _STOCHASTIC = 0, 2


@converts("Pooling")
def _pooling(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """MaxPool or AveragePool."""
    assert isinstance(node.layer, Pooling)
    shape = node.bottoms[0].shape
    return [pooled(g, node.layer, x[0], shape)] if len(node.tops) == 1 else _with_places(g, node.layer, x[0], shape)


@converts("SPP")
def _spp(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """The levels, each pooled and made a row."""
    assert isinstance(node.layer, SPP)
    shape = node.bottoms[0].shape
    rows = [g.add("Flatten", pooled(g, level, x[0], shape), axis=1) for level in node.layer.poolings(shape)]
    return rows if len(rows) == 1 else [g.add("Concat", *rows, axis=1)]


def pooled(g: OnnxGraph, layer: Pooling, x: str, shape: Shape) -> str:
    """Add what a Pooling layer does with a tensor of this shape; return its first top."""
    w, beyond = _inside(layer.windows(shape))
    if layer.settings.pool == _MAX:
        y = g.add("GlobalMaxPool", x) if _whole(w) else g.add("MaxPool", x, **_attributes(w))
        return _behind(g, y, beyond, LOWEST)
    if layer.settings.pool == _STOCHASTIC:
        return _behind(g, _expected(g, x, w), beyond, 0)
    if _whole(w):
        return g.add("GlobalAveragePool", x)
    mean = _behind(g, g.add("AveragePool", x, **_attributes(w)), beyond, 0)
    counts = _counts(layer.windows(shape))
    return mean if (counts == 1).all() else g.add("Mul", mean, g.constant(counts, name="counts"))


def _with_places(g: OnnxGraph, layer: Pooling, x: str, shape: Shape) -> list[str]:
    """Return the largest values, and their places: ONNX counts them through the whole tensor, Caffe in each map."""
    w, beyond = _inside(layer.windows(shape))
    y, place = g.add_many("MaxPool", 2, x, **_attributes(w))
    place = g.add("Cast", g.add("Mod", place, g.integers(w.height * w.width)), to=TensorProto.FLOAT)
    return [_behind(g, y, beyond, LOWEST), _behind(g, place, beyond, -1)]


def _inside(w: Windows) -> tuple[Windows, tuple[int, int]]:
    """Return the windows that begin in the map or before it, and how many do not, along each axis."""
    # The first ten fields are pairs: vertical, horizontal.
    inside = [
        int((np.arange(out) * stride - pad < size).sum())
        for size, _, stride, pad, out in (w[axis:10:2] for axis in (0, 1))
    ]
    return w._replace(out_h=inside[0], out_w=inside[1]), (w.out_h - inside[0], w.out_w - inside[1])


def _behind(g: OnnxGraph, y: str, windows: tuple[int, int], value: float) -> str:
    """Put so many windows of one value behind the others."""
    return g.pad(y, [0] * 4, [0, 0, *windows], value) if any(windows) else y


def _attributes(w: Windows) -> dict[str, Any]:
    size, kernel, stride, pad, out = (w[i : i + 2] for i in range(0, 10, 2))
    ends = [max((n - 1) * s + k - q - m, 0) for m, k, s, q, n in zip(size, kernel, stride, pad, out, strict=True)]
    return {"kernel_shape": kernel, "strides": stride, "pads": [*pad, *ends]}


def _whole(w: Windows) -> bool:
    """Whether there is one window, the map."""
    return w[:2] == w[2:4] and w[6:10] == (0, 0, 1, 1)


def _expected(g: OnnxGraph, x: str, w: Windows) -> str:
    """Return the mean of the values, each with the share that it has of the window's sum."""
    sums, squares = (g.add("AveragePool", values, **_attributes(w)) for values in (x, g.add("Mul", x, x)))
    # As in Caffe, a sum of 0 is one that can be divided by.
    return g.add("Div", squares, g.add("Add", sums, g.constant(FLT_MIN)))


def _counts(w: Windows) -> np.ndarray:
    """Return the elements in the map by Caffe's divisor, of each window; NaN where both are 0."""
    elements = w._replace(counts_padding=False)
    with np.errstate(invalid="ignore"):
        return np.outer(*(elements.divisors(axis) / w.divisors(axis) for axis in (0, 1)))
