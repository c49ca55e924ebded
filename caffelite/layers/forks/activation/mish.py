"""Mish, of the forks that train YOLO v4 nets."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.kernels.functions import exp32, log32, sigmoid32, tanh32
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32


def _mish(x, p, o):
    return x * tanh32(max(x, _F(0)) + log32(_F(1) + exp32(-abs(x))))


def _mish_gradient(x, y, p, o):
    t = tanh32(max(x, _F(0)) + log32(_F(1) + exp32(-abs(x))))
    return t + x * (_F(1) - t * t) * sigmoid32(x)


_MISH = define(Function("Mish", _mish, _mish_gradient, "x"))


@layer("Mish")
class Mish(ElementWise):
    """``y = x * tanh(log(1 + exp(x)))``, of the forks that train YOLO v4 nets.

    Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", 2019.
    """

    facts = ElementWise.facts.but(kind="activation", rectifies=True)

    def setup(self) -> None:
        self.use(_MISH)
