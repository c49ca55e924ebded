"""Resizing of two-dimensional maps by a filter: each value is a weighted sum of neighbours along each axis.

A task is a map. In plain NumPy: tests/layers/test_resample.py and tests/layers/test_flownet.py.
"""

from dataclasses import dataclass

import numpy as np

from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel


@dataclass(frozen=True, slots=True)
class TriangularFilter:
    """The weights along one axis.

    Attributes
    ----------
    first : ndarray of int64, [result]
        The first neighbour of each value.
    weights : ndarray of float, [result, neighbours]
        Zero for neighbours that do not exist.
    size : int
        The size of the bottom.
    """

    first: np.ndarray
    weights: np.ndarray
    size: int


def windows(centre: np.ndarray, reach: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, for windows of ``2 * reach + 1``, their first place in the axis, all their places, and which exist.

    Windows are moved so that the places up to the last that exists lie in the axis.
    """
    width = min(2 * reach + 1, size)
    first = np.clip(centre - reach, 0, size - width).astype(np.int64)
    places = first[:, None] + np.arange(width)
    return first, places, np.abs(places - centre[:, None]) <= reach


@kernel
def _smooth(begin, end, worker, x, y, h, w, top, down, left, across, rows):
    """y = the sums of products of x and the weights of both axes, first down, then across.

    Parameters
    ----------
    x, y : ndarray of float, [maps][h][w] and [maps][height][width]
        ``y`` is set.
    h, w : int
    top, left : ndarray of int64, [height] and [width]
        The first neighbour of each value along each axis.
    down, across : ndarray of float, [height][neighbours] and [width][neighbours]
        The weights.
    rows : ndarray of float, [threads][w]: scratch.
    """
    row = rows[worker]
    height, width = len(top), len(left)
    for task in range(begin, end):
        for i in range(height):
            for j in range(w):
                row[j] = np.float32(0)
            for tap in range(down.shape[1]):
                share = down[i, tap]
                if share != 0:
                    start = (task * h + top[i] + tap) * w
                    for j in range(w):
                        row[j] += share * x[start + j]
            for j in range(width):
                total = np.float32(0)
                for tap in range(across.shape[1]):
                    total += across[j, tap] * row[left[j] + tap]
                y[(task * height + i) * width + j] = total


@kernel
def _smooth_known(begin, end, worker, x, y, h, w, top, down, left, across):
    """The same over what is a number, divided by the weights of that; NaN where these are too few.

    The parameters are those of :func:`_smooth`.
    """
    height, width = len(top), len(left)
    for task in range(begin, end):
        for i in range(height):
            for j in range(width):
                total, known, unknown = 0.0, 0.0, 0.0
                for m in range(down.shape[1]):
                    for n in range(across.shape[1]):
                        value = x[(task * h + top[i] + m) * w + left[j] + n]
                        share = down[i, m] * across[j, n]
                        if value == value:
                            total += share * value
                            known += share
                        else:
                            unknown += share
                y[(task * height + i) * width + j] = total / known if unknown <= 0.5 * known else np.nan


def smooth(x: np.ndarray, y: np.ndarray, vertical: TriangularFilter, horizontal: TriangularFilter) -> Call:
    """Return the call that filters the last two axes of ``x``."""
    h, w = vertical.size, horizontal.size
    return call(
        _smooth,
        x.size // (h * w),
        x.reshape(-1),
        y.reshape(-1),
        h,
        w,
        vertical.first,
        vertical.weights,
        horizontal.first,
        horizontal.weights,
        arrays.zeros((settings.threads(), w), x.dtype),
        work=y.size * horizontal.weights.shape[1] * 2,
    )


def smooth_known(x: np.ndarray, y: np.ndarray, vertical: TriangularFilter, horizontal: TriangularFilter) -> Call:
    """Return the call that filters what is a number.

    A value is the mean of its neighbours that are numbers, by their weights; it is NaN where the weights of those that
    are not come to more than half as much.
    """
    h, w = vertical.size, horizontal.size
    return call(
        _smooth_known,
        x.size // (h * w),
        x.reshape(-1),
        y.reshape(-1),
        h,
        w,
        vertical.first,
        vertical.weights,
        horizontal.first,
        horizontal.weights,
        work=y.size * vertical.weights.shape[1] * horizontal.weights.shape[1] * 4,
    )
