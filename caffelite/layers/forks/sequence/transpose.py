"""Transpose: axes in another order."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.layer import ALONG_IMAGES
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.rearranged import Rearranged
from caffelite.words import Shape, text_of


@layer("Transpose")
class Transpose(Rearranged):
    """Axis i of the top is axis ``dim[i]`` of the bottom; ``transpose_param { dim: … }`` names every axis once.

    In the fork of CTPN.
    """

    facts = Rearranged.facts.but(settings=("transpose_param",))

    def setup(self) -> None:
        self.order = list(self.param.transpose_param.dim)

    def images_meet(self, *bottoms: Shape) -> str:
        return ALONG_IMAGES if self.order[0] else ""

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        if not x or sorted(self.order) != list(range(len(x))):
            given = ", ".join(map(str, self.order)) or "nothing"
            self.shape_error(
                f"dim has to name each of the {len(x)} axes of {text_of(x)} once, 0 the first, not {given}",
                "transpose_param",
            )
        return [tuple(x[axis] for axis in self.order)]

    def arranged(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x.transpose(self.order), y
