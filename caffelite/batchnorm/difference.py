"""How far stored statistics are from those of the data."""

from dataclasses import dataclass

import numpy as np

from caffelite.layers.shared.normalizing import Statistics


@dataclass(frozen=True, slots=True)
class Difference:
    """The distance of two sets of statistics of a layer.

    Attributes
    ----------
    mean : float
        Absolute difference of the means, in standard deviations of the data; the mean over the channels.
    variance_ratio : float
        Stored variance over that of the data; the geometric mean over the channels.
    worst_channel : int
        The one whose mean, in standard deviations, or variance, as the logarithm of the ratio, differs most.
    """

    mean: float
    variance_ratio: float
    worst_channel: int


def difference(stored: Statistics, measured: Statistics, eps: float) -> Difference:
    """Return how far stored statistics are from measured ones.

    Both variances count with ``eps``, as they do in the layer, so that a channel that is always 0 has a ratio of 1.

    Parameters
    ----------
    stored, measured : Statistics
        Of as many channels.
    eps : float
        The layer's.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.sqrt(measured.variance + eps)
        means = (stored.mean - measured.mean) / deviation
        logarithms = np.log((stored.variance + eps) / (measured.variance + eps))
    # What is not a number is further off than any number.
    distance = np.nan_to_num(np.maximum(np.abs(means), np.abs(logarithms)), nan=np.inf)
    return Difference(float(np.mean(np.abs(means))), float(np.exp(np.mean(logarithms))), int(np.argmax(distance)))
