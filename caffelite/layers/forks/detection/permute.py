"""Permute: the axes of a blob in another order."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.layer import ALONG_IMAGES
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.rearranged import Rearranged
from caffelite.words import Shape, text_of


@layer("Permute")
class Permute(Rearranged):
    """``y.shape[i] = x.shape[order[i]]``: axis ``order[i]`` of the bottom becomes axis i of the top.

    ``permute_param``: ``order``, counted from 0. Axes that it does not name follow in their own order.

    From the SSD fork; Liu et al., "SSD: Single Shot MultiBox Detector", 2016.
    """

    facts = Rearranged.facts.but(settings=("permute_param",))

    def setup(self) -> None:
        self.order = list(self.param.permute_param.order)
        for i, axis in enumerate(self.order):
            if axis in self.order[:i]:
                self.error(f"order names axis {axis} twice", "order", i)

    def _axes(self, x: Shape) -> list[int]:
        for i, axis in enumerate(self.order):
            if axis >= len(x):
                self.shape_error(f"order names axis {axis}, which a bottom of shape {text_of(x)} lacks", "order", i)
        return self.order + [axis for axis in range(len(x)) if axis not in self.order]

    def images_meet(self, *bottoms: Shape) -> str:
        return ALONG_IMAGES if self._axes(bottoms[0])[0] else ""

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return [tuple(bottoms[0][axis] for axis in self._axes(bottoms[0]))]

    def arranged(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x.transpose(self._axes(x.shape)), y
