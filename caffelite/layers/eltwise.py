"""Eltwise: combine blobs of one shape, element by element."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.kernels.engine.arrays import CHUNK
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of

_PROD, _SUM = 0, 1


@kernel
def _add(begin, end, worker, a, b, first, second, y):
    """y = first * a + second * b; a task is CHUNK elements."""
    f, s = y.dtype.type(first), y.dtype.type(second)
    for i in range(begin * CHUNK, min(end * CHUNK, len(y))):
        y[i] = f * a[i] + s * b[i]


@layer("Eltwise")
class Eltwise(Layer):
    """The product, the sum or the largest of two or more bottoms.

    ``eltwise_param``: ``operation`` PROD, SUM (with a ``coeff`` for each bottom, 1 by default) or MAX;
    ``stable_prod_grad`` (true: the gradient of a product multiplies the other bottoms; false: it divides the top by
    this one, which fails where that is 0). Where values are equal, the gradient of MAX goes to one of them, as
    in Caffe: the second bottom before the first, the first before all others.
    """

    facts = Facts(bottoms=(2, None), settings=("eltwise_param",))

    def setup(self) -> None:
        self.settings = self.param.eltwise_param
        self.coeffs = list(self.settings.coeff)
        if self.coeffs and len(self.coeffs) != len(self.param.bottom):
            self.error(f"coeff is given {len(self.coeffs)} times for {len(self.param.bottom)} bottoms", "coeff")
        if self.coeffs and self.settings.operation == _PROD:
            self.error("coeff goes with operation SUM", "coeff")
        if not self.coeffs:
            self.coeffs = [1.0] * len(self.param.bottom)

    def specific_facts(self) -> Facts:
        if self.settings.operation != _SUM:
            return self.facts
        return self.facts.but(backward_reads=frozenset(), averages=True, adds=self.coeffs == [1.0, 1.0])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        for j, other in enumerate(bottoms):
            if other != bottoms[0]:
                self.shape_error(
                    f"its bottoms must have the same shape, but {self.param.bottom[0]} is "
                    f"{text_of(bottoms[0])} and {self.param.bottom[j]} is {text_of(other)}",
                    "bottom",
                    j,
                )
        return bottoms[:1]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        y = tops[0].data
        arrays_in = [x.data for x in bottoms]
        if self.settings.operation == _PROD:
            return [
                partial(np.multiply, arrays_in[0], arrays_in[1], out=y),
                *[partial(np.multiply, y, x, out=y) for x in arrays_in[2:]],
            ]
        if self.settings.operation == _SUM:
            return self._sum(arrays_in, y)
        return [
            partial(np.maximum, arrays_in[0], arrays_in[1], out=y),
            *[partial(np.maximum, y, x, out=y) for x in arrays_in[2:]],
        ]

    def _sum(self, terms: list[np.ndarray], y: np.ndarray) -> list[Step]:
        tasks, out = -(-y.size // CHUNK), y.reshape(-1)
        flat = [x.reshape(-1) for x in terms]
        steps: list[Step] = [call(_add, tasks, *flat[:2], *self.coeffs[:2], out, work=y.size)]
        for x, coeff in zip(flat[2:], self.coeffs[2:], strict=True):
            steps.append(call(_add, tasks, out, x, 1.0, coeff, out, work=y.size))
        return steps

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        steps: list[Step] = []
        for j, blob in enumerate(bottoms):
            if blob.diff is not None and tops[0].diff is not None:
                steps += self._gradient(j, blob.diff, [x.data for x in bottoms], tops[0].data, tops[0].diff)
        return steps

    def _gradient(self, j: int, dx: np.ndarray, x: list[np.ndarray], y: np.ndarray, dy: np.ndarray) -> list[Step]:
        if self.settings.operation == _SUM:
            return [partial(np.multiply, dy, np.float32(self.coeffs[j]), out=dx)]
        if self.settings.operation == _PROD:
            if self.settings.stable_prod_grad:
                others = [other for k, other in enumerate(x) if k != j]
                return [
                    partial(np.multiply, dy, others[0], out=dx),
                    *[partial(np.multiply, dx, other, out=dx) for other in others[1:]],
                ]
            return [partial(np.divide, y, x[j], out=dx), partial(np.multiply, dx, dy, out=dx)]
        return [partial(_pass_largest, j, x, y, dy, dx)]


def _pass_largest(j: int, x: list[np.ndarray], y: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> None:
    """Give the gradient to bottom ``j`` where it is the largest and none that goes before it is as large."""
    mine = x[j] == y
    for before in (x[1:2], [], x[:j])[min(j, 2)]:
        mine &= before != y
    np.multiply(dy, mine, out=dx)
