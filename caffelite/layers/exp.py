"""Exp: powers of any base."""

import math

from caffelite.kernels.elementwise import Function, define
from caffelite.kernels.functions import exp32
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.to_a_base import ToABase

# Constants: inner factor, outer factor.
_EXP = define(Function("Exp", lambda x, p, o: p[o + 1] * exp32(p[o] * x), lambda x, y, p, o: p[o] * y, "y", 2))


@layer("Exp")
class Exp(ToABase):
    """``y = base ^ (shift + scale * x)``; ``exp_param { base: -1 scale: 1 shift: 0 }``, a base of -1 being e."""

    facts = ToABase.facts.but(kind="activation", settings=("exp_param",), reads_own_output="always")

    def setup(self) -> None:
        settings = self.param.exp_param
        log_base = self.log_base(settings.base)
        try:
            outer = math.exp(log_base * settings.shift)
        except OverflowError:
            outer = math.inf
        self.use(_EXP, log_base * settings.scale, outer)
