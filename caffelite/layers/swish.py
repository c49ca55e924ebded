"""Swish, and its relatives Mish, HSwish and HSigmoid."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.kernels.functions import exp32, log32, sigmoid32, tanh32
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32


def _swish_gradient(x, y, p, o):
    s = sigmoid32(p[o] * x)
    return p[o] * y + s * (_F(1) - p[o] * y)


def _mish(x, p, o):
    return x * tanh32(max(x, _F(0)) + log32(_F(1) + exp32(-abs(x))))


def _mish_gradient(x, y, p, o):
    t = tanh32(max(x, _F(0)) + log32(_F(1) + exp32(-abs(x))))
    return t + x * (_F(1) - t * t) * sigmoid32(x)


def _hard_sigmoid(x, p, o):
    return min(max(x + _F(3), _F(0)), _F(6)) * _F(1 / 6)


def _hard_swish_gradient(x, y, p, o):
    inner = (_F(2) * x + _F(3)) * _F(1 / 6)
    return _F(0) if x <= _F(-3) else (_F(1) if x >= _F(3) else inner)


# Constant: beta.
_SWISH = define(Function("Swish", lambda x, p, o: x * sigmoid32(p[o] * x), _swish_gradient, "x", 1))
_MISH = define(Function("Mish", _mish, _mish_gradient, "x"))
_HSWISH = define(
    Function("HSwish", lambda x, p, o: x * min(max(x + _F(3), _F(0)), _F(6)) * _F(1 / 6), _hard_swish_gradient, "x")
)
_HSIGMOID = define(
    Function("HSigmoid", _hard_sigmoid, lambda x, y, p, o: _F(1 / 6) if y > _F(0) and y < _F(1) else _F(0))
)


@layer("Swish")
class Swish(ElementWise):
    """``y = x * sigmoid(beta * x)``; ``swish_param { beta: 1 }``. Not in Caffe 1.0, but in what came after it.

    Ramachandran et al., "Searching for Activation Functions", 2017.
    """

    facts = ElementWise.facts.but(kind="activation", settings=("swish_param",), rectifies=True)

    def setup(self) -> None:
        self.use(_SWISH, self.param.swish_param.beta)


@layer("Mish")
class Mish(ElementWise):
    """``y = x * tanh(log(1 + exp(x)))``, of the forks that train YOLO v4 nets.

    Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", 2019.
    """

    facts = ElementWise.facts.but(kind="activation", rectifies=True)

    def setup(self) -> None:
        self.use(_MISH)


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
