"""Transpose: axes in another order."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.layers.base import Blob, Layer, Shape, Step, layer, text_of


@layer("Transpose")
class Transpose(Layer):
    """Axis i of the top is axis ``dim[i]`` of the bottom; ``transpose_param { dim: … }`` names every axis once.

    In the fork of CTPN.
    """

    backward_reads = frozenset()

    def setup(self) -> None:
        self.order = list(self.param.transpose_param.dim)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        if not x or sorted(self.order) != list(range(len(x))):
            given = ", ".join(map(str, self.order)) or "nothing"
            self.shape_error(
                f"dim has to name each of the {len(x)} axes of {text_of(x)} once, 0 the first, not {given}",
                "transpose_param",
            )
        return [tuple(x[axis] for axis in self.order)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return [partial(np.copyto, tops[0].data, bottoms[0].data.transpose(self.order))]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None or tops[0].diff is None:
            return []
        return [partial(np.copyto, bottoms[0].diff.transpose(self.order), tops[0].diff)]
