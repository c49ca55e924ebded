"""MVN: each map to mean 0 and variance 1."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count, text_of

_F = np.float32


@kernel
def _forward(begin, end, worker, x, y, inverse, length, variance, eps):
    """y = (x - mean) / (deviation + eps); a task is a row."""
    for n in range(begin, end):
        base = n * length
        # The mean of the differences to the first value: large values lose no digits.
        first = x[base]
        total = _F(0)
        for i in range(base, base + length):
            total += x[i] - first
        mean = first + total / _F(length)
        factor = _F(1)
        if variance:
            squares = _F(0)
            for i in range(base, base + length):
                d = x[i] - mean
                squares += d * d
            factor = _F(1) / (np.sqrt(squares / _F(length)) + eps)
        inverse[n] = factor
        for i in range(base, base + length):
            y[i] = (x[i] - mean) * factor


@kernel
def _backward(begin, end, worker, y, dy, dx, inverse, length, variance):
    """dx = (dy - mean(dy) - y * mean(dy * y)) * inverse; a task is a row."""
    for n in range(begin, end):
        total, products = _F(0), _F(0)
        for i in range(n * length, (n + 1) * length):
            total += dy[i]
            products += dy[i] * y[i]
        mean = total / _F(length)
        slope = products / _F(length) if variance else _F(0)
        for i in range(n * length, (n + 1) * length):
            dx[i] = (dy[i] - mean - y[i] * slope) * inverse[n]


@layer("MVN")
class MVN(Layer):
    """Mean-variance normalization: ``y = (x - mean) / (standard deviation + eps)`` of each map by itself.

    ``mvn_param``: ``normalize_variance`` (true), ``across_channels`` (false; true: of each image), ``eps`` (1e-9).
    As in Caffe the gradient leaves ``eps`` out where it multiplies, which is off by about ``eps / deviation``.
    """

    facts = Facts(in_place=True, backward_reads=frozenset({"top"}), kind="normalization", settings=("mvn_param",))

    def _rows(self, x: Shape) -> tuple[int, int]:
        if not 2 <= len(x) <= 4 or not count(x):
            self.shape_error(f"takes images × channels × height × width with at least one value, not {text_of(x)}")
        rows = x[0] if self.param.mvn_param.across_channels else x[0] * x[1]
        return rows, count(x) // rows

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self._rows(bottoms[0])
        # Caffe's top has four axes whatever the bottom has.
        return [(*bottoms[0], 1, 1)[:4]]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        rows, length = self._rows(x.shape)
        settings = self.param.mvn_param
        self.inverse = np.zeros(rows, x.data.dtype)
        return [
            call(
                _forward,
                rows,
                x.flat,
                tops[0].flat,
                self.inverse,
                length,
                int(settings.normalize_variance),
                float(settings.eps),
                work=rows * length * 5,
            )
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None:
            return []
        rows, length = self._rows(bottoms[0].shape)
        return [
            call(
                _backward,
                rows,
                tops[0].flat,
                tops[0].flat_diff,
                bottoms[0].flat_diff,
                self.inverse,
                length,
                int(self.param.mvn_param.normalize_variance),
                work=rows * length * 5,
            )
        ]
