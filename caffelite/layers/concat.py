"""Concat: join blobs along an axis."""

from collections.abc import Sequence

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.joined import cut_apart, join
from caffelite.words import Shape, count, text_of


@layer("Concat")
class Concat(Layer):
    """Join bottoms along ``concat_param { axis: 1 }`` (older: ``concat_dim``)."""

    facts = Facts(bottoms=(1, None), backward_reads=frozenset(), settings=("concat_param",))

    def joined_axis(self, x: Shape) -> int:
        """Return the axis along which bottoms of this shape are joined."""
        settings = self.param.concat_param
        if settings.HasField("concat_dim"):
            if settings.HasField("axis"):
                self.error("give either axis or the older concat_dim, not both", "axis")
            return self.axis(settings.concat_dim, x, "concat_dim")
        return self.axis(settings.axis, x)

    def images_meet(self, *bottoms: Shape) -> str:
        return self.along_images(self.joined_axis(bottoms[0]), bottoms[0])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        first = bottoms[0]
        axis = self.joined_axis(first)
        for j, other in enumerate(bottoms):
            if len(other) != len(first) or other[:axis] + other[axis + 1 :] != first[:axis] + first[axis + 1 :]:
                self.shape_error(
                    f"its bottoms must agree outside axis {axis}, but {self.param.bottom[0]} is "
                    f"{text_of(first)} and {self.param.bottom[j]} is {text_of(other)}",
                    "bottom",
                    j,
                )
        return [(*first[:axis], sum(x[axis] for x in bottoms), *first[axis + 1 :])]

    def side_by_side(self, *bottoms: Shape) -> bool:
        return count(bottoms[0][: self.joined_axis(bottoms[0])]) == 1

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        axis = self.joined_axis(bottoms[0].shape)
        return join(tops[0].data, [x.data for x in bottoms], axis, [x.shape[axis] for x in bottoms])

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if tops[0].diff is None:
            return []
        axis = self.joined_axis(bottoms[0].shape)
        return cut_apart(tops[0].diff, [x.diff for x in bottoms], axis, [x.shape[axis] for x in bottoms])
