"""HSwish and HSigmoid: Swish and the sigmoid of straight lines."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32


def _hard_sigmoid(x, p, o):
    return min(max(x + _F(3), _F(0)), _F(6)) * _F(1 / 6)


def _hard_swish_gradient(x, y, p, o):
    inner = (_F(2) * x + _F(3)) * _F(1 / 6)
    return _F(0) if x <= _F(-3) else (_F(1) if x >= _F(3) else inner)


_HSWISH = define(
    Function("HSwish", lambda x, p, o: x * min(max(x + _F(3), _F(0)), _F(6)) * _F(1 / 6), _hard_swish_gradient, "x")
)
_HSIGMOID = define(
    Function("HSigmoid", _hard_sigmoid, lambda x, y, p, o: _F(1 / 6) if y > _F(0) and y < _F(1) else _F(0))
)


@layer("HSwish")
class HSwish(ElementWise):
    """``y = x * min(max(x + 3, 0), 6) / 6``, of the forks that train MobileNet v3.

    Howard et al., "Searching for MobileNetV3", 2019.
    """

    facts = ElementWise.facts.but(kind="activation", rectifies=True)

    def setup(self) -> None:
        self.use(_HSWISH)


@layer("HSigmoid")
class HSigmoid(ElementWise):
    """``y = min(max(x + 3, 0), 6) / 6``; the companion of HSwish."""

    facts = ElementWise.facts.but(kind="activation", saturates=True)

    def setup(self) -> None:
        self.use(_HSIGMOID)
