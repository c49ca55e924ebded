"""NegReLU: a ReLU that keeps what is negative."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32
_NEG_RELU = define(
    Function(
        "NegReLU",
        # Sums, not choices: see ReLU.
        lambda x, p, o: min(x, _F(0)) + p[o] * max(x, _F(0)),
        lambda x, y, p, o: _F(x < _F(0)) + p[o] * _F(x >= _F(0)),
        "x",
        1,
    )
)


@layer("NegReLU")
class NegReLU(ElementWise):
    """``y = min(x, 0) + negative_slope * max(x, 0)``; ``relu_param { negative_slope: 0 }``.

    lmb-freiburg/flownet2.
    """

    facts = ElementWise.facts.but(kind="activation", settings=("relu_param",))

    def setup(self) -> None:
        self.use(_NEG_RELU, self.param.relu_param.negative_slope)
