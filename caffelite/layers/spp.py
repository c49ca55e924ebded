"""SPP: pooling into ever finer grids, for images of any size."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.pooling import Pooling
from caffelite.schema.messages import LayerParameter
from caffelite.words import Shape, count, text_of


@layer("SPP")
class SPP(Layer):
    """Spatial pyramid pooling: level l pools the whole map into 2^l × 2^l windows; the levels are joined.

    ``spp_param``: ``pyramid_height`` (number of levels), ``pool`` (MAX; AVE, STOCHASTIC). The top is ``N × C (1 + 4 +
    16 + …)`` whatever the size of the map; as in Caffe, where map and grid do not divide, windows reach into a padding.

    He et al., "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition", 2014.
    """

    facts = Facts(kind="pooling", settings=("pooling_param", "spp_param"))

    def setup(self) -> None:
        self.height = self.param.spp_param.pyramid_height
        if not 1 <= self.height <= 16:
            self.error(f"spp_param needs a pyramid_height of 1 to 16, not {self.height}", "pyramid_height")

    def poolings(self, x: Shape) -> list[Pooling]:
        """Return the levels for maps of this shape, the coarsest first."""
        if len(x) != 4 or not count(x):
            self.shape_error(f"takes a bottom of 4 axes (images × channels × height × width), not {text_of(x)}")
        return [self._level(2**i, x[2], x[3]) for i in range(self.height)]

    def _level(self, bins: int, height: int, width: int) -> Pooling:
        param = LayerParameter(name=self.name, type="Pooling", bottom=["x"], top=["y"])
        pooling = param.pooling_param
        pooling.pool = self.param.spp_param.pool
        pooling.kernel_h, pooling.kernel_w = -(-height // bins), -(-width // bins)
        pooling.stride_h, pooling.stride_w = pooling.kernel_h, pooling.kernel_w
        pooling.pad_h = (pooling.kernel_h * bins - height + 1) // 2
        pooling.pad_w = (pooling.kernel_w * bins - width + 1) // 2
        if pooling.pad_h >= pooling.kernel_h or pooling.pad_w >= pooling.kernel_w:
            self.shape_error(f"a map of {height}×{width} is too small for {bins} × {bins} windows", "pyramid_height")
        return Pooling(param, self.context, self.place)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return [(bottoms[0][0], sum(count(level.shapes(bottoms[0])[0][1:]) for level in self.poolings(bottoms[0])))]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0].data
        self.levels: list[tuple[Pooling, Blob]] = []
        steps: list[Step] = []
        start = 0
        for level in self.poolings(x.shape):
            shape = level.shapes(x.shape)[0]
            diff = None if x.diff is None else arrays.zeros(shape, x.data.dtype)
            pooled = Blob("y", arrays.zeros(shape, x.data.dtype), diff)
            steps += level.forward([x], [pooled])
            end = start + count(shape[1:])
            steps.append(partial(np.copyto, y[:, start:end], pooled.data.reshape(x.shape[0], -1)))
            self.levels.append((level, pooled))
            start = end
        return steps

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, dy = bottoms[0], tops[0].diff
        if x.diff is None or dy is None:
            return []
        share = Blob("x", x.data, arrays.zeros(x.shape, x.data.dtype))
        steps: list[Step] = [partial(x.diff.fill, 0)]
        start = 0
        for level, pooled in self.levels:
            assert pooled.diff is not None and share.diff is not None
            end = start + count(pooled.shape[1:])
            steps.append(partial(np.copyto, pooled.diff.reshape(x.shape[0], -1), dy[:, start:end]))
            steps += level.backward([share], [pooled])
            steps.append(arrays.accumulate(share.diff, x.diff))
            start = end
        return steps
