"""SpatialDropout: leave out whole maps at random while training."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import scale
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import TRAIN, Shape, count, text_of


@layer("SpatialDropout")
class SpatialDropout(Layer):
    """In TRAIN, a map is multiplied by ``1 / (1 - ratio)`` with probability ``1 - ratio``, else by 0; in TEST, y = x.

    ``dropout_ratio`` (0.5) of ``dropout_param``, which Intel's layer reads, or of ``spatial_dropout_param``, of its
    schema. Which maps are left out depends on the seed and the number of the pass alone. intel/caffe.

    Tompson et al., "Efficient Object Localization Using Convolutional Networks", 2015.
    """

    facts = Facts(
        in_place=True,
        backward_reads=frozenset(),
        kind="activation",
        settings=("dropout_param", "spatial_dropout_param"),
        deploy="identity",
    )

    def setup(self) -> None:
        own = self.param.spatial_dropout_param
        self.ratio = (own if own.HasField("dropout_ratio") else self.param.dropout_param).dropout_ratio
        if not 0 <= self.ratio < 1:
            self.error(f"dropout_ratio is {self.ratio:g}, expected at least 0 and below 1", "dropout_ratio")
        if self.context.phase == TRAIN:
            self.state["passes"] = np.zeros(1, np.int64)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if len(bottoms[0]) < 2:
            self.shape_error(f"takes a bottom of at least 2 axes (images × channels × …), not {text_of(bottoms[0])}")
        return bottoms[:1]

    def _draw(self) -> None:
        passes = self.state["passes"]
        passes[0] += 1
        rng = np.random.default_rng([self.seed, int(passes[0])])
        own = len(self.factors)
        first, whole = self.context.place_in_batch(own)
        self.factors[:] = (rng.random(whole)[first : first + own] >= self.ratio) / (1 - self.ratio)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        maps = count(x.shape[:2])
        self.factors = np.ones(maps, x.data.dtype)
        apply = scale.forward(x.flat, tops[0].flat, self.factors, None, maps, count(x.shape[2:]))
        return [self._draw, apply] if self.context.phase == TRAIN else [apply]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        if x.diff is None:
            return []
        return [
            scale.forward(tops[0].flat_diff, x.flat_diff, self.factors, None, len(self.factors), count(x.shape[2:]))
        ]
