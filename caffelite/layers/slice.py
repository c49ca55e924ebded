"""Slice: cut a blob apart along an axis."""

from collections.abc import Sequence

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.joined import cut_apart, join
from caffelite.words import Shape, text_of


@layer("Slice")
class Slice(Layer):
    """Cut the bottom along ``slice_param { axis: 1 }`` (older: ``slice_dim``), at each ``slice_point`` or evenly."""

    facts = Facts(tops=(1, None), backward_reads=frozenset(), settings=("slice_param",))

    def cut(self, x: Shape) -> tuple[int, list[int]]:
        """Return the axis along which a bottom of this shape is cut, and the sizes of the tops along it."""
        settings, tops = self.param.slice_param, len(self.param.top)
        if settings.HasField("slice_dim"):
            if settings.HasField("axis"):
                self.error("give either axis or the older slice_dim, not both", "axis")
            axis = self.axis(settings.slice_dim, x, "slice_dim")
        else:
            axis = self.axis(settings.axis, x)
        points = list(settings.slice_point)
        if not points:
            if x[axis] % tops:
                self.shape_error(f"axis {axis} of {text_of(x)} cannot be cut into {tops} equal parts")
            return axis, [x[axis] // tops] * tops
        if len(points) != tops - 1:
            self.error(f"{tops} tops need {tops - 1} slice_point, not {len(points)}", "slice_point")
        edges = [0, *points, x[axis]]
        sizes = [b - a for a, b in zip(edges, edges[1:], strict=False)]
        if min(sizes) <= 0:
            self.shape_error(f"slice_point must rise from 1 to below {x[axis]}, the size of axis {axis}", "slice_point")
        return axis, sizes

    def images_meet(self, *bottoms: Shape) -> str:
        return self.along_images(self.cut(bottoms[0])[0], bottoms[0])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        axis, sizes = self.cut(bottoms[0])
        return [(*bottoms[0][:axis], size, *bottoms[0][axis + 1 :]) for size in sizes]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return cut_apart(bottoms[0].data, [y.data for y in tops], *self.cut(bottoms[0].shape))

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None:
            return []
        return join(bottoms[0].diff, [y.diff for y in tops], *self.cut(bottoms[0].shape))
