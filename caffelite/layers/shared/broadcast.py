"""What Scale and Bias share: a small array that is spread over the axes of a large one."""

from collections.abc import Sequence

from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.words import Shape, count, quoted, text_of


class Broadcast(Layer):
    """A small array, learned or the second bottom, spread over the axes of the first."""

    facts = Facts(bottoms=(1, 2), in_place=True)

    @property
    def learned(self) -> bool:
        return len(self.param.bottom) == 1

    def _small(self, bottoms: Sequence[Shape], axis: int, num_axes: int) -> tuple[Shape, int, int]:
        """Return the shape of the small array, its size, and what comes after it in the large one."""
        x = bottoms[0]
        first = self.axis(axis, x) if x else 0
        if self.learned:
            if num_axes < -1:
                self.error(f"num_axes is {num_axes}, expected -1 or more", "num_axes")
            last = len(x) if num_axes == -1 else first + num_axes
            if last > len(x):
                self.shape_error(
                    f"axis {first} and num_axes {num_axes} go beyond its bottom of shape {text_of(x)}", "num_axes"
                )
            small = x[first:last]
        else:
            small = bottoms[1]
            last = first + len(small)
            if x[first:last] != small:
                self.shape_error(
                    f"its second bottom {quoted(self.param.bottom[1])} of shape {text_of(small)} does not fit into "
                    f"{text_of(x)} from axis {first}",
                    "bottom",
                    1,
                )
        return small, count(small), count(x[last:])
