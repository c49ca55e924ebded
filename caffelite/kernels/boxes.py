"""Boxes: how much they overlap, what a detector's numbers make of its priors, and which of many say the same.

A box is four numbers, xmin, ymin, xmax, ymax. Their width is ``xmax - xmin + edge``: edge 0 for boxes measured along
lines, 1 for boxes that name their first and last pixel.
"""

from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel, specialised

#: How a location is written: offsets of the corners; of centre and size; of the corners in sizes of the prior.
CORNER, CENTER_SIZE, CORNER_SIZE = 1, 2, 3

_F = np.float32


@register_jitable
def _area(a, i, edge):
    """The area of the box at ``a[i]``; 0 where its corners have changed places."""
    if a[i + 2] < a[i] or a[i + 3] < a[i + 1]:
        return _F(0)
    return (a[i + 2] - a[i] + edge) * (a[i + 3] - a[i + 1] + edge)


@register_jitable
def _overlap(a, i, b, j, edge):
    """Intersection over union of the box at ``a[i]`` and that at ``b[j]``; 0 where they only touch."""
    width = min(a[i + 2], b[j + 2]) - max(a[i], b[j]) + edge
    height = min(a[i + 3], b[j + 3]) - max(a[i + 1], b[j + 1]) + edge
    if not (width > 0 and height > 0):
        return _F(0)
    shared = width * height
    return shared / (_area(a, i, edge) + _area(b, j, edge) - shared)


@kernel
def _overlaps(begin, end, worker, a, b, out, pixels):
    """out[i, j] = overlap of box i of a and box j of b; a task is a box of a.

    Parameters
    ----------
    a, b : ndarray of float, [rows][4] and [columns][4]
    out : ndarray of float, [rows][columns]
        Is set.
    pixels : int
        1 where boxes name their last pixel.
    """
    edge, columns = _F(pixels), len(b) // 4
    for i in range(begin, end):
        for j in range(columns):
            out[i * columns + j] = _overlap(a, 4 * i, b, 4 * j, edge)


@specialised
def _decode(code: int, scaled: bool) -> Callable[..., None]:
    """Make the kernel for locations that are written this way, and are to be multiplied by variances or not."""

    def decode(begin, end, worker, locations, priors, variances, out, classes):
        """out = the boxes that locations make of priors: Liu et al., "SSD", 2016. A task is a prior in an image.

        Parameters
        ----------
        locations, out : ndarray of float, [images][priors][classes][4]
            ``out`` is set.
        priors : ndarray of float, [priors][4] or [images][priors][4]
        variances : ndarray of float, [priors][4]
        classes : int
        """
        one = _F(1)
        for task in range(begin, end):
            p = 4 * (task % (len(priors) // 4))
            v = 4 * (task % (len(variances) // 4))
            v0 = variances[v] if scaled else one
            v1 = variances[v + 1] if scaled else one
            v2 = variances[v + 2] if scaled else one
            v3 = variances[v + 3] if scaled else one
            width, height = priors[p + 2] - priors[p], priors[p + 3] - priors[p + 1]
            for c in range(classes):
                i = 4 * (task * classes + c)
                if code == CENTER_SIZE:
                    x = v0 * locations[i] * width + (priors[p] + priors[p + 2]) * _F(0.5)
                    y = v1 * locations[i + 1] * height + (priors[p + 1] + priors[p + 3]) * _F(0.5)
                    half_width = np.exp(v2 * locations[i + 2]) * width * _F(0.5)
                    half_height = np.exp(v3 * locations[i + 3]) * height * _F(0.5)
                    out[i] = x - half_width
                    out[i + 1] = y - half_height
                    out[i + 2] = x + half_width
                    out[i + 3] = y + half_height
                else:
                    unit_x = width if code == CORNER_SIZE else one
                    unit_y = height if code == CORNER_SIZE else one
                    out[i] = priors[p] + v0 * locations[i] * unit_x
                    out[i + 1] = priors[p + 1] + v1 * locations[i + 1] * unit_y
                    out[i + 2] = priors[p + 2] + v2 * locations[i + 2] * unit_x
                    out[i + 3] = priors[p + 3] + v3 * locations[i + 3] * unit_y

    return decode


@kernel
def _suppress(begin, end, worker, boxes, order, counts, kept, kept_counts, width, room, threshold, eta, pixels):
    """Of a list, take each box that overlaps none taken before by more than the threshold; a task is a list.

    Parameters
    ----------
    boxes : ndarray of float, [any number][4]
    order : ndarray of int64, [lists][width]
        Numbers of boxes, the best first.
    counts : ndarray of int64, [lists]
        How many of each list there are.
    kept : ndarray of int64, [lists][room]
    kept_counts : ndarray of int64, [lists]
        Are set: the boxes taken, and how many they are.
    width, room : int
        Boxes that a list may name, and that are taken of it at most.
    threshold, eta : float
        The overlap from which on two boxes are one; its factor for each box taken while it is above one half.
    pixels : int
        1 where boxes name their last pixel.
    """
    edge = _F(pixels)
    for task in range(begin, end):
        limit, taken = _F(threshold), 0
        for k in range(counts[task]):
            if taken == room:
                break
            box, alone = order[task * width + k], True
            for j in range(taken):
                if not _overlap(boxes, 4 * box, boxes, 4 * kept[task * room + j], edge) <= limit:
                    alone = False
                    break
            if alone:
                kept[task * room + taken] = box
                taken += 1
                if eta < 1 and limit > _F(0.5):
                    limit = _F(limit * eta)
        kept_counts[task] = taken


def overlaps(a: np.ndarray, b: np.ndarray, out: np.ndarray, pixels: bool = False) -> Call:
    """Return the call that computes the intersection over union of all boxes of ``a`` (rows) and ``b`` (columns)."""
    return call(_overlaps, a.size // 4, a.reshape(-1), b.reshape(-1), out.reshape(-1), int(pixels), work=out.size * 20)


def decode(
    locations: np.ndarray, priors: np.ndarray, variances: np.ndarray, out: np.ndarray, code: int, scaled: bool
) -> Call:
    """Return the call that turns predicted locations into boxes.

    Parameters
    ----------
    locations, out : ndarray, images × priors × classes × 4
    priors : ndarray
        The priors, for all images or for each of them.
    variances : ndarray
        Four factors for each prior.
    code : int
        ``CORNER``, ``CENTER_SIZE`` or ``CORNER_SIZE``.
    scaled : bool
        Whether the locations are to be multiplied by the variances.
    """
    tasks, classes = locations.shape[0] * locations.shape[1], locations.shape[2]
    return call(
        _decode(code, scaled),
        tasks,
        locations.reshape(-1),
        priors.reshape(-1),
        variances.reshape(-1),
        out.reshape(-1),
        classes,
        work=locations.size * 20,
    )


def encode(boxes: np.ndarray, priors: np.ndarray, variances: np.ndarray, code: int, scaled: bool) -> np.ndarray:
    """Return the locations from which :func:`decode` would make these boxes of these priors, row by row."""
    low, high = priors[:, :2], priors[:, 2:]
    size = high - low
    if code == CENTER_SIZE:
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 - (low + high) / 2
        result = np.hstack([centre / size, np.log((boxes[:, 2:] - boxes[:, :2]) / size)])
    else:
        result = boxes - priors
        if code == CORNER_SIZE:
            result = result / np.hstack([size, size])
    return result / variances if scaled else result


def ranked(scores: np.ndarray, above: float = -np.inf, most: int | None = None) -> np.ndarray:
    """Return the places of the scores above a threshold, the highest first and of equal ones the first first."""
    places = np.flatnonzero(scores > above)
    return places[np.argsort(-scores[places], kind="stable")][:most]


class Suppression:
    """Non-maximum suppression of several lists of boxes at once.

    Parameters
    ----------
    boxes : ndarray, … × 4
        The boxes that all lists refer to.
    lists, length : int
        How many lists there are, and how many boxes each may name.
    room : int
        How many boxes of a list are taken at most.
    threshold : float
        Two boxes that overlap by more are the same thing.
    eta : float
        What the threshold is multiplied by for each box taken, as long as it is above one half.
    pixels : bool
        Whether boxes name their last pixel.

    Attributes
    ----------
    order : ndarray of int64, lists × length
        To be filled with numbers of boxes, the best first.
    counts : ndarray of int64
        To be filled with how many of each list count.
    kept : ndarray of int64, lists × room
        The boxes taken.
    kept_counts : ndarray of int64
        How many of each list.
    """

    def __init__(
        self,
        boxes: np.ndarray,
        lists: int,
        length: int,
        room: int,
        threshold: float,
        eta: float = 1.0,
        pixels: bool = False,
    ) -> None:
        self.order = np.zeros((lists, length), np.int64)
        self.counts = np.zeros(lists, np.int64)
        self.kept = np.zeros((lists, room), np.int64)
        self.kept_counts = np.zeros(lists, np.int64)
        self._call = call(
            _suppress,
            lists,
            boxes.reshape(-1),
            self.order.reshape(-1),
            self.counts,
            self.kept.reshape(-1),
            self.kept_counts,
            length,
            room,
            float(threshold),
            float(eta),
            int(pixels),
            work=lists * length * 100,
        )

    def fill(self, index: int, places: np.ndarray) -> None:
        """Set one list."""
        self.counts[index] = len(places)
        self.order[index, : len(places)] = places

    def __call__(self) -> None:
        """Fill ``kept`` and ``kept_counts``."""
        self._call()
