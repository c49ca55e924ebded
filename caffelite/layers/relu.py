"""ReLU, with a slope for negative values."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.layers.base import layer
from caffelite.layers.elementwise import ElementWise

_F = np.float32
_RELU = define(Function("ReLU", lambda x, p, o: max(x, _F(0)), lambda x, y, p, o: _F(1) if y > _F(0) else _F(0)))
_LEAKY = define(
    Function(
        "LeakyReLU",
        lambda x, p, o: x if x > _F(0) else x * p[o],
        lambda x, y, p, o: _F(1) if x > _F(0) else p[o],
        "x",
        1,
    )
)
_LEAKY_FROM_TOP = define(
    Function("LeakyReLUTop", _LEAKY.forward, lambda x, y, p, o: _F(1) if y > _F(0) else p[o], "y", 1)
)


@layer("ReLU")
class ReLU(ElementWise):
    """``y = max(x, 0) + negative_slope * min(x, 0)``; ``relu_param { negative_slope: 0 }``.

    Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010.
    """

    def setup(self) -> None:
        slope = self.param.relu_param.negative_slope
        if slope == 0:
            self.use(_RELU)
        elif slope > 0:
            self.use(_LEAKY_FROM_TOP, slope)
        else:
            self.use(_LEAKY, slope)
