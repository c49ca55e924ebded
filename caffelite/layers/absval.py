"""AbsVal: the absolute value."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32


def _sign(x, y, p, o):
    return _F(1) if x > _F(0) else (_F(-1) if x < _F(0) else _F(0))


_ABSVAL = define(Function("AbsVal", lambda x, p, o: abs(x), _sign, "x"))


@layer("AbsVal")
class AbsVal(ElementWise):
    """``y = |x|``; the gradient at 0 is 0."""

    facts = ElementWise.facts.but(kind="activation")

    def setup(self) -> None:
        self.use(_ABSVAL)
