"""BNLL: a smooth ReLU."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.kernels.functions import exp32, log32, sigmoid32
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32
_BNLL = define(
    Function(
        "BNLL", lambda x, p, o: max(x, _F(0)) + log32(_F(1) + exp32(-abs(x))), lambda x, y, p, o: sigmoid32(x), "x"
    )
)


@layer("BNLL")
class BNLL(ElementWise):
    """``y = log(1 + exp(x))``, the binomial normal log likelihood (elsewhere: softplus)."""

    facts = ElementWise.facts.but(kind="activation", rectifies=True)

    def setup(self) -> None:
        self.use(_BNLL)
