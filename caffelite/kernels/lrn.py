"""Local response normalization, over neighbouring channels or over neighbouring pixels.

With sums over the n neighbours j of an element i, itself among them::

    scale[i] = k + alpha / n · sum(x[j]²)        y[i] = x[i] · scale[i] ^ -beta
    dx[i] = dy[i] · scale[i] ^ -beta - 2 · alpha · beta / n · x[i] · sum(dy[j] · y[j] / scale[j])

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012, section 3.3.
Plain NumPy: ``naive_lrn``. What all kernels take:

x, y, dy, dx, scale : ndarray of float
    [images][channels][length], or [maps][h][w]; kernels of the forward pass set ``scale`` and ``y``.
half : int
    How many neighbours there are on each side.
share : float
    alpha / n.
"""

from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.functions import exp32, log32

#: Tasks that a few images are cut into, in whole pieces of so many pixels. A power of a single element and that of a
#: vector of them may differ in the last bit, so where they are cut must not depend on the threads.
_TASKS, _PIECE = 16, 64


def _minus_power(beta: float) -> Callable[..., float]:
    """Return the scalar function ``s ** -beta``, without a logarithm where square roots do."""
    if beta == 0.75:
        return register_jitable(lambda s: np.float32(1) / (np.sqrt(s) * np.sqrt(np.sqrt(s))))
    if beta == 0.5:
        return register_jitable(lambda s: np.float32(1) / np.sqrt(s))
    if beta == 1.0:
        return register_jitable(lambda s: np.float32(1) / s)
    exponent = np.float32(-beta)
    return register_jitable(lambda s: exp32(exponent * log32(s)))


@specialised
def _across_forward(beta: float) -> Callable[..., None]:
    """Make the kernel for neighbouring channels."""
    minus_power = _minus_power(beta)

    def forward(begin, end, worker, x, y, scale, channels, length, parts, half, share, k):
        """scale = k + share · sum of squares of the channels around; y = x · scale^-beta.

        A task is one of ``parts`` runs of the ``length`` pixels of an image, in all of its ``channels``.
        """
        a, offset, pieces = np.float32(share), np.float32(k), (length + _PIECE - 1) // _PIECE
        for task in range(begin, end):
            image, part = task // parts * channels * length, task % parts
            first, last = part * pieces // parts * _PIECE, min((part + 1) * pieces // parts * _PIECE, length)
            for c in range(channels):
                row = image + c * length
                for i in range(first, last):
                    scale[row + i] = offset
                for other in range(max(c - half, 0), min(c + half + 1, channels)):
                    near = image + other * length
                    for i in range(first, last):
                        scale[row + i] += a * x[near + i] * x[near + i]
                for i in range(first, last):
                    y[row + i] = x[row + i] * minus_power(scale[row + i])

    return forward


@specialised
def _across_backward(beta: float) -> Callable[..., None]:
    """Make the kernel of the gradient for neighbouring channels."""
    minus_power = _minus_power(beta)

    def backward(begin, end, worker, x, y, dy, dx, scale, channels, length, half, share, ratios, sums):
        """dx = dy · scale^-beta - 2 beta share · x · sum of dy · y / scale around; a task is an image.

        ``ratios``, [threads][channels around][length], is a ring of rows: dy · y / scale of each channel, computed
        once. ``sums``, [threads][length], is scratch too.
        """
        a = np.float32(2 * beta * share)
        ring, total = ratios[worker], sums[worker]
        for n in range(begin, end):
            image = n * channels * length
            for c in range(-half, channels):
                entering = c + half
                if entering < channels:
                    near, ratio = image + entering * length, ring[entering % len(ring)]
                    for i in range(length):
                        ratio[i] = dy[near + i] * y[near + i] / scale[near + i]
                if c >= 0:
                    for i in range(length):
                        total[i] = np.float32(0)
                    for other in range(max(c - half, 0), min(c + half + 1, channels)):
                        ratio = ring[other % len(ring)]
                        for i in range(length):
                            total[i] += ratio[i]
                    row = image + c * length
                    for i in range(length):
                        dx[row + i] = dy[row + i] * minus_power(scale[row + i]) - a * x[row + i] * total[i]

    return backward


@register_jitable
def _box(source, target, columns, h, w, half):
    """target = the sum of source over a square around each pixel of a map, zero outside.

    All are [h · w]; ``columns`` is scratch.

    The map is taken as one long row, as its own rows are short: what is a row away is w elements away. Sums along a row
    then run on into the next row at its ends, and are computed anew there.
    """
    length = h * w
    for i in range(length):
        columns[i] = source[i]
    for shift in range(1, min(half, h - 1) + 1):
        far = shift * w
        for i in range(length - far):
            columns[i] += source[far + i]
        for i in range(length - far):
            columns[far + i] += source[i]
    for i in range(length):
        target[i] = columns[i]
    for shift in range(1, min(half, w - 1) + 1):
        for i in range(length - shift):
            target[i] += columns[shift + i]
        for i in range(length - shift):
            target[shift + i] += columns[i]
    for row in range(h):
        for j in range(w):
            if j < half or j >= w - half:
                total = np.float32(0)
                for other in range(max(j - half, 0), min(j + half + 1, w)):
                    total += columns[row * w + other]
                target[row * w + j] = total


@specialised
def _within_forward(beta: float) -> Callable[..., None]:
    """Make the kernel for neighbouring pixels."""
    minus_power = _minus_power(beta)

    def forward(begin, end, worker, x, y, scale, h, w, half, share, scratch):
        """scale = 1 + share · sum of squares around; y = x · scale^-beta; a task is a map.

        ``scratch`` is [threads][2][h · w].
        """
        length = h * w
        a = np.float32(share)
        squares, columns = scratch[worker, 0], scratch[worker, 1]
        for task in range(begin, end):
            plane = task * length
            for i in range(length):
                squares[i] = x[plane + i] * x[plane + i]
            _box(squares, scale[plane : plane + length], columns, h, w, half)
            for i in range(length):
                s = np.float32(1) + a * scale[plane + i]
                scale[plane + i] = s
                y[plane + i] = x[plane + i] * minus_power(s)

    return forward


@specialised
def _within_backward(beta: float) -> Callable[..., None]:
    """Make the kernel of the gradient for neighbouring pixels."""
    minus_power = _minus_power(beta)

    def backward(begin, end, worker, x, y, dy, dx, scale, h, w, half, share, scratch):
        """dx as for neighbouring channels; a task is a map. ``scratch`` is [threads][3][h · w]."""
        length = h * w
        a = np.float32(2 * beta * share)
        ratio, total, columns = scratch[worker, 0], scratch[worker, 1], scratch[worker, 2]
        for task in range(begin, end):
            plane = task * length
            for i in range(length):
                ratio[i] = dy[plane + i] * y[plane + i] / scale[plane + i]
            _box(ratio, total, columns, h, w, half)
            for i in range(length):
                dx[plane + i] = dy[plane + i] * minus_power(scale[plane + i]) - a * x[plane + i] * total[i]

    return backward


def across_forward(
    x: np.ndarray, y: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float, k: float
) -> Call:
    """Return the call that normalises over neighbouring channels.

    Parameters
    ----------
    x, y, scale : ndarray of float32
        Images x channels x height x width; ``scale`` is set to what is raised to -beta, for the gradient.
    size : int
        Channels a sum is taken over, odd.
    alpha, beta, k : float
        ``y = x * (k + alpha / size * sum of squares) ** -beta``.
    """
    n, c = x.shape[:2]
    length = x.size // (n * c)
    parts = min(-(-_TASKS // n), -(-length // _PIECE))
    return call(
        _across_forward(beta),
        n * parts,
        x.reshape(-1),
        y.reshape(-1),
        scale.reshape(-1),
        c,
        length,
        parts,
        size // 2,
        alpha / size,
        float(k),
        work=x.size * (min(size, c) + 8),
    )


def across_backward(
    x: np.ndarray,
    y: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray,
    scale: np.ndarray,
    size: int,
    alpha: float,
    beta: float,
) -> Call:
    """Return the call of the gradient of :func:`across_forward`; ``dx`` is not ``dy``."""
    n, c = x.shape[:2]
    length, half = x.size // (n * c), min(size // 2, c - 1)
    ring = arrays.zeros((settings.threads(), min(2 * half + 1, c), length), x.dtype)
    return call(
        _across_backward(beta),
        n,
        x.reshape(-1),
        y.reshape(-1),
        dy.reshape(-1),
        dx.reshape(-1),
        scale.reshape(-1),
        c,
        length,
        half,
        alpha / size,
        ring,
        arrays.zeros((settings.threads(), length), x.dtype),
        work=x.size * (min(size, c) + 8),
    )


def within_forward(x: np.ndarray, y: np.ndarray, scale: np.ndarray, size: int, alpha: float, beta: float) -> Call:
    """Return the call that normalises over ``size`` x ``size`` pixels of each map: see :func:`across_forward`."""
    n, c, h, w = x.shape
    half = min(size // 2, max(h, w))
    return call(
        _within_forward(beta),
        n * c,
        x.reshape(-1),
        y.reshape(-1),
        scale.reshape(-1),
        h,
        w,
        half,
        alpha / size**2,
        arrays.zeros((settings.threads(), 2, h * w), x.dtype),
        work=x.size * (4 * half + 10),
    )


def within_backward(
    x: np.ndarray,
    y: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray,
    scale: np.ndarray,
    size: int,
    alpha: float,
    beta: float,
) -> Call:
    """Return the call of the gradient of :func:`within_forward`; ``dx`` may be ``dy``."""
    n, c, h, w = x.shape
    half = min(size // 2, max(h, w))
    return call(
        _within_backward(beta),
        n * c,
        x.reshape(-1),
        y.reshape(-1),
        dy.reshape(-1),
        dx.reshape(-1),
        scale.reshape(-1),
        h,
        w,
        half,
        alpha / size**2,
        arrays.zeros((settings.threads(), 3, h * w), x.dtype),
        work=x.size * (4 * half + 10),
    )
