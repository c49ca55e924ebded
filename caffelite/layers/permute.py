"""Permute: the axes of a blob in another order."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.layers.base import Blob, Layer, Shape, Step, layer, text_of


@layer("Permute")
class Permute(Layer):
    """``y.shape[i] = x.shape[order[i]]``: axis ``order[i]`` of the bottom becomes axis i of the top.

    ``permute_param``: ``order``, counted from 0. Axes that it does not name follow in their own order.

    From the SSD fork; Liu et al., "SSD: Single Shot MultiBox Detector", 2016.
    """

    backward_reads = frozenset()

    def setup(self) -> None:
        self.order = list(self.param.permute_param.order)
        for i, axis in enumerate(self.order):
            if axis in self.order[:i]:
                self.error(f"order names axis {axis} twice", "order", i)

    def _axes(self, x: Shape) -> list[int]:
        for i, axis in enumerate(self.order):
            if axis >= len(x):
                self.shape_error(f"order names axis {axis}, which a bottom of shape {text_of(x)} lacks", "order", i)
        return self.order + [axis for axis in range(len(x)) if axis not in self.order]

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return [tuple(bottoms[0][axis] for axis in self._axes(bottoms[0]))]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        return [partial(np.copyto, tops[0].data, x.data.transpose(self._axes(x.shape)))]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx, dy = bottoms[0].diff, tops[0].diff
        if dx is None or dy is None:
            return []
        return [partial(np.copyto, dx.transpose(self._axes(dx.shape)), dy)]
