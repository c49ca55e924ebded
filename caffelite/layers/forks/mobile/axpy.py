"""Axpy: scale each map and add another."""

from collections.abc import Sequence

from caffelite.kernels import scale
from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count, text_of


@kernel
def _axpy(begin, end, worker, a, x, y, out, length):
    """out = a * x + y, one a for each map; a task is a map."""
    for task in range(begin, end):
        for i in range(task * length, (task + 1) * length):
            out[i] = a[task] * x[i] + y[i]


@layer("Axpy")
class Axpy(Layer):
    """``out = a * x + y``; bottoms a (``N × C``, ``N × C × 1 × 1``: one value a map), x and y (``N × C × …``).

    It is Scale with a second bottom and Eltwise SUM in one. Hu et al., "Squeeze-and-Excitation Networks", 2017;
    SENet's layer, also in NVIDIA's, Intel's, jolibrain's and happynear's forks.
    """

    facts = Facts(bottoms=3, backward_reads=frozenset({"bottom"}))

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        a, x, y = bottoms
        if len(x) < 2 or a[:2] != x[:2] or count(a[2:]) != 1:
            self.shape_error(
                f"its first bottom must have one value for each map of {text_of(x)}, not {text_of(a)}", "bottom", 0
            )
        if x != y:
            self.shape_error(
                f"its second and third bottom must have the same shape, not {text_of(x)} and {text_of(y)}", "bottom", 2
            )
        return [x]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        a, x, y = bottoms
        length = count(x.shape[2:])
        return [call(_axpy, a.data.size, a.flat, x.flat, y.flat, tops[0].flat, length, work=x.data.size)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if tops[0].diff is None:
            return []
        a, x, y = bottoms
        maps, length = a.data.size, count(x.shape[2:])
        dy, dx = tops[0].flat_diff, None if x.diff is None else x.flat_diff
        steps: list[Step] = []
        if a.diff is not None:
            steps.append(scale.backward(x.flat, dy, dx, a.flat, a.flat_diff, None, maps, length, add=False))
        elif dx is not None:
            steps.append(scale.forward(dy, dx, a.flat, None, maps, length))
        if y.diff is not None:
            steps.append(arrays.copy(dy, y.flat_diff))
        return steps
