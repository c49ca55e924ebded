"""What rounding does to a net: how far its blobs move when every weight and every input is changed in its last bits."""

from collections.abc import Sequence

import numpy as np

from caffelite.export.inputs import inputs_of
from caffelite.export.trained import forward_afresh
from caffelite.net import Net
from caffelite.net.graph import Version

#: So much of itself each number is changed by, up or down: eight units in the last place of float32, about what sums of
#: a few thousand products are rounded by in another order.
_CHANGE = np.float32(2.0**-20)
#: Two programs may be so many times as far apart as that, at so many times as many places.
_FACTOR = 8


def moved_by_rounding(net: Net, versions: Sequence[Version], seed: int = 1) -> list[np.ndarray]:
    """Return how far each element of some blobs moves; the net is as it was afterwards.

    Parameters
    ----------
    net : Net
        Planned with ``keep``, in float32, run on the inputs that it has.
    versions : sequence of Version
    seed : int, optional
        Of the directions.
    """
    before = [net.plan.blob(version).data.copy() for version in versions]
    inputs = [net.plan.blob(version).data for version in inputs_of(net)]
    changed = [*inputs, *(blob.data for layer in net.layers for blob in layer.blobs)]
    kept = [array.copy() for array in changed]
    rng = np.random.default_rng(seed)
    try:
        for array in changed:
            if _whole(array):
                continue  # numbers of words, of images
            array *= 1 + _CHANGE * rng.choice(np.array([-1, 1], np.float32), array.shape)
        net.changed()
        forward_afresh(net)
        after = [net.plan.blob(version).data.copy() for version in versions]
    finally:
        for array, values in zip(changed, kept, strict=True):
            array[...] = values
        net.changed()
        forward_afresh(net)
    with np.errstate(invalid="ignore"):
        return [np.abs(a - b) if a.shape == b.shape else np.zeros_like(b) for a, b in zip(after, before, strict=True)]


def _whole(array: np.ndarray) -> bool:
    return bool((array == np.rint(array)).all())


def is_rounding(apart: np.ndarray, moved: np.ndarray, tolerance: float) -> bool:
    """Whether two programs are no further apart than rounding makes them.

    A sum of large numbers that is nearly nothing moves far, but in each program another one. So it is the sizes that
    are compared, the largest with the largest.

    Parameters
    ----------
    apart : ndarray
        Between the two programs.
    moved : ndarray
        Of the same shape: what :func:`moved_by_rounding` returned.
    tolerance : float
        What is allowed everywhere.
    """
    beyond = np.sort(apart[~(apart <= tolerance)])[::-1]
    largest = np.sort(moved, axis=None)[::-1]
    return bool((beyond <= tolerance + _FACTOR * largest[np.arange(beyond.size) // _FACTOR]).all())
