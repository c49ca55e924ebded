"""PReLU: a learned slope for negative values."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.schema.messages import FillerParameter
from caffelite.words import Shape, count, text_of

_F = np.float32


@kernel
def _forward(begin, end, worker, x, y, slope, channels, length):
    """y = max(x, 0) + slope * min(x, 0); a task is a map."""
    for task in range(begin, end):
        a = slope[task % channels if len(slope) > 1 else 0]
        for i in range(task * length, (task + 1) * length):
            y[i] = max(x[i], _F(0)) + a * min(x[i], _F(0))


@kernel
def _backward(begin, end, worker, x, dy, dx, slope, channels, length):
    """dx = dy where x > 0, else slope * dy; a task is a map."""
    for task in range(begin, end):
        a = slope[task % channels if len(slope) > 1 else 0]
        for i in range(task * length, (task + 1) * length):
            dx[i] = dy[i] * (_F(1) if x[i] > _F(0) else a)


@kernel
def _slope(begin, end, worker, x, dy, d_slope, images, channels, length):
    """d_slope += sum of dy * min(x, 0); a task is a channel, or all of them where they share a slope."""
    for task in range(begin, end):
        total = _F(0)
        first, last = (task, task + 1) if len(d_slope) > 1 else (0, channels)
        for n in range(images):
            for c in range(first, last):
                base = (n * channels + c) * length
                part = _F(0)
                for i in range(base, base + length):
                    part += dy[i] * min(x[i], _F(0))
                total += part
        d_slope[task] += total


@layer("PReLU")
class PReLU(Layer):
    """``y = max(x, 0) + slope * min(x, 0)`` with a learned slope for each channel.

    ``prelu_param``: ``filler`` (constant 0.25), ``channel_shared`` (false; true: one slope for all). Blob: the slopes.

    He et al., "Delving Deep into Rectifiers", 2015.
    """

    facts = Facts(backward_reads=frozenset({"bottom"}), kind="activation", settings=("prelu_param",), rectifies=True)

    def _sizes(self, x: Shape) -> tuple[int, int, int]:
        if len(x) < 2:
            self.shape_error(f"takes a bottom of at least 2 axes (images × channels × …), not {text_of(x)}")
        return x[0], x[1], count(x[2:])

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        settings = self.param.prelu_param
        _, channels, _ = self._sizes(bottoms[0])
        filler = settings.filler if settings.HasField("filler") else FillerParameter(type="constant", value=0.25)
        return [Parameter(() if settings.channel_shared else (channels,), filler)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        images, channels, length = self._sizes(bottoms[0].shape)
        return [
            call(
                _forward,
                images * channels,
                bottoms[0].flat,
                tops[0].flat,
                self.blobs[0].flat,
                channels,
                length,
                work=images * channels * length * 2,
            )
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, dy = bottoms[0], tops[0].flat_diff
        images, channels, length = self._sizes(x.shape)
        work = images * channels * length * 2
        steps: list[Step] = []
        slope = self.blobs[0]
        if slope.diff is not None:
            steps.append(
                call(_slope, slope.diff.size, x.flat, dy, slope.flat_diff, images, channels, length, work=work)
            )
        if x.diff is not None:
            steps.append(
                call(_backward, images * channels, x.flat, dy, x.flat_diff, slope.flat, channels, length, work=work)
            )
        return steps
