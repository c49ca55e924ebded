"""Reshape: the same values with another shape."""

import math
from collections.abc import Sequence

from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count, text_of


@layer("Reshape")
class Reshape(Layer):
    """Give the bottom another shape; nothing is copied.

    ``reshape_param``: ``shape`` (0: as the bottom has it at this place; one -1: what is left), ``axis`` and
    ``num_axes``: which axes of the bottom the shape replaces (all).
    """

    facts = Facts(view=True, settings=("reshape_param",))

    def images_meet(self, *bottoms: Shape) -> str:
        return (
            "its top has not as many images (axis 0) as its bottom"
            if self.shapes(*bottoms)[0][:1] != bottoms[0][:1]
            else ""
        )

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, settings = bottoms[0], self.param.reshape_param
        axes = len(x)
        first = settings.axis if settings.axis >= 0 else axes + settings.axis + 1
        if not 0 <= first <= axes:
            self.shape_error(f"axis {settings.axis} does not exist in a blob of shape {text_of(x)}", "axis")
        last = axes if settings.num_axes == -1 else first + settings.num_axes
        if not first <= last <= axes:
            self.shape_error(
                f"axis {first} and num_axes {settings.num_axes} go beyond its bottom of shape {text_of(x)}", "num_axes"
            )
        dims = list(settings.shape.dim)
        for i, n in enumerate(dims):
            if n == 0:
                if first + i >= axes:
                    self.shape_error(
                        f"dim {i} is 0 (copy), but its bottom of shape {text_of(x)} has no axis {first + i}", "dim", i
                    )
                dims[i] = x[first + i]
            elif n < -1:
                self.shape_error(f"dim {i} is {n}, expected -1 or more", "dim", i)
        if dims.count(-1) > 1:
            self.shape_error("-1 is given more than once", "dim")
        outside = count(x[:first]) * count(x[last:])
        known = math.prod(n for n in dims if n != -1)
        if -1 in dims:
            if not known or count(x) % (known * outside):
                self.shape_error(f"{text_of(x)} ({count(x)} values) cannot be divided by {known * outside}", "dim")
            dims[dims.index(-1)] = count(x) // (known * outside)
        shape = (*x[:first], *dims, *x[last:])
        if count(shape) != count(x):
            self.shape_error(
                f"{text_of(x)} ({count(x)} values) cannot be given the shape {text_of(shape)} ({count(shape)} values)",
                "dim",
            )
        return [shape]
