"""Split: a blob several times."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape


@layer("Split")
class Split(Layer):
    """Every top is a copy of the bottom; its gradient is the sum of theirs.

    Nets do not need it here: any number of layers can read a blob. Caffe writes it into nets it has loaded.
    """

    facts = Facts(averages=True, tops=(1, None), backward_reads=frozenset())

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return [bottoms[0]] * len(self.param.top)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return [partial(np.copyto, y.data, bottoms[0].data) for y in tops]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx = bottoms[0].diff
        gradients = [y.diff for y in tops if y.diff is not None]
        if dx is None or not gradients:
            return []
        return [partial(np.copyto, dx, gradients[0]), *[partial(np.add, dx, dy, out=dx) for dy in gradients[1:]]]
