"""Sigmoid."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.kernels.functions import sigmoid32
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_SIGMOID = define(Function("Sigmoid", lambda x, p, o: sigmoid32(x), lambda x, y, p, o: y * (np.float32(1) - y)))


@layer("Sigmoid")
class Sigmoid(ElementWise):
    """``y = 1 / (1 + exp(-x))``; its gradient ``y (1 - y)`` is at most 1/4."""

    facts = ElementWise.facts.but(kind="activation", saturates=True, reads_own_output="always")

    def setup(self) -> None:
        self.use(_SIGMOID)

    def specific_facts(self) -> Facts:
        return super().specific_facts().but(activation=("Sigmoid", 0.0))
