"""ChannelScale: a factor for each place, the same for all channels."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import TRAIN, Shape, count, text_of

#: What the global factor keeps of itself in each pass.
_KEEP = 0.99


@kernel
def _forward(begin, end, worker, x, factors, y, channels, length):
    """y = x * factor of the place; a task is an image."""
    for n in range(begin, end):
        for c in range(channels):
            row = (n * channels + c) * length
            for i in range(length):
                y[row + i] = x[row + i] * factors[n * length + i]


@kernel
def _products(begin, end, worker, x, dy, sums, channels, length):
    """Sums over channels of x * dy; a task is an image."""
    for n in range(begin, end):
        for i in range(n * length, (n + 1) * length):
            sums[i] = np.float32(0)
        for c in range(channels):
            row = (n * channels + c) * length
            for i in range(length):
                sums[n * length + i] += x[row + i] * dy[row + i]


@layer("ChannelScale")
class ChannelScale(Layer):
    """``y[n, c, …] = factor[n, …] * x[n, c, …]``.

    Bottoms: x (``N × C × …``), factors (``N × 1 × …``). ``channel_scale_param``: ``do_forward`` (true; false: y = x),
    ``do_backward_feature`` (true; false: the gradient to x is that to y), ``do_backward_scale`` (true; false: none to
    the factors). With ``global_scale`` y is x times one number, which a second top holds: in TRAIN it is the mean of
    ``|factor|`` in the first pass and takes a hundredth of it in each pass that follows, but stays from
    ``min_global_scale`` (0) to ``max_global_scale`` (1000). One blob then, the number (-1: none yet), never learned.
    The gradients are still those of the factors.

    happynear/caffe-windows (its layer on a GPU; on a CPU the number does not follow the mean).
    """

    facts = Facts(
        bottoms=2,
        tops=(1, 2),
        backward_reads=frozenset({"bottom"}),
        kind="normalization",
        settings=("channel_scale_param",),
    )

    def setup(self) -> None:
        self.settings = self.param.channel_scale_param
        if len(self.param.top) > 1 and not self.settings.global_scale:
            self.error("a second top (the number all are multiplied by) goes with global_scale: true")

    @staticmethod
    def _sizes(x: Shape) -> tuple[int, int, int]:
        return x[0], x[1], count(x[2:])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, factors = bottoms
        if len(x) < 2 or factors[:1] != x[:1] or count(factors) != x[0] * count(x[2:]):
            self.shape_error(
                f"its second bottom must have one factor for each place of {text_of(x)}, not {text_of(factors)}",
                "bottom",
                1,
            )
        return [x, (1,)][: len(self.param.top)]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return [Parameter((1,), learned=False, values=-np.ones(1))] if self.settings.global_scale else []

    def _follow(self, factors: np.ndarray, tops: Sequence[Blob]) -> None:
        """Bring the global factor up to date."""
        number, p = self.blobs[0].flat, self.settings
        if self.context.phase == TRAIN:
            sums = np.array([np.abs(factors).sum(dtype=np.float64), factors.size])
            self.context.statistics.sum(sums)
            mean = sums[0] / sums[1]
            new = mean if number[0] < 0 else _KEEP * number[0] + (1 - _KEEP) * mean
            number[0] = max(min(new, p.max_global_scale), p.min_global_scale)
        if len(tops) > 1:
            tops[1].flat[0] = number[0]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, factors, y = bottoms[0], bottoms[1].flat, tops[0]
        if not self.settings.do_forward:
            return [arrays.copy(x.data, y.data)]
        if self.settings.global_scale:
            number = self.blobs[0].flat
            return [lambda: self._follow(factors, tops), lambda: np.multiply(x.data, number[0], out=y.data)]
        images, channels, length = self._sizes(x.shape)
        return [call(_forward, images, x.flat, factors, y.flat, channels, length, work=x.data.size)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, factors = bottoms
        if tops[0].diff is None:
            return []
        dy = tops[0].flat_diff
        images, channels, length = self._sizes(x.shape)
        steps: list[Step] = []
        if factors.diff is not None and self.settings.do_backward_scale:
            steps.append(call(_products, images, x.flat, dy, factors.flat_diff, channels, length, work=dy.size * 2))
        elif factors.diff is not None:
            steps.append(lambda: factors.flat_diff.fill(0))
        if x.diff is not None and self.settings.do_backward_feature:
            steps.append(call(_forward, images, dy, factors.flat, x.flat_diff, channels, length, work=dy.size))
        elif x.diff is not None:
            steps.append(arrays.copy(dy, x.diff))
        return steps
