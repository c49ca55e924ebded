"""Which predictions of MultiBoxLoss are matched to which true boxes."""

from dataclasses import dataclass

import numpy as np

#: What a prediction is matched to that has no true box, and one that is not to be matched.
NOTHING, OUTSIDE = -1, -2
#: Two boxes that overlap by less do not overlap.
_LEAST_OVERLAP = 1e-6


@dataclass(slots=True)
class Truth:
    """The boxes that are in one image."""

    boxes: np.ndarray
    labels: np.ndarray


@dataclass(slots=True)
class Matches:
    """Predictions and the true boxes they are matched to, one a row.

    Attributes
    ----------
    image, prior, place : ndarray of int
        The prediction; ``place`` is the class, or 0 where all classes share one location.
    truth : ndarray of int
        The true box of that image.
    """

    image: np.ndarray
    prior: np.ndarray
    place: np.ndarray
    truth: np.ndarray


def match(overlaps: np.ndarray, outside: np.ndarray, threshold: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Match predictions to true boxes.

    Parameters
    ----------
    overlaps : ndarray, predictions × true boxes
    outside : ndarray of bool
        Predictions that are not to be matched.
    threshold : float or None
        Each true box first gets the prediction that overlaps it most, the best pair first. Of the other predictions
        those that overlap a true box by so much are matched to it, too; None: none of them.

    Returns
    -------
    matches : ndarray of int
        For each prediction the number of its true box, -1 (none) or -2 (outside).
    best : ndarray
        For each prediction, its largest overlap.
    """
    matches = np.where(outside, OUTSIDE, NOTHING)
    overlaps = np.where((overlaps > _LEAST_OVERLAP) & ~outside[:, None], overlaps, 0)
    best = overlaps.max(axis=1)
    left = overlaps.copy()
    for _ in range(overlaps.shape[1]):
        i, j = divmod(int(left.argmax()), overlaps.shape[1])
        if not left[i, j] > 0:
            break
        matches[i], best[i] = j, left[i, j]
        left[i], left[:, j] = 0, 0
    if threshold is not None:
        largest = overlaps.max(axis=1)
        more = (matches == NOTHING) & (largest > 0) & (largest >= threshold)
        matches[more] = overlaps.argmax(axis=1)[more]
    return matches, best
