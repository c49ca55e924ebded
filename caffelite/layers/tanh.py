"""TanH."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.kernels.functions import tanh32
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_TANH = define(Function("TanH", lambda x, p, o: tanh32(x), lambda x, y, p, o: np.float32(1) - y * y))


@layer("TanH")
class TanH(ElementWise):
    """``y = tanh(x)``; gradient ``1 - y²``."""

    facts = ElementWise.facts.but(kind="activation", saturates=True, reads_own_output="always")

    def setup(self) -> None:
        self.use(_TANH)
