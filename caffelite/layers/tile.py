"""Tile: repeat a blob along an axis."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count


@layer("Tile")
class Tile(Layer):
    """The bottom, ``tiles`` times along ``tile_param { axis: 1 }``; the gradient is the sum over the copies."""

    facts = Facts(backward_reads=frozenset(), settings=("tile_param",))

    def setup(self) -> None:
        self.tiles = self.param.tile_param.tiles
        if self.tiles < 1:
            self.error("tile_param needs tiles of at least 1", "tiles")

    def images_meet(self, *bottoms: Shape) -> str:
        return self.along_images(self.param.tile_param.axis, bottoms[0])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        axis = self.axis(self.param.tile_param.axis, x)
        return [(*x[:axis], x[axis] * self.tiles, *x[axis + 1 :])]

    def _split(self, x: Shape) -> tuple[int, int, int]:
        axis = self.axis(self.param.tile_param.axis, x)
        return count(x[:axis]), 1, count(x[axis:])

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        outer, one, inner = self._split(bottoms[0].shape)
        x = bottoms[0].data.reshape(outer, one, inner)
        return [partial(np.copyto, tops[0].data.reshape(outer, self.tiles, inner), x)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx, dy = bottoms[0].diff, tops[0].diff
        if dx is None or dy is None:
            return []
        outer, _, inner = self._split(bottoms[0].shape)
        return [partial(np.sum, dy.reshape(outer, self.tiles, inner), axis=1, out=dx.reshape(outer, inner))]
