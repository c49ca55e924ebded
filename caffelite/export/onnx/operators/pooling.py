"""Pooling, with Caffe's rules for its last window and its divisor written out.

Runtimes disagree on ``ceil_mode`` and ``count_include_pad``, so neither is used: what Caffe rounds up is padding at the
end, and a mean is over the elements of the map alone, times a map of how many these are by Caffe's divisor.
"""

from collections.abc import Sequence

import numpy as np

from caffelite.export.onnx.graph import OnnxGraph
from caffelite.export.onnx.operators import converts
from caffelite.layers.pooling import Pooling
from caffelite.net.graph import Node
from caffelite.words import Shape

_MAX, _STOCHASTIC = 0, 2


@converts("Pooling")
def _pooling(g: OnnxGraph, node: Node, x: list[str]) -> Sequence[str]:
    """MaxPool or AveragePool."""
    assert isinstance(node.layer, Pooling)
    if len(node.tops) > 1:
        node.layer.error("its second top, places in a map, is made only for the layers that put values back there")
    return [pooled(g, node.layer, x[0], node.bottoms[0].shape)]


def pooled(g: OnnxGraph, layer: Pooling, x: str, shape: Shape) -> str:
    """Add what a Pooling layer does with a tensor of this shape; return what it makes."""
    w = layer.windows(shape)
    # The first ten fields are pairs: vertical, horizontal.
    size, kernel, stride, pad, out = (tuple(w[i : i + 2]) for i in range(0, 10, 2))
    ends = [max((n - 1) * s + k - q - m, 0) for m, k, s, q, n in zip(size, kernel, stride, pad, out, strict=True)]
    if any(end >= k for end, k in zip(ends, kernel, strict=True)):
        layer.error("its last window lies beyond the map, of which ONNX makes nothing", "stride")
    windows = {"kernel_shape": kernel, "strides": stride, "pads": [*pad, *ends]}
    whole = out == (1, 1) and kernel == size and not any(pad)
    if layer.settings.pool == _MAX:
        return g.add("GlobalMaxPool", x) if whole else g.add("MaxPool", x, **windows)
    if layer.settings.pool == _STOCHASTIC:
        # The mean of the values, each with the share that it has of the window's sum.
        sums = g.add("Max", g.add("AveragePool", x, **windows), g.constant(np.finfo(np.float32).tiny))
        return g.add("Div", g.add("AveragePool", g.add("Mul", x, x), **windows), sums)
    if whole:
        return g.add("GlobalAveragePool", x)
    inside = w._replace(counts_padding=False)
    ratio = np.outer(*(inside.divisors(axis) / w.divisors(axis) for axis in (0, 1)))
    mean = g.add("AveragePool", x, **windows)
    return mean if (ratio == 1).all() else g.add("Mul", mean, g.constant(ratio, name="counts"))
