"""ShuffleChannel: deal the channels of each group out over all groups."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.rearranged import Rearranged
from caffelite.words import Shape, text_of


@layer("ShuffleChannel")
class ShuffleChannel(Rearranged):
    """``y[:, j * group + i] = x[:, i * C / group + j]``; ``shuffle_channel_param { group: 1 }``.

    So a grouped convolution behind it sees channels of every group before it. Zhang et al., "ShuffleNet", 2017;
    farmingyard's layer, also in jolibrain, MNN and ncnn.
    """

    facts = Rearranged.facts.but(settings=("shuffle_channel_param",))

    def setup(self) -> None:
        self.group = self.param.shuffle_channel_param.group
        if self.group < 1:
            self.error(f"group is {self.group}, expected at least 1", "group")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        if len(x) < 2 or x[1] % self.group:
            self.shape_error(f"needs channels (axis 1) that {self.group} groups share, not {text_of(x)}", "group")
        return bottoms[:1]

    def arranged(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, channels = x.shape[:2]
        column = channels // self.group
        return x.reshape(images, self.group, column, -1), y.reshape(images, column, self.group, -1).swapaxes(1, 2)
