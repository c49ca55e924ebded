"""Power: an affine function, raised."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32
# Constants: shift, scale, power.
_AFFINE = define(Function("Affine", lambda x, p, o: p[o] + p[o + 1] * x, lambda x, y, p, o: p[o + 1], "", 2))
_CONSTANT = define(Function("Constant", lambda x, p, o: p[o], lambda x, y, p, o: _F(0), "", 1))


def _square(x, p, o):
    base = p[o] + p[o + 1] * x
    return base * base


_SQUARE = define(Function("Square", _square, lambda x, y, p, o: _F(2) * p[o + 1] * (p[o] + p[o + 1] * x), "x", 2))
_POWER = define(
    Function(
        "Power",
        lambda x, p, o: (p[o] + p[o + 1] * x) ** p[o + 2],
        lambda x, y, p, o: p[o + 1] * p[o + 2] * y / (p[o] + p[o + 1] * x),
        "x",
        3,
    )
)


@layer("Power")
class Power(ElementWise):
    """``y = (shift + scale * x) ** power``; ``power_param { power: 1 scale: 1 shift: 0 }``.

    The gradient of a power other than 0, 1 and 2 is computed as ``power * scale * y / (shift + scale * x)``, as in
    Caffe; so it is NaN where the base is 0.
    """

    facts = ElementWise.facts.but(kind="activation", settings=("power_param",))

    def setup(self) -> None:
        settings = self.param.power_param
        if settings.power == 0 or settings.scale == 0:
            # NumPy's power, as C's: NaN or infinity where Python's own is complex or an exception.
            with np.errstate(all="ignore"):
                self.use(_CONSTANT, float(np.power(_F(settings.shift), _F(settings.power))))
        elif settings.power == 1:
            self.use(_AFFINE, settings.shift, settings.scale)
        elif settings.power == 2:
            self.use(_SQUARE, settings.shift, settings.scale)
        else:
            self.use(_POWER, settings.shift, settings.scale, settings.power)
