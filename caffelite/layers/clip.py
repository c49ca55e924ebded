"""Clip: hold values between two bounds."""

import numpy as np

from caffelite.kernels.elementwise import Function, define
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.elementwise import ElementWise

_F = np.float32
# Constants: the bounds.
_CLIP = define(
    Function(
        "Clip",
        lambda x, p, o: min(max(x, p[o]), p[o + 1]),
        lambda x, y, p, o: _F(1) if x >= p[o] and x <= p[o + 1] else _F(0),
        "x",
        2,
    )
)


@layer("Clip")
class Clip(ElementWise):
    """``y = min(max(x, min), max)``; ``clip_param { min: max: }``, both needed.

    The gradient is 1 on the bounds and between them.
    """

    facts = ElementWise.facts.but(kind="activation", settings=("clip_param",), saturates=True)

    def setup(self) -> None:
        settings = self.param.clip_param
        if not self.param.HasField("clip_param"):
            self.error("clip_param needs min and max")
        self.use(_CLIP, settings.min, settings.max)
