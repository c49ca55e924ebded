"""ReLU6: hold values between 0 and 6."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32
_RELU6 = define(
    Function(
        "ReLU6",
        lambda x, p, o: min(max(x, _F(0)), _F(6)),
        lambda x, y, p, o: _F(1) if y > _F(0) and y < _F(6) else _F(0),
    )
)
# Constant: the slope.
_LEAKY_RELU6 = define(
    Function(
        "LeakyReLU6",
        lambda x, p, o: min(x if x > _F(0) else x * p[o], _F(6)),
        lambda x, y, p, o: (_F(1) if x > _F(0) else p[o]) if x < _F(6) else _F(0),
        "x",
        1,
    )
)


@layer("ReLU6")
class ReLU6(ElementWise):
    """``y = min(max(x, 0), 6)``; the gradient on the bounds is 0.

    ``relu6_param { negative_slope: 0 }`` (of eric612's fork): x times the slope in place of what is below 0.

    In the forks of eric612 and jolibrain. Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10", 2010.
    """

    facts = ElementWise.facts.but(kind="activation", settings=("relu6_param",), rectifies=True, saturates=True)

    def setup(self) -> None:
        slope = self.param.relu6_param.negative_slope
        if slope:
            self.use(_LEAKY_RELU6, slope)
        else:
            self.use(_RELU6)
