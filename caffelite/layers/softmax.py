"""Softmax: scores as probabilities."""

from collections.abc import Sequence

from caffelite.kernels import softmax as kernels
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape


@layer("Softmax")
class Softmax(Layer):
    """``y = exp(x) / sum of exp(x)`` over ``softmax_param { axis: 1 }``, the largest x taken off first."""

    facts = Facts(
        in_place=True,
        backward_reads=frozenset({"top"}),
        kind="activation",
        settings=("softmax_param",),
        saturates=True,
        reads_own_output="always",
    )

    def images_meet(self, *bottoms: Shape) -> str:
        return self.along_images(self.param.softmax_param.axis, bottoms[0])

    def _sizes(self, x: Shape) -> tuple[int, int, int]:
        return self.around(self.param.softmax_param.axis, x)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self._sizes(bottoms[0])
        return bottoms[:1]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return [kernels.forward(bottoms[0].data, tops[0].data, *self._sizes(bottoms[0].shape))]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None or tops[0].diff is None:
            return []
        return [kernels.backward(tops[0].data, tops[0].diff, bottoms[0].diff, *self._sizes(bottoms[0].shape))]
