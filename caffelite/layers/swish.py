"""Swish: a value times its sigmoid."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.kernels.functions import sigmoid32
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32


def _swish_gradient(x, y, p, o):
    s = sigmoid32(p[o] * x)
    return p[o] * y + s * (_F(1) - p[o] * y)


# Constant: beta.
_SWISH = define(Function("Swish", lambda x, p, o: x * sigmoid32(p[o] * x), _swish_gradient, "x", 1))


@layer("Swish")
class Swish(ElementWise):
    """``y = x * sigmoid(beta * x)``; ``swish_param { beta: 1 }``. Not in Caffe 1.0, but in what came after it.

    Ramachandran et al., "Searching for Activation Functions", 2017.
    """

    facts = ElementWise.facts.but(kind="activation", settings=("swish_param",), rectifies=True)

    def setup(self) -> None:
        self.use(_SWISH, self.param.swish_param.beta)
