"""Reorg: move values between the space of a map and its channels, as Darknet does."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.rearranged import Rearranged
from caffelite.words import Shape, text_of


@layer("Reorg")
class Reorg(Rearranged):
    """Reshape ``N × C × H × W`` into ``N × C·s² × H/s × W/s``, or with ``reverse`` into ``N × C/s² × H·s × W·s``.

    ``reorg_param``: ``stride`` (s), ``reverse`` (false). ``reverse`` puts channel ``(a * s + b) * C/s² + c`` into the
    places ``(y * s + a, x * s + b)`` of channel c. Without it the same is undone, but (a defect of Darknet that all
    YOLO v2 models have learned with) on the memory seen as ``C/s² × H·s × W·s``, so C must be divisible by s² then
    too, and what lies beside each other in the top did not in the bottom.

    Redmon and Farhadi, "YOLO9000", 2016; eric612/MobileNet-YOLO and Intel's fork. Their gradient reads memory that
    was never written; here it is the inverse.
    """

    facts = Rearranged.facts.but(settings=("reorg_param",))

    def setup(self) -> None:
        self.settings = self.param.reorg_param
        self.stride = self.settings.stride
        if self.stride < 1:
            self.error("reorg_param needs stride of at least 1", "stride")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, s = bottoms[0], self.stride
        if len(x) != 4:
            self.shape_error(f"takes a bottom of 4 axes (images × channels × height × width), not {text_of(x)}")
        if x[1] % (s * s):
            self.shape_error(f"has {x[1]} channels, which {s} × {s} does not divide", "stride")
        if self.settings.reverse:
            return [(x[0], x[1] // (s * s), x[2] * s, x[3] * s)]
        if x[2] % s or x[3] % s:
            self.shape_error(f"its maps of {text_of(x[2:])} cannot be divided by stride {s}", "stride")
        return [(x[0], x[1] * s * s, x[2] // s, x[3] // s)]

    def arranged(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the bottom and the top as arrays of one order: [image][a][b][channel][row][column]."""
        images, channels, height, width = x.shape
        s = self.stride
        deep, wide = (
            (images, s, s, channels // (s * s), height, width),
            (images, channels // (s * s), height, s, width, s),
        )
        if self.settings.reverse:
            return x.reshape(deep), y.reshape(wide).transpose(0, 3, 5, 1, 2, 4)
        return x.reshape(wide).transpose(0, 3, 5, 1, 2, 4), y.reshape(deep)
