"""ReLU, with a slope for negative values."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32


def _value(x, p, o):
    # As a sum, which is Caffe's own form: LLVM makes a store under a condition of a choice, and no vectors of that.
    return max(x, _F(0)) + p[o] * min(x, _F(0))


_FROM_TOP = define(Function("ReLU", _value, lambda x, y, p, o: _F(y > _F(0)) + p[o] * _F(y <= _F(0)), "y", 1, 1))
_FROM_BOTTOM = define(
    Function("ReLUFromBottom", _value, lambda x, y, p, o: _F(x > _F(0)) + p[o] * _F(x <= _F(0)), "x", 1, 1)
)


@layer("ReLU")
class ReLU(ElementWise):
    """``y = max(x, 0) + negative_slope * min(x, 0)``; ``relu_param { negative_slope: 0 }``.

    Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines", 2010.
    """

    facts = ElementWise.facts.but(
        kind="activation", settings=("relu_param",), rectifies=True, reads_own_output="in place"
    )

    def setup(self) -> None:
        slope = self.param.relu_param.negative_slope
        # The sign of the top is that of the bottom.
        self.use(_FROM_TOP if slope >= 0 else _FROM_BOTTOM, slope)

    def specific_facts(self) -> Facts:
        return super().specific_facts().but(activation=("ReLU", self.param.relu_param.negative_slope))
