"""ELU: exponential on the negative side."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.kernels.functions import exp32
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32
# Constant: alpha.
_ELU = define(
    Function(
        "ELU",
        lambda x, p, o: max(x, _F(0)) + p[o] * (exp32(min(x, _F(0))) - _F(1)),
        lambda x, y, p, o: _F(1) if x > _F(0) else y + p[o],
        "x",
        1,
    )
)


@layer("ELU")
class ELU(ElementWise):
    """``y = x`` above 0, ``alpha (exp(x) - 1)`` below; ``elu_param { alpha: 1 }``.

    Clevert et al., "Fast and Accurate Deep Network Learning by Exponential Linear Units", 2016.
    """

    facts = ElementWise.facts.but(kind="activation", settings=("elu_param",), rectifies=True, reads_own_output="always")

    def setup(self) -> None:
        self.use(_ELU, self.param.elu_param.alpha)
