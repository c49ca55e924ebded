"""Pooling of two-dimensional maps.

Windows that overlap or are small are pooled many at a time (:mod:`.planes`). Here are the others, as large as the map
or nearly: one after the other, along its rows. A task is a map. Plain loops: ``naive.pooling``.
"""

from typing import NamedTuple

import numpy as np

from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.pooling import planes
from caffelite.kernels.pooling.windows import Windows, maps_in
from caffelite.kernels.tiles.lanes import LOWEST


class Corners(NamedTuple):
    """What leads from a window to the place of its first element in the map; :func:`_corners` computes it.

    Attributes
    ----------
    length : int
        Elements of a map.
    out_h, out_w : int
        Windows along each axis.
    pitch : int
        Elements of the index from a row of windows to the next.
    corner : int
        Place of the first element of the first window; negative where that lies in the padding.
    down, across : int
        How much further it is for the next window along each axis.
    """

    length: int
    out_h: int
    out_w: int
    pitch: int
    corner: int
    down: int
    across: int


@kernel
def _max_forward(begin, end, worker, x, y, index, g):
    """y = the largest of each window.

    Parameters
    ----------
    x : ndarray of float, [maps][height][width]
    y : ndarray of float, [maps][out_h][out_w]
        Is set.
    index : ndarray of uint8 or int32, [maps][out_h][out_w] or [0]
        Is set to the place of the largest in its window, row by row, the first of equals. Where nothing is larger than
        the lowest number (a window beyond the map, or of NaN), it is the window's area.
    g : Windows
    """
    h, w = g.height, g.width
    for window in range(begin * g.out_h * g.out_w, end * g.out_h * g.out_w):
        first = window // g.out_w % g.out_h * g.stride_h - g.pad_h
        column = window % g.out_w * g.stride_w - g.pad_w
        plane = window // (g.out_h * g.out_w) * h * w
        best = x.dtype.type(LOWEST)
        place = g.kernel_h * g.kernel_w
        for row in range(max(first, 0), min(first + g.kernel_h, h)):
            line = plane + row * w
            for i in range(line + max(column, 0), line + min(column + g.kernel_w, w)):
                better = x[i] > best
                best = x[i] if better else best
                place = (row - first) * g.kernel_w + i - line - column if better else place
        y[window] = best
        if len(index):
            index[window] = place


@kernel
def _max_backward(begin, end, worker, dy, index, places, dx, c):
    """dx = dy where the largest was, summed over windows.

    Parameters
    ----------
    dy : ndarray of float, [maps][out_h][out_w]
    index : ndarray of uint8 or int32, [maps][out_h][pitch]
        The place of the largest in its window.
    places : ndarray of int64, [area + 1]
        For each index its distance from the corner of its window; what lies beyond the map is left out.
    dx : ndarray of float, [maps][length]
        Is set.
    c : Corners
    """
    for task in range(begin, end):
        plane = task * c.length
        for i in range(c.length):
            dx[plane + i] = np.float32(0)
        for oy in range(c.out_h):
            row = task * c.out_h + oy
            for ox in range(c.out_w):
                place = c.corner + oy * c.down + ox * c.across + places[index[row * c.pitch + ox]]
                if place < c.length:
                    dx[plane + place] += dy[row * c.out_w + ox]


@kernel
def _mask(begin, end, worker, index, places, mask, c):
    """mask = the place of the largest in its map, as a float; -1 where there is none.

    Parameters
    ----------
    index : ndarray of uint8 or int32, [maps][out_h][pitch]
    places : ndarray of int64, [area + 1]
        As in :func:`_max_backward`.
    mask : ndarray of float, [maps][out_h][out_w]
        Is set.
    c : Corners
    """
    for task in range(begin, end):
        for row in range(task * c.out_h, (task + 1) * c.out_h):
            for ox in range(c.out_w):
                oy = row - task * c.out_h
                place = c.corner + oy * c.down + ox * c.across + places[index[row * c.pitch + ox]]
                mask[row * c.out_w + ox] = place if place < c.length else -1


@kernel
def _average_forward(begin, end, worker, x, y, g, down, across):
    """y = the sum of each window over the number of elements it counts.

    Parameters
    ----------
    x : ndarray of float, [maps][height][width]
    y : ndarray of float, [maps][out_h][out_w]
        Is set.
    g : Windows
    down, across : ndarray of float32, [out_h] and [out_w]
        How many elements a window counts along each axis: ``Windows.divisors``.
    """
    h, w = g.height, g.width
    for window in range(begin * g.out_h * g.out_w, end * g.out_h * g.out_w):
        oy, ox = window // g.out_w % g.out_h, window % g.out_w
        first, column = oy * g.stride_h - g.pad_h, ox * g.stride_w - g.pad_w
        start = max(column, 0)
        length = max(min(column + g.kernel_w, w) - start, 0)
        line = window // (g.out_h * g.out_w) * h * w + max(first, 0) * w + start
        rows = min(first + g.kernel_h, h) - max(first, 0)
        if length == w:
            # All of the rows: they are one.
            length, rows = rows * w, 1
        total = x.dtype.type(0)
        for row in range(rows):
            # A sum of its own for each row: they do not wait for each other.
            part = x.dtype.type(0)
            for i in range(line + row * w, line + row * w + length):
                part += x[i]
            total += part
        y[window] = total / (down[oy] * across[ox])


@kernel
def _average_backward(begin, end, worker, dy, dx, g, down, across):
    """dx = the sum over windows of dy over the number of elements.

    Parameters
    ----------
    dy : ndarray of float, [maps][out_h][out_w]
    dx : ndarray of float, [maps][height][width]
        Is set.
    g : Windows
    down, across : ndarray of float32, [out_h] and [out_w]
        As in :func:`_average_forward`.
    """
    h, w = g.height, g.width
    for i in range(begin * h * w, end * h * w):
        dx[i] = np.float32(0)
    for window in range(begin * g.out_h * g.out_w, end * g.out_h * g.out_w):
        oy, ox = window // g.out_w % g.out_h, window % g.out_w
        first, column = oy * g.stride_h - g.pad_h, ox * g.stride_w - g.pad_w
        plane = window // (g.out_h * g.out_w) * h * w
        share = dx.dtype.type(dy[window] / (down[oy] * across[ox]))
        for row in range(max(first, 0), min(first + g.kernel_h, h)):
            line = plane + row * w
            for i in range(line + max(column, 0), line + min(column + g.kernel_w, w)):
                dx[i] += share


def index_array(g: Windows, maps: int) -> np.ndarray:
    """Return memory for the places of the largest elements."""
    if planes.fits(g):
        return planes.index_array(g, maps)
    return arrays.zeros(maps * g.out_h * g.out_w, planes.index_type(g))


def max_forward(g: Windows, x: np.ndarray, y: np.ndarray, index: np.ndarray | None) -> Call:
    """Return the call that computes the largest of each window.

    Parameters
    ----------
    g : Windows
    x, y : ndarray of float32
        Maps, and an element for each of their windows.
    index : ndarray or None
        That of :func:`index_array`, to be set to where the largest are.
    """
    if planes.fits(g):
        return planes.max_forward(g, x, y, index)
    index = np.empty(0, planes.index_type(g)) if index is None else index
    return call(_max_forward, maps_in(g, x), x.reshape(-1), y.reshape(-1), index, g, work=y.size * g.area)


def _corners(g: Windows) -> tuple[np.ndarray, Corners]:
    """Return the distance of each index from the corner of its window, and what leads to that corner."""
    w = g.width
    inside = np.arange(g.kernel_h)[:, None] * w + np.arange(g.kernel_w)
    places = np.append(inside.reshape(-1), np.iinfo(np.int64).max // 2).astype(np.int64)
    pitch = planes.pitch(g) if planes.fits(g) else g.out_w
    corner = -g.pad_h * w - g.pad_w
    return places, Corners(g.height * w, g.out_h, g.out_w, pitch, corner, g.stride_h * w, g.stride_w)


def max_backward(g: Windows, dy: np.ndarray, index: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`max_forward`."""
    places, corners = _corners(g)
    work = dx.size + dy.size * 4
    return call(_max_backward, maps_in(g, dx), dy.reshape(-1), index, places, dx.reshape(-1), corners, work=work)


def mask(g: Windows, index: np.ndarray, out: np.ndarray) -> Call:
    """Return the call that writes, for each window, the place of its largest element in the map; -1 for none."""
    places, corners = _corners(g)
    return call(_mask, out.size // (g.out_h * g.out_w), index, places, out.reshape(-1), corners, work=out.size)


def average_forward(g: Windows, x: np.ndarray, y: np.ndarray) -> Call:
    """Return the call that computes the mean of each window, padding counted as zeros."""
    if planes.fits(g):
        return planes.average_forward(g, x, y)
    divisors = g.divisors(0), g.divisors(1)
    return call(_average_forward, maps_in(g, x), x.reshape(-1), y.reshape(-1), g, *divisors, work=y.size * g.area)


def average_backward(g: Windows, dy: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`average_forward`."""
    if planes.fits(g):
        return planes.average_backward(g, dy, dx)
    divisors, work = (g.divisors(0), g.divisors(1)), dx.size + dy.size * g.area
    return call(_average_backward, maps_in(g, dx), dy.reshape(-1), dx.reshape(-1), g, *divisors, work=work)
