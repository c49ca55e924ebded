"""Dropout: leave out values at random while training."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import dropout as kernels
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import TRAIN


@layer("Dropout")
class Dropout(Layer):
    """In TRAIN, ``y = x / (1 - ratio)`` with probability ``1 - ratio``, else 0; in TEST, ``y = x``.

    ``dropout_param``: ``dropout_ratio`` (0.5); ``scale_train`` (of several forks; false: y = x in TRAIN and
    ``y = x (1 - ratio)`` in TEST). Which values are left out depends on the seed and the number of the pass alone.

    Srivastava et al., "Dropout", 2014.
    """

    facts = Facts(
        in_place=True, backward_reads=frozenset(), kind="activation", settings=("dropout_param",), deploy="identity"
    )

    def setup(self) -> None:
        settings = self.param.dropout_param
        self.ratio = settings.dropout_ratio
        if not 0 <= self.ratio < 1:
            self.error(f"dropout_ratio is {self.ratio:g}, expected at least 0 and below 1", "dropout_ratio")
        kept = not settings.HasField("scale_train") or settings.scale_train
        self.scale = 1 / (1 - self.ratio) if kept else 1.0
        self.test_scale = 1.0 if kept else 1 - self.ratio
        self.train = self.context.phase == TRAIN
        if self.train:
            self.state["passes"] = np.zeros(1, np.int64)

    def specific_facts(self) -> Facts:
        return self.facts if self.test_scale == 1 else self.facts.but(deploy="kept")

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0].flat, tops[0].flat
        if not self.train:
            return (
                [kernels.scaled(x, y, self.test_scale)]
                if x.ctypes.data != y.ctypes.data or self.test_scale != 1
                else []
            )
        passes = self.state["passes"]
        self.mask = arrays.zeros(x.size, np.uint8)

        def count_pass() -> None:
            passes[0] += 1

        first, _ = self.context.place_in_batch(x.size)
        return [count_pass, kernels.forward(x, y, self.mask, self.seed, passes, self.ratio, self.scale, first)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None:
            return []
        dx, dy = bottoms[0].flat_diff, tops[0].flat_diff
        if not self.train:
            return [kernels.scaled(dy, dx, self.test_scale)]
        return [kernels.backward(dy, dx, self.mask, self.scale)]
