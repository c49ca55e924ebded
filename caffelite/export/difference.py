"""How far a net in another program is from the net it was made of."""

from dataclasses import dataclass

import numpy as np

from caffelite.layers.input import Input
from caffelite.net import Net
from caffelite.words import Shape, quoted


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a blob of another program and a net's are furthest apart.

    Attributes
    ----------
    blob : str
    value : float
        The largest difference, by the largest value of the blob.
    theirs, ours : float
        What the other program and the net have there.
    place : tuple of int
    """

    blob: str
    value: float
    theirs: float
    ours: float
    place: Shape

    def told(self, program: str) -> str:
        """Say it in a sentence, without its full stop; ``program`` is the other one's name."""
        if not np.isfinite(self.value):
            return f"{quoted(self.blob)} has another shape in {program}, or values that are no numbers"
        place = ", ".join(map(str, self.place))
        return (
            f"{quoted(self.blob)} is {self.theirs:.6g} in {program} and {self.ours:.6g} here at ({place}), "
            f"{self.value:.1e} of the largest value"
        )


def difference(blob: str, ours: np.ndarray, theirs: np.ndarray) -> Difference:
    """Return where a blob of both is furthest apart."""
    if ours.shape != theirs.shape:
        return Difference(blob, np.inf, np.nan, np.nan, theirs.shape)
    with np.errstate(invalid="ignore"):
        apart = np.where((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)), 0, np.abs(ours - theirs))
    if not apart.size:
        return Difference(blob, 0.0, 0.0, 0.0, ())
    place = np.unravel_index(int(np.argmax(np.nan_to_num(apart, nan=np.inf))), apart.shape)
    largest = float(np.abs(ours, where=np.isfinite(ours), out=np.zeros_like(ours)).max())
    value = float(apart[place]) / max(largest, 1e-30)
    return Difference(blob, value, float(theirs[place]), float(ours[place]), tuple(int(i) for i in place))


def resize(net: Net, size: int) -> None:
    """Give the inputs of a net so many images; those of one axis stay as they are.

    Raises
    ------
    ShapeError
        The net does not allow it.
    """
    for layer in net.layers:
        if isinstance(layer, Input):
            layer.top_shapes = [(size, *shape[1:]) if len(shape) > 1 else shape for shape in layer.top_shapes]
    net.reshape()
