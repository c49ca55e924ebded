"""Reverse: an axis the other way round."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.rearranged import Rearranged
from caffelite.words import Shape


@layer("Reverse")
class Reverse(Rearranged):
    """Turn the order along ``reverse_param { axis: 0 }`` round: the last first.

    In the forks of CTPN and jolibrain; in front of and behind a recurrent layer it makes the backward half of a
    bidirectional one.
    """

    facts = Rearranged.facts.but(settings=("reverse_param",))

    def images_meet(self, *bottoms: Shape) -> str:
        return self.along_images(self.param.reverse_param.axis, bottoms[0])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self.axis(self.param.reverse_param.axis, bottoms[0])
        return bottoms[:1]

    def arranged(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.flip(x, self.axis(self.param.reverse_param.axis, x.shape)), y
