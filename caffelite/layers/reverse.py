"""Reverse: an axis the other way round."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.layers.base import Blob, Layer, Shape, Step, layer


@layer("Reverse")
class Reverse(Layer):
    """Turn the order along ``reverse_param { axis: 0 }`` round: the last first.

    In the forks of CTPN and jolibrain; in front of and behind a recurrent layer it makes the backward half of a
    bidirectional one.
    """

    backward_reads = frozenset()

    def _flipped(self, x: np.ndarray) -> np.ndarray:
        return np.flip(x, self.axis(self.param.reverse_param.axis, x.shape))

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self.axis(self.param.reverse_param.axis, bottoms[0])
        return bottoms[:1]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return [partial(np.copyto, tops[0].data, self._flipped(bottoms[0].data))]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None or tops[0].diff is None:
            return []
        return [partial(np.copyto, bottoms[0].diff, self._flipped(tops[0].diff))]
