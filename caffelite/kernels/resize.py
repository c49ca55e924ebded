"""Resizing of two-dimensional maps: each value lies between two of the bottom along each axis.

A row of the result is made in two steps: the two rows of the bottom are combined, element by element, into one row in
scratch memory, and that is read at the places of the columns. The gradient goes the same way back. A task is a map. In
plain NumPy: ``naive.resize``.
"""

from dataclasses import dataclass

import numpy as np

from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel


@dataclass(frozen=True, slots=True)
class Places:
    """Where the values of one axis come from.

    Attributes
    ----------
    low, high : ndarray of int64
        For each value of the result the two of the bottom that it lies between.
    weight : ndarray of float
        The share of ``high``; empty where each value is that of ``low`` alone.
    size : int
        The size of the bottom.
    """

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray
    size: int

    def __len__(self) -> int:
        return len(self.low)


def between(position: np.ndarray, first: int, last: int, size: int, dtype: np.dtype) -> Places:
    """Return the places for positions from ``first`` on (0 is ``first``), of an axis that is used up to ``last``."""
    low = np.minimum(np.floor(position).astype(np.int64), last - first)
    weight = (position - low).astype(dtype)
    return Places(low + first, np.minimum(low + 1, last - first) + first, weight, size)


def at(index: np.ndarray, size: int, dtype: np.dtype) -> Places:
    """Return the places where each value is one of the bottom."""
    index = index.astype(np.int64)
    return Places(index, index, np.zeros(0, dtype), size)


@kernel
def _forward(begin, end, worker, x, y, h, w, top, bottom, down, left, right, across, rows):
    """y = between two rows and two columns of x.

    Parameters
    ----------
    x, y : ndarray of float, [maps][h][w] and [maps][height][width]
        ``y`` is set.
    h, w : int
    top, bottom : ndarray of int64, [height]
        The rows of x that a row of y lies between.
    down : ndarray of float, [height] or [0]
        The share of ``bottom``; none where each row is that of ``top`` alone.
    left, right, across
        The same for columns, [width].
    rows : ndarray of float, [threads][w]: scratch.
    """
    row = rows[worker]
    height, width = len(top), len(left)
    for task in range(begin, end):
        for i in range(height):
            one = (task * h + top[i]) * w
            if len(down):
                two = (task * h + bottom[i]) * w
                share = down[i]
                rest = np.float32(1) - share
                for j in range(w):
                    row[j] = x[one + j] * rest + x[two + j] * share
            else:
                for j in range(w):
                    row[j] = x[one + j]
            out = (task * height + i) * width
            if len(across):
                for j in range(width):
                    y[out + j] = row[left[j]] * (np.float32(1) - across[j]) + row[right[j]] * across[j]
            else:
                for j in range(width):
                    y[out + j] = row[left[j]]


@kernel
def _backward(begin, end, worker, dy, dx, h, w, top, bottom, down, left, right, across, rows):
    """dx = the sum of the shares that its values had in dy.

    ``dy`` is [maps][height][width], ``dx``, [maps][h][w], is set; the rest is as in :func:`_forward`.
    """
    row = rows[worker]
    height, width = len(top), len(left)
    for task in range(begin, end):
        for i in range(task * h * w, (task + 1) * h * w):
            dx[i] = np.float32(0)
        for i in range(height):
            for j in range(w):
                row[j] = np.float32(0)
            out = (task * height + i) * width
            if len(across):
                for j in range(width):
                    row[left[j]] += dy[out + j] * (np.float32(1) - across[j])
                    row[right[j]] += dy[out + j] * across[j]
            else:
                for j in range(width):
                    row[left[j]] += dy[out + j]
            one = (task * h + top[i]) * w
            if len(down):
                two = (task * h + bottom[i]) * w
                share = down[i]
                rest = np.float32(1) - share
                for j in range(w):
                    dx[one + j] += row[j] * rest
                for j in range(w):
                    dx[two + j] += row[j] * share
            else:
                for j in range(w):
                    dx[one + j] += row[j]


def _tables(vertical: Places, horizontal: Places, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    scratch = arrays.zeros((settings.threads(), horizontal.size), dtype)
    return (vertical.low, vertical.high, vertical.weight, horizontal.low, horizontal.high, horizontal.weight, scratch)


def forward(x: np.ndarray, y: np.ndarray, vertical: Places, horizontal: Places) -> Call:
    """Return the call that resizes the last two axes of ``x``."""
    h, w = vertical.size, horizontal.size
    return call(
        _forward,
        x.size // (h * w),
        x.reshape(-1),
        y.reshape(-1),
        h,
        w,
        *_tables(vertical, horizontal, x.dtype),
        work=y.size * 4 + len(vertical) * w,
    )


def backward(dy: np.ndarray, dx: np.ndarray, vertical: Places, horizontal: Places) -> Call:
    """Return the call that computes the gradient of :func:`forward`."""
    h, w = vertical.size, horizontal.size
    return call(
        _backward,
        dx.size // (h * w),
        dy.reshape(-1),
        dx.reshape(-1),
        h,
        w,
        *_tables(vertical, horizontal, dx.dtype),
        work=dy.size * 4 + len(vertical) * w,
    )
