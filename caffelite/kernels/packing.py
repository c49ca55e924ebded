"""How many panels of lanes an operand has."""

from caffelite.kernels.tile import WIDTH


def panels(lanes: int, vectors: int) -> int:
    """Return the number of panels of ``vectors`` vectors that hold ``lanes`` lanes."""
    return -(-lanes // (vectors * WIDTH))
