"""ChannelNorm: the length of the vector that the channels of a pixel make."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count, text_of


@kernel
def _forward(begin, end, worker, x, y, channels, length):
    """A task is an image."""
    for n in range(begin, end):
        for i in range(n * length, (n + 1) * length):
            y[i] = np.float32(0)
        for c in range(channels):
            row = (n * channels + c) * length
            for i in range(length):
                y[n * length + i] += x[row + i] * x[row + i]
        for i in range(n * length, (n + 1) * length):
            y[i] = np.sqrt(y[i])


@kernel
def _backward(begin, end, worker, x, y, dy, dx, channels, length):
    """A task is an image."""
    for n in range(begin, end):
        for c in range(channels):
            row = (n * channels + c) * length
            for i in range(length):
                dx[row + i] = dy[n * length + i] * x[row + i] / (y[n * length + i] + np.float32(1e-9))


@layer("ChannelNorm")
class ChannelNorm(Layer):
    """``y = sqrt(sum over channels of x²)``: from ``N × C × H × W`` to ``N × 1 × H × W``.

    The gradient, ``dy * x / (y + 1e-9)``, is 0 where y is. lmb-freiburg/flownet2.
    """

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        if len(x) < 2:
            self.shape_error(f"takes a bottom with a channel axis (images × channels × …), not {text_of(x)}")
        return [(x[0], 1, *x[2:])]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        return [call(_forward, x.shape[0], x.flat, tops[0].flat, x.shape[1], count(x.shape[2:]), work=x.data.size * 2)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        if x.diff is None or y.diff is None:
            return []
        return [
            call(
                _backward,
                x.shape[0],
                x.flat,
                y.flat,
                y.flat_diff,
                x.flat_diff,
                x.shape[1],
                count(x.shape[2:]),
                work=x.data.size * 3,
            )
        ]
