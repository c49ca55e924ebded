"""What Exp and Log share: the base."""

import math

from caffelite.layers.shared.elementwise import ElementWise


class ToABase(ElementWise):
    """An element-wise layer with a base, -1 being e."""

    def log_base(self, base: float) -> float:
        """Return the natural logarithm of the base."""
        if base == -1:
            return 1.0
        if not (base > 0 and math.isfinite(base)):
            self.error(f"base is {base:g}, expected above 0, or -1 for e", "base")
        return math.log(base)
