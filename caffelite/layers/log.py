"""Log: the logarithm to any base."""

from caffelite.kernels.elementwise import Function, define
from caffelite.kernels.functions import log32
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.to_a_base import ToABase

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


@layer("Log")
class Log(ToABase):
    """``y = log(shift + scale * x)`` to ``base``; ``log_param { base: -1 scale: 1 shift: 0 }``, -1 being e.

    As in C, the logarithm of 0 is minus infinity, that of a negative number NaN.
    """

    facts = ToABase.facts.but(kind="activation", settings=("log_param",))

    def setup(self) -> None:
        settings = self.param.log_param
        log_base = self.log_base(settings.base)
        if log_base == 0:
            self.error("base is 1, which has no logarithm", "base")
        self.use(_LOG, settings.shift, settings.scale, 1 / log_base)
