"""Exp and Log, to any base."""

import math

from caffelite.kernels.elementwise import Function, define
from caffelite.kernels.functions import exp32, log32
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

# Constants: inner factor, outer factor.
_EXP = define(Function("Exp", lambda x, p, o: p[o + 1] * exp32(p[o] * x), lambda x, y, p, o: p[o] * y, "y", 2))
# Constants: shift, scale, factor of the logarithm.
_LOG = define(
    Function(
        "Log",
        lambda x, p, o: p[o + 2] * log32(p[o] + p[o + 1] * x),
        lambda x, y, p, o: p[o + 2] * p[o + 1] / (p[o] + p[o + 1] * x),
        "x",
        3,
    )
)


class _ToABase(ElementWise):
    """What the two have in common: a base of -1 is e."""

    def log_base(self, base: float) -> float:
        """Return the natural logarithm of the base."""
        if base == -1:
            return 1.0
        if not (base > 0 and math.isfinite(base)):
            self.error(f"base is {base:g}, expected above 0, or -1 for e", "base")
        return math.log(base)


@layer("Exp")
class Exp(_ToABase):
    """``y = base ^ (shift + scale * x)``; ``exp_param { base: -1 scale: 1 shift: 0 }``, a base of -1 being e."""

    facts = _ToABase.facts.but(kind="activation", settings=("exp_param",), reads_own_output="always")

    def setup(self) -> None:
        settings = self.param.exp_param
        log_base = self.log_base(settings.base)
        try:
            outer = math.exp(log_base * settings.shift)
        except OverflowError:
            outer = math.inf
        self.use(_EXP, log_base * settings.scale, outer)


@layer("Log")
class Log(_ToABase):
    """``y = log(shift + scale * x)`` to ``base``; ``log_param { base: -1 scale: 1 shift: 0 }``, -1 being e.

    As in C, the logarithm of 0 is minus infinity, that of a negative number NaN.
    """

    facts = _ToABase.facts.but(kind="activation", settings=("log_param",))

    def setup(self) -> None:
        settings = self.param.log_param
        log_base = self.log_base(settings.base)
        if log_base == 0:
            self.error("base is 1, which has no logarithm", "base")
        self.use(_LOG, settings.shift, settings.scale, 1 / log_base)
