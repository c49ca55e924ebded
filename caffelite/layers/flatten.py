"""Flatten: the same values with fewer axes."""

from collections.abc import Sequence

from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count


@layer("Flatten")
class Flatten(Layer):
    """Make one axis of the axes from ``axis`` (1) to ``end_axis`` (-1), both included; nothing is copied."""

    facts = Facts(view=True, settings=("flatten_param",))

    def images_meet(self, *bottoms: Shape) -> str:
        return self.along_images(self.param.flatten_param.axis, bottoms[0])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, settings = bottoms[0], self.param.flatten_param
        first = self.axis(settings.axis, x)
        last = self.axis(settings.end_axis, x, "end_axis")
        if last < first:
            self.shape_error(f"end_axis {last} comes before axis {first}", "end_axis")
        return [(*x[:first], count(x[first : last + 1]), *x[last + 1 :])]
