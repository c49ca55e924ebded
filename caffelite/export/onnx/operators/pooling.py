"""Pooling and SPP, with Caffe's rules for the last window and the divisor written out.

Runtimes disagree on ``ceil_mode`` and ``count_include_pad``, so neither is used: what Caffe rounds up is padding at the
end, and a mean is over the elements of the map alone, times a map of how many these are by Caffe's divisor. Windows
that lie beyond the map hold a constant in Caffe, which is put behind the others.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.layers.pooling import Pooling
from caffelite.layers.spp import SPP
from caffelite.net.graph import Node
from caffelite.words import Shape

_MAX, _STOCHASTIC = 0, 2
_LOWEST, _TINY = float(np.finfo(np.float32).min), float(np.finfo(np.float32).tiny)


class _Windows(NamedTuple):
    """The windows of a layer that begin in the map or before it; pairs are vertical, horizontal.

    Attributes
    ----------
    size, kernel, stride, pad : pairs of int
    out : pair of int
        How many there are.
    beyond : pair of int
        How many more there are which begin behind the map.
    counts : ndarray
        For all of them, the elements in the map by Caffe's divisor; NaN where both are 0.
    """

    size: Shape
    kernel: Shape
    stride: Shape
    pad: Shape
    out: Shape
    beyond: Shape
    counts: np.ndarray

    @property
    def whole(self) -> bool:
        """Whether there is one window, the map."""
        return self.size == self.kernel and self.pad == (0, 0) and self.out == (1, 1)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the operator."""
        lasts = [(n - 1) * s + k - q for k, s, q, n in zip(self.kernel, self.stride, self.pad, self.out, strict=True)]
        ends = [max(last - m, 0) for last, m in zip(lasts, self.size, strict=True)]
        return {"kernel_shape": self.kernel, "strides": self.stride, "pads": [*self.pad, *ends]}


@converts("Pooling")
def _pooling(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """MaxPool or AveragePool."""
    assert isinstance(node.layer, Pooling)
    shape = node.bottoms[0].shape
    return [_pooled(g, node.layer, x[0], shape)] if len(node.tops) == 1 else _with_places(g, node.layer, x[0], shape)


@converts("SPP")
def _spp(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """The levels, each pooled and made a row."""
    assert isinstance(node.layer, SPP)
    shape = node.bottoms[0].shape
    rows = [g.add("Flatten", _pooled(g, level, x[0], shape), axis=1) for level in node.layer.poolings(shape)]
    return rows if len(rows) == 1 else [g.add("Concat", *rows, axis=1)]


def _pooled(g: OnnxGraph, layer: Pooling, x: str, shape: Shape) -> str:
    """Add what a Pooling layer does with a tensor of this shape; return its first top."""
    w = _windows(layer, shape)
    if layer.settings.pool == _MAX:
        y = g.add("GlobalMaxPool", x) if w.whole else g.add("MaxPool", x, **w.attributes)
        return _behind(g, y, w.beyond, _LOWEST)
    if layer.settings.pool == _STOCHASTIC:
        return _behind(g, _expected(g, x, w), w.beyond, 0)
    if w.whole:
        return g.add("GlobalAveragePool", x)
    mean = _behind(g, g.add("AveragePool", x, **w.attributes), w.beyond, 0)
    return mean if (w.counts == 1).all() else g.add("Mul", mean, g.constant(w.counts, name="counts"))


def _with_places(g: OnnxGraph, layer: Pooling, x: str, shape: Shape) -> list[str]:
    """Return the largest values, and their places: ONNX counts them through the whole tensor, Caffe in each map."""
    w = _windows(layer, shape)
    y, place = g.add_many("MaxPool", 2, x, **w.attributes)
    place = g.add("Cast", g.add("Mod", place, g.integers(w.size[0] * w.size[1])), to=TensorProto.FLOAT)
    return [_behind(g, y, w.beyond, _LOWEST), _behind(g, place, w.beyond, -1)]


def _windows(layer: Pooling, shape: Shape) -> _Windows:
    w = layer.windows(shape)
    # The first ten fields are pairs.
    size, kernel, stride, pad, out = (w[i : i + 2] for i in range(0, 10, 2))
    starts = [np.arange(n) * s - q for n, s, q in zip(out, stride, pad, strict=True)]
    inside = tuple(int((start < m).sum()) for start, m in zip(starts, size, strict=True))
    elements = w._replace(counts_padding=False)
    with np.errstate(invalid="ignore"):
        counts = np.outer(*(elements.divisors(axis) / w.divisors(axis) for axis in (0, 1)))
    return _Windows(size, kernel, stride, pad, inside, (out[0] - inside[0], out[1] - inside[1]), counts)


def _behind(g: OnnxGraph, y: str, windows: Shape, value: float) -> str:
    """Put so many windows of one value behind the others."""
    return g.pad(y, [0] * 4, [0, 0, *windows], value) if any(windows) else y


def _expected(g: OnnxGraph, x: str, w: _Windows) -> str:
    """Return the mean of the values, each with the share that it has of the window's sum."""
    sums, squares = (g.add("AveragePool", values, **w.attributes) for values in (x, g.add("Mul", x, x)))
    # As in Caffe, a sum of 0 is one that can be divided by.
    return g.add("Div", squares, g.add("Add", sums, g.constant(_TINY)))
