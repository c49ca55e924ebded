"""Parameter: a learned blob that is a top."""

from collections.abc import Sequence

from caffelite.kernels.engine.arrays import accumulate, copy
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count


@layer("Parameter")
class ParameterLayer(Layer):
    """A parameter of ``parameter_param { shape { dim: … } }`` as the top, so that other layers can compute with it.

    It starts at zero; a weights file, or code, fills it.
    """

    facts = Facts(bottoms=0, backward_reads=frozenset(), kind="data", settings=("parameter_param",), constant=True)

    def setup(self) -> None:
        self.shape = tuple(self.param.parameter_param.shape.dim)
        if any(n < 1 for n in self.shape) or not self.param.parameter_param.HasField("shape"):
            self.error("parameter_param needs a shape with sizes of at least 1", "parameter_param")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return [self.shape]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return [Parameter(self.shape)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return [copy(self.blobs[0].data, tops[0].data)] if count(self.shape) else []

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if self.blobs[0].diff is None or tops[0].diff is None:
            return []
        return [accumulate(tops[0].diff, self.blobs[0].diff)]
