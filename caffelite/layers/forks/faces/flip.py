"""Flip: mirrored maps."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of


@layer("Flip")
class Flip(Layer):
    """Mirror maps: ``flip_param { flip_width: true flip_height: false }``. happynear/caffe-windows."""

    facts = Facts(backward_reads=frozenset(), settings=("flip_param",))

    def setup(self) -> None:
        p = self.param.flip_param
        self.axes = tuple(axis for axis, flips in ((-1, p.flip_width), (-2, p.flip_height)) if flips)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if len(bottoms[0]) < 2:
            self.shape_error(f"takes maps, with a height and a width, not {text_of(bottoms[0])}")
        return bottoms[:1]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return [partial(np.copyto, tops[0].data, np.flip(bottoms[0].data, self.axes))]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None or tops[0].diff is None:
            return []
        return [partial(np.copyto, bottoms[0].diff, np.flip(tops[0].diff, self.axes))]
