"""Batch normalization: statistics, normalization and their gradient.

A task is a channel: its values are read once from memory for the statistics and a second time from the cache for the
normalization. Sums are taken relative to a value near the mean, in float32 along a row and in float64 over the rows,
so that a large mean costs no digits.
"""

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels import arrays
from caffelite.kernels.launch import Call, call, kernel

#: Channels a task takes where there are no spatial axes, so that vectors run over channels.
_BLOCK = 16


@register_jitable
def _moments(x, c, channels, length, shift):
    """Return the sums over a channel of x - shift and of its square: float32 along a row, float64 over the rows."""
    total, squares = 0.0, 0.0
    for n in range(len(x) // (channels * length)):
        row = (n * channels + c) * length
        s, q = np.float32(0), np.float32(0)
        for i in range(length):
            d = x[row + i] - shift
            s += d
            q += d * d
        total += s
        squares += q
    return total, squares


@kernel
def _forward(begin, end, worker, x, y, channels, length, eps, fraction, mean_sum, variance_sum, factor, inverse):
    """Normalise with the statistics of the batch; x is [images][channels][length]; a task is a channel."""
    images = len(x) // (channels * length)
    count = images * length
    for c in range(begin, end):
        shift = x[c * length]
        total, squares = _moments(x, c, channels, length, shift)
        offset = total / count
        if abs(offset) * abs(offset) * count > 0.5 * squares:
            # The first value lay far from the mean: once more, from the mean itself.
            shift += x.dtype.type(offset)
            total, squares = _moments(x, c, channels, length, shift)
            offset = total / count
        mean = shift + offset
        variance = max(squares / count - offset * offset, 0.0)
        unbiased = variance * count / (count - 1) if count > 1 else variance
        mean_sum[c] = mean_sum[c] * np.float32(fraction) + x.dtype.type(mean)
        variance_sum[c] = variance_sum[c] * np.float32(fraction) + x.dtype.type(unbiased)
        if c == 0:
            factor[0] = factor[0] * np.float32(fraction) + np.float32(1)
        scale = x.dtype.type(1 / np.sqrt(variance + eps))
        inverse[c] = scale
        middle = x.dtype.type(offset)
        # From the last image to the first: what was read last is still in the nearest cache.
        for n in range(images - 1, -1, -1):
            row = (n * channels + c) * length
            for i in range(length):
                y[row + i] = (x[row + i] - shift - middle) * scale


@kernel
def _forward_rows(begin, end, worker, x, y, channels, eps, fraction, mean_sum, variance_sum, factor, inverse, sums):
    """The same for x of [images][channels]; a task is _BLOCK channels."""
    images = len(x) // channels
    mean, square, rest = sums[0], sums[1], sums[2]
    first, last = begin * _BLOCK, min(end * _BLOCK, channels)
    for c in range(first, last):
        mean[c] = np.float32(0)
        square[c] = np.float32(0)
        rest[c] = np.float32(0)
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            mean[c] += x[row + c] - x[c]
    for c in range(first, last):
        mean[c] = x[c] + mean[c] / np.float32(images)
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            d = x[row + c] - mean[c]
            square[c] += d * d
            rest[c] += d
    for c in range(first, last):
        # What the first pass over the rows lost to rounding.
        rest[c] /= np.float32(images)
        square[c] = max(square[c] - np.float32(images) * rest[c] * rest[c], np.float32(0))
        mean[c] += rest[c]
        variance = square[c] / np.float32(images)
        unbiased = square[c] / np.float32(images - 1) if images > 1 else variance
        mean_sum[c] = mean_sum[c] * np.float32(fraction) + mean[c]
        variance_sum[c] = variance_sum[c] * np.float32(fraction) + unbiased
        inverse[c] = np.float32(1) / np.sqrt(variance + np.float32(eps))
    if begin == 0:
        factor[0] = factor[0] * np.float32(fraction) + np.float32(1)
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            y[row + c] = (x[row + c] - mean[c]) * inverse[c]


@kernel
def _global_statistics(begin, end, worker, eps, mean_sum, variance_sum, factor, mean, inverse):
    """Divide the stored sums by their factor; a task is a channel."""
    scale = np.float32(0) if factor[0] == 0 else np.float32(1) / factor[0]
    for c in range(begin, end):
        mean[c] = mean_sum[c] * scale
        inverse[c] = np.float32(1) / np.sqrt(variance_sum[c] * scale + np.float32(eps))


@kernel
def _normalise(begin, end, worker, x, y, channels, length, mean, inverse):
    """y = (x - mean) * inverse for given statistics; a task is a channel of an image."""
    c = begin % channels
    for task in range(begin, end):
        row = task * length
        for i in range(length):
            y[row + i] = (x[row + i] - mean[c]) * inverse[c]
        c = c + 1 if c + 1 < channels else 0


@kernel
def _normalise_rows(begin, end, worker, x, y, channels, mean, inverse):
    """The same for x of [images][channels]; a task is an image."""
    for n in range(begin, end):
        row = n * channels
        for c in range(channels):
            y[row + c] = (x[row + c] - mean[c]) * inverse[c]


@kernel
def _scale(begin, end, worker, dy, dx, channels, length, inverse):
    """dx = dy * inverse: the gradient where the statistics are given; a task is an image."""
    for n in range(begin, end):
        for c in range(channels):
            row = (n * channels + c) * length
            for i in range(length):
                dx[row + i] = dy[row + i] * inverse[c]


@kernel
def _backward(begin, end, worker, y, dy, dx, channels, length, inverse):
    """dx = (dy - mean(dy) - y * mean(dy * y)) * inverse; a task is a channel."""
    images = len(y) // (channels * length)
    count = images * length
    for c in range(begin, end):
        total, product = 0.0, 0.0
        for n in range(images):
            row = (n * channels + c) * length
            s, q = np.float32(0), np.float32(0)
            for i in range(length):
                s += dy[row + i]
                q += dy[row + i] * y[row + i]
            total += s
            product += q
        mean, slope = y.dtype.type(total / count), y.dtype.type(product / count)
        scale = inverse[c]
        for n in range(images):
            row = (n * channels + c) * length
            for i in range(length):
                dx[row + i] = (dy[row + i] - mean - y[row + i] * slope) * scale


@kernel
def _backward_rows(begin, end, worker, y, dy, dx, channels, inverse, sums):
    """The same for [images][channels]; a task is _BLOCK channels."""
    images = len(y) // channels
    mean, slope = sums[0], sums[1]
    first, last = begin * _BLOCK, min(end * _BLOCK, channels)
    for c in range(first, last):
        mean[c] = np.float32(0)
        slope[c] = np.float32(0)
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            mean[c] += dy[row + c]
            slope[c] += dy[row + c] * y[row + c]
    for c in range(first, last):
        mean[c] /= np.float32(images)
        slope[c] /= np.float32(images)
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            dx[row + c] = (dy[row + c] - mean[c] - y[row + c] * slope[c]) * inverse[c]


def forward(
    x: np.ndarray, y: np.ndarray, channels: int, length: int, eps: float, fraction: float,
    stored: tuple[np.ndarray, np.ndarray, np.ndarray], inverse: np.ndarray,
) -> Call:  # fmt: skip
    """Return the call that normalises by the statistics of the batch and adds them to the stored ones.

    Parameters
    ----------
    x, y : ndarray of float32, one axis
        [images][channels][length]; ``y`` may be ``x``.
    eps : float
        Added to the variance.
    fraction : float
        What the stored sums are multiplied by first.
    stored : three ndarrays of float32
        Mean sum [channels], variance sum [channels] (of the unbiased variance, m / (m - 1)), factor [1].
    inverse : ndarray of float32, [channels]
        Is set to 1 / sqrt(variance + eps), for the gradient.
    """
    if length == 1:
        return call(_forward_rows, -(-channels // _BLOCK), x, y, channels, eps, fraction, *stored, inverse,
                    arrays.zeros((3, channels), x.dtype), work=x.size)  # fmt: skip
    return call(_forward, channels, x, y, channels, length, eps, fraction, *stored, inverse, work=x.size * 2)


def forward_global(
    x: np.ndarray, y: np.ndarray, channels: int, length: int, eps: float,
    stored: tuple[np.ndarray, np.ndarray, np.ndarray], mean: np.ndarray, inverse: np.ndarray,
) -> list[Call]:  # fmt: skip
    """Return the calls that normalise by the stored statistics (sums over factor; 0 where the factor is 0)."""
    statistics = call(_global_statistics, channels, eps, *stored, mean, inverse, work=channels * 4)
    if length == 1:
        return [statistics, call(_normalise_rows, x.size // channels, x, y, channels, mean, inverse, work=x.size)]
    return [statistics, call(_normalise, x.size // length, x, y, channels, length, mean, inverse, work=x.size)]


def backward(y: np.ndarray, dy: np.ndarray, dx: np.ndarray, channels: int, length: int, inverse: np.ndarray) -> Call:
    """Return the call of the gradient through mean and variance; ``y`` is the output, ``dx`` may be ``dy``."""
    if length == 1:
        return call(_backward_rows, -(-channels // _BLOCK), y, dy, dx, channels, inverse,
                    arrays.zeros((2, channels), y.dtype), work=y.size)  # fmt: skip
    return call(_backward, channels, y, dy, dx, channels, length, inverse, work=y.size * 2)


def backward_global(dy: np.ndarray, dx: np.ndarray, channels: int, length: int, inverse: np.ndarray) -> Call:
    """Return the call of the gradient where the statistics are given."""
    return call(_scale, dy.size // (channels * length), dy, dx, channels, length, inverse, work=dy.size)
