"""Reduction: sums, means and norms of the last axes."""

from collections.abc import Callable, Sequence

import numpy as np

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count

_F = np.float32
_SUM, _ABSOLUTE, _SQUARES, _MEAN = 1, 2, 3, 4


@specialised
def _reduce(operation: int) -> Callable[..., None]:
    """Make the kernel of an operation."""

    def reduce(begin, end, worker, x, y, length, coeff):
        """y[n] = coeff · sum over row n of x, [rows][length]; a task is a row."""
        for n in range(begin, end):
            total = _F(0)
            for i in range(n * length, (n + 1) * length):
                value = x[i]
                if operation == _ABSOLUTE:
                    value = abs(value)
                elif operation == _SQUARES:
                    value = value * value
                total += value
            y[n] = total * coeff

    return reduce


@specialised
def _spread(operation: int) -> Callable[..., None]:
    """Make the kernel of an operation's gradient."""

    def spread(begin, end, worker, x, dy, dx, length, coeff):
        """dx = dy[n] · coeff · the slope at x, both [rows][length]; a task is a row."""
        for n in range(begin, end):
            factor = dy[n] * coeff
            for i in range(n * length, (n + 1) * length):
                slope = _F(1)
                if operation == _ABSOLUTE:
                    slope = _F(1) if x[i] > _F(0) else (_F(-1) if x[i] < _F(0) else _F(0))
                elif operation == _SQUARES:
                    slope = x[i] + x[i]
                dx[i] = factor * slope

    return spread


@layer("Reduction")
class Reduction(Layer):
    """One number for all axes from ``axis`` on: ``y = coeff * sum of f(x)``.

    ``reduction_param``: ``operation`` SUM, ASUM (absolute values), SUMSQ (squares) or MEAN; ``axis`` (0); ``coeff``
    (1).
    """

    facts = Facts(settings=("reduction_param",))

    def setup(self) -> None:
        self.settings = self.param.reduction_param

    def specific_facts(self) -> Facts:
        sums = self.settings.operation in (_SUM, _MEAN)
        return self.facts.but(backward_reads=frozenset() if sums else frozenset({"bottom"}))

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return [bottoms[0][: self.first_axis(bottoms[0])]]

    def first_axis(self, x: Shape) -> int:
        """Return the first of the axes of ``x`` that become one number."""
        return self.axis(self.settings.axis, x) if x else 0

    def _rows(self, x: Shape) -> tuple[int, int, float]:
        """Return rows, values in a row, and the factor."""
        rows = count(x[: self.first_axis(x)])
        length = count(x) // max(rows, 1)
        if self.settings.operation == _MEAN:
            return rows, length, self.settings.coeff / max(length, 1)
        # A sum over the images of a batch counts, as all numbers of a batch, by this process's part of it.
        over_images = not x[: self.first_axis(x)]
        return rows, length, self.settings.coeff / (self.context.part if over_images else 1)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        rows, length, coeff = self._rows(x.shape)
        factor = float(x.data.dtype.type(coeff))
        return [call(_reduce(self.settings.operation), rows, x.flat, y.flat, length, factor, work=rows * length)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        if x.diff is None:
            return []
        rows, length, coeff = self._rows(x.shape)
        return [
            call(
                _spread(self.settings.operation),
                rows,
                x.flat,
                y.flat_diff,
                x.flat_diff,
                length,
                float(coeff),
                work=rows * length,
            )
        ]
