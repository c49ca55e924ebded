"""Threshold: which values are above a bound."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32
_THRESHOLD = define(
    Function("Threshold", lambda x, p, o: _F(1) if x > p[o] else _F(0), lambda x, y, p, o: _F(0), "", 1)
)


@layer("Threshold")
class Threshold(ElementWise):
    """``y = 1`` where ``x > threshold``, else 0; ``threshold_param { threshold: 0 }``. No gradient."""

    facts = ElementWise.facts.but(
        differentiable=False, kind="activation", settings=("threshold_param",), saturates=True
    )

    def setup(self) -> None:
        self.use(_THRESHOLD, self.param.threshold_param.threshold)
