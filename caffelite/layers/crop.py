"""Crop: cut a blob to the size of another."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of


@layer("Crop")
class Crop(Layer):
    """The part of the first bottom that has the size of the second, in all axes from ``axis`` on.

    ``crop_param``: ``axis`` (2), ``offset`` (0; one number for all these axes, or one for each). Only the first bottom
    gets a gradient, 0 outside the part.
    """

    facts = Facts(
        bottoms=2,
        backward_reads=frozenset(),
        without_gradient=(1,),
        refuses_gradient=False,
        kind="pooling",
        settings=("crop_param",),
    )

    def part(self, x: Shape, like: Shape) -> tuple[slice, ...]:
        """Return what of a bottom of shape ``x`` is the top, for a second bottom of shape ``like``."""
        axis = self.axis(self.param.crop_param.axis, x)
        offsets = list(self.param.crop_param.offset) or [0]
        if len(offsets) == 1:
            offsets *= len(x) - axis
        if len(offsets) != len(x) - axis:
            self.error(f"offset is given {len(offsets)} times for {len(x) - axis} axes from axis {axis} on", "offset")
        if len(like) != len(x):
            self.shape_error(f"its bottoms must have as many axes, not {text_of(x)} and {text_of(like)}", "bottom", 1)
        for j, offset in enumerate(offsets):
            if offset + like[axis + j] > x[axis + j]:
                self.shape_error(
                    f"axis {axis + j} has {x[axis + j]} elements, too few for offset {offset} and {like[axis + j]} "
                    f"elements of {text_of(like)}",
                    "offset",
                )
        return (*(slice(None),) * axis, *(slice(o, o + like[axis + j]) for j, o in enumerate(offsets)))

    def images_meet(self, *bottoms: Shape) -> str:
        return self.along_images(self.param.crop_param.axis, bottoms[0])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, like = bottoms
        self.part(x, like)
        axis = self.axis(self.param.crop_param.axis, x)
        return [(*x[:axis], *like[axis:])]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        part = bottoms[0].data[self.part(bottoms[0].shape, bottoms[1].shape)]
        return [partial(np.copyto, tops[0].data, part)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx, dy = bottoms[0].diff, tops[0].diff
        if dx is None or dy is None:
            return []
        return [partial(dx.fill, 0), partial(np.copyto, dx[self.part(dx.shape, bottoms[1].shape)], dy)]
