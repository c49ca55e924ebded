"""Stochastic pooling: one element of each window, drawn with a probability that is its share of the window's sum.

Zeiler and Fergus, "Stochastic Pooling for Regularization of Deep Convolutional Neural Networks", 2013. Values are not
negative and maps have no pad. A task is a map. Plain loops: ``naive.expected_pooling`` for the mean; what is drawn is
told by ``naive.drawn_pooling``.
"""

import numpy as np

from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.functions import FLT_MIN, random32
from caffelite.kernels.pooling.windows import Windows, maps_in


@kernel
def _draw(begin, end, worker, x, y, chosen, g, seed, passes, first):
    """y = the element drawn: the first at which the window's running sum reaches a random share of its sum.

    Parameters
    ----------
    x : ndarray of float, [maps][height][width]
    y : ndarray of float, [maps][out_h][out_w]
        Is set.
    chosen : ndarray of int64, [maps][out_h][out_w]
        Is set to where the element is in its map.
    g : Windows
    seed : int
    passes : ndarray of int64, [1]
        The number of the pass: the draw of window i depends on it, ``seed`` and ``first + i`` alone.
    first : int
        How many windows of the batch come before these.
    """
    h, w = g.height, g.width
    for task in range(begin, end):
        for oy in range(g.out_h):
            for ox in range(g.out_w):
                out = (task * g.out_h + oy) * g.out_w + ox
                top, left = oy * g.stride_h, ox * g.stride_w
                bottom, right = min(top + g.kernel_h, h), min(left + g.kernel_w, w)
                total = np.float32(0)
                for i in range(top, bottom):
                    for j in range(left, right):
                        total += x[(task * h + i) * w + j]
                limit = random32(seed, passes[0], first + out) * total
                # Where no partial sum reaches the limit, it is the last one.
                place = (bottom - 1) * w + right - 1
                partial = np.float32(0)
                reached = False
                for i in range(top, bottom):
                    for j in range(left, right):
                        partial += x[(task * h + i) * w + j]
                        if not reached and partial >= limit:
                            place = i * w + j
                            reached = True
                chosen[out] = place
                y[out] = x[task * h * w + place]


@kernel
def _draw_backward(begin, end, worker, dy, chosen, dx, g):
    """dx = the sum of dy of the windows that drew an element, else 0.

    Parameters
    ----------
    dy : ndarray of float, [maps][out_h][out_w]
    chosen : ndarray of int64, [maps][out_h][out_w]
        As :func:`_draw` set it.
    dx : ndarray of float, [maps][height][width]
        Is set.
    g : Windows
    """
    plane, windows = g.height * g.width, g.out_h * g.out_w
    for task in range(begin, end):
        for i in range(task * plane, (task + 1) * plane):
            dx[i] = np.float32(0)
        for out in range(task * windows, (task + 1) * windows):
            dx[task * plane + chosen[out]] += dy[out]


@kernel
def _expect(begin, end, worker, x, y, g):
    """y = sum of x² / sum of x over each window.

    Parameters
    ----------
    x : ndarray of float, [maps][height][width]
    y : ndarray of float, [maps][out_h][out_w]
        Is set.
    g : Windows
    """
    h, w = g.height, g.width
    for task in range(begin, end):
        for oy in range(g.out_h):
            for ox in range(g.out_w):
                top, left = oy * g.stride_h, ox * g.stride_w
                total, squares = FLT_MIN, np.float32(0)
                for i in range(top, min(top + g.kernel_h, h)):
                    for j in range(left, min(left + g.kernel_w, w)):
                        v = x[(task * h + i) * w + j]
                        total += v
                        squares += v * v
                y[(task * g.out_h + oy) * g.out_w + ox] = squares / total


@kernel
def _expect_backward(begin, end, worker, x, y, dy, dx, g):
    """dx = the sum over windows of dy · (2 x - y) / sum of x.

    Parameters
    ----------
    x : ndarray of float, [maps][height][width]
    y, dy : ndarray of float, [maps][out_h][out_w]
        ``y`` as :func:`_expect` set it.
    dx : ndarray of float, [maps][height][width]
        Is set.
    g : Windows
    """
    h, w = g.height, g.width
    for task in range(begin, end):
        for i in range(task * h * w, (task + 1) * h * w):
            dx[i] = np.float32(0)
        for oy in range(g.out_h):
            for ox in range(g.out_w):
                out = (task * g.out_h + oy) * g.out_w + ox
                top, left = oy * g.stride_h, ox * g.stride_w
                bottom, right = min(top + g.kernel_h, h), min(left + g.kernel_w, w)
                total = FLT_MIN
                for i in range(top, bottom):
                    for j in range(left, right):
                        total += x[(task * h + i) * w + j]
                for i in range(top, bottom):
                    for j in range(left, right):
                        place = (task * h + i) * w + j
                        dx[place] += dy[out] * (x[place] + x[place] - y[out]) / total


def draw(
    g: Windows, x: np.ndarray, y: np.ndarray, chosen: np.ndarray, seed: int, passes: np.ndarray, first: int = 0
) -> Call:
    """Return the call that draws an element of each window, for pass number ``passes[0]``.

    Parameters
    ----------
    g : Windows
    x, y : ndarray of float32
        Maps, and what was drawn of each window.
    chosen : ndarray of int64, one axis
        Is set to the place of each in its map.
    seed : int
    passes : ndarray of int64, one value
    first : int, optional
        How many windows of the batch come before these.
    """
    work = y.size * g.area * 3
    return call(_draw, maps_in(g, x), x.reshape(-1), y.reshape(-1), chosen, g, seed, passes, first, work=work)


def draw_backward(g: Windows, dy: np.ndarray, chosen: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`draw`."""
    return call(_draw_backward, maps_in(g, dx), dy.reshape(-1), chosen, dx.reshape(-1), g, work=dx.size + dy.size)


def expect(g: Windows, x: np.ndarray, y: np.ndarray) -> Call:
    """Return the call that computes what :func:`draw` gives on average."""
    return call(_expect, maps_in(g, x), x.reshape(-1), y.reshape(-1), g, work=y.size * g.area * 2)


def expect_backward(g: Windows, x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> Call:
    """Return the call that computes the gradient of :func:`expect`."""
    values = x.reshape(-1), y.reshape(-1), dy.reshape(-1), dx.reshape(-1)
    return call(_expect_backward, maps_in(g, x), *values, g, work=y.size * g.area * 4)
