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
    rounding : bool
        Whether rounding makes as much of a difference (:mod:`caffelite.export.rounding`), where that was asked.
    """

    blob: str
    value: float
    theirs: float
    ours: float
    place: Shape
    rounding: bool = False

    def told(self, program: str) -> str:
        """Say it in a sentence, without its full stop; ``program`` is the other one's name."""
        if not np.isfinite(self.value):
            return f"{quoted(self.blob)} has another shape in {program}, or values that are no numbers"
        place = ", ".join(map(str, self.place))
        return (
            f"{quoted(self.blob)} is {self.theirs:.6g} in {program} and {self.ours:.6g} here at ({place}), "
            f"{self.value:.1e} of the largest value"
        )


def distances(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return how far the values of two arrays of one shape are apart; NaN and NaN are not."""
    with np.errstate(invalid="ignore"):
        return np.where((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)), 0, np.abs(ours - theirs))


def furthest(values: np.ndarray) -> Shape:
    """Return the place of the largest of distances; NaN is larger than any."""
    place = np.unravel_index(int(np.argmax(np.nan_to_num(values, nan=np.inf))), values.shape)
    return tuple(int(i) for i in place)


def largest(values: np.ndarray) -> float:
    """Return the largest finite value, without its sign; 0 where there is none."""
    return float(np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max(initial=0))


def difference(blob: str, ours: np.ndarray, theirs: np.ndarray) -> Difference:
    """Return where a blob of both is furthest apart."""
    if ours.shape != theirs.shape:
        return Difference(blob, np.inf, np.nan, np.nan, theirs.shape)
    far = distances(ours, theirs)
    if not far.size:
        return Difference(blob, 0.0, 0.0, 0.0, ())
    place = furthest(far)
    value = float(far[place]) / max(largest(ours), 1e-30)
    return Difference(blob, value, float(theirs[place]), float(ours[place]), place)


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
