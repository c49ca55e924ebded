"""NegReLU: a ReLU that keeps what is negative."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.layers.base import layer
from caffelite.layers.elementwise import ElementWise

_NEG_RELU = define(
    Function(
        "NegReLU",
        lambda x, p, o: x if x < np.float32(0) else x * p[o],
        lambda x, y, p, o: np.float32(1) if x < np.float32(0) else p[o],
        "x",
        1,
    )
)


@layer("NegReLU")
class NegReLU(ElementWise):
    """``y = min(x, 0) + negative_slope * max(x, 0)``; ``relu_param { negative_slope: 0 }``.

    lmb-freiburg/flownet2.
    """

    def setup(self) -> None:
        self.use(_NEG_RELU, self.param.relu_param.negative_slope)
