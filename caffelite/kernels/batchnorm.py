"""Batch normalization: statistics, normalization and their gradient.

A task is a channel: its values are read once from memory for the statistics and a second time from the cache for the
normalization. Sums are taken relative to a value near the mean, in float32 along a row and in float64 over the rows,
so that a large mean costs no digits.
"""

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels import arrays, settings
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
            shift += np.float32(offset)
            total, squares = _moments(x, c, channels, length, shift)
            offset = total / count
        mean = shift + offset
        variance = max(squares / count - offset * offset, 0.0)
        unbiased = variance * count / (count - 1) if count > 1 else variance
        mean_sum[c] = mean_sum[c] * np.float32(fraction) + np.float32(mean)
        variance_sum[c] = variance_sum[c] * np.float32(fraction) + np.float32(unbiased)
        if c == 0:
            factor[0] = factor[0] * np.float32(fraction) + np.float32(1)
        scale = np.float32(1 / np.sqrt(variance + eps))
        inverse[c] = scale
        middle = np.float32(offset)
        for n in range(images):
            row = (n * channels + c) * length
            for i in range(length):
                y[row + i] = (x[row + i] - shift - middle) * scale


@kernel
def _forward_rows(begin, end, worker, x, y, channels, eps, fraction, mean_sum, variance_sum, factor, inverse, scratch):
    """The same for x of [images][channels]; a task is _BLOCK channels."""
    images = len(x) // channels
    mean, square, rest = scratch[worker, 0], scratch[worker, 1], scratch[worker, 2]
    for task in range(begin, end):
        first, last = task * _BLOCK, min(task * _BLOCK + _BLOCK, channels)
        wide = last - first
        for j in range(wide):
            mean[j] = np.float32(0)
            square[j] = np.float32(0)
            rest[j] = np.float32(0)
        for n in range(images):
            row = n * channels + first
            for j in range(wide):
                mean[j] += x[row + j] - x[first + j]
        for j in range(wide):
            mean[j] = x[first + j] + mean[j] / np.float32(images)
        for n in range(images):
            row = n * channels + first
            for j in range(wide):
                d = x[row + j] - mean[j]
                square[j] += d * d
                rest[j] += d
        for j in range(wide):
            c = first + j
            # What the first pass over the rows lost to rounding.
            rest[j] /= np.float32(images)
            square[j] = max(square[j] - np.float32(images) * rest[j] * rest[j], np.float32(0))
            mean[j] += rest[j]
            variance = square[j] / np.float32(images)
            unbiased = square[j] / np.float32(images - 1) if images > 1 else variance
            mean_sum[c] = mean_sum[c] * np.float32(fraction) + mean[j]
            variance_sum[c] = variance_sum[c] * np.float32(fraction) + unbiased
            square[j] = np.float32(1) / np.sqrt(variance + np.float32(eps))
            inverse[c] = square[j]
        if task == 0:
            factor[0] = factor[0] * np.float32(fraction) + np.float32(1)
        for n in range(images):
            row = n * channels + first
            for j in range(wide):
                y[row + j] = (x[row + j] - mean[j]) * square[j]


@kernel
def _global_statistics(begin, end, worker, eps, mean_sum, variance_sum, factor, mean, inverse):
    """Divide the stored sums by their factor; a task is a channel."""
    scale = np.float32(0) if factor[0] == 0 else np.float32(1) / factor[0]
    for c in range(begin, end):
        mean[c] = mean_sum[c] * scale
        inverse[c] = np.float32(1) / np.sqrt(variance_sum[c] * scale + np.float32(eps))


@kernel
def _normalise(begin, end, worker, x, y, channels, length, mean, inverse):
    """y = (x - mean) * inverse for given statistics; a task is an image."""
    for n in range(begin, end):
        if length == 1:
            for c in range(channels):
                y[n * channels + c] = (x[n * channels + c] - mean[c]) * inverse[c]
        else:
            for c in range(channels):
                row = (n * channels + c) * length
                for i in range(length):
                    y[row + i] = (x[row + i] - mean[c]) * inverse[c]


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
        mean, slope = np.float32(total / count), np.float32(product / count)
        scale = inverse[c]
        for n in range(images):
            row = (n * channels + c) * length
            for i in range(length):
                dx[row + i] = (dy[row + i] - mean - y[row + i] * slope) * scale


@kernel
def _backward_rows(begin, end, worker, y, dy, dx, channels, inverse, scratch):
    """The same for [images][channels]; a task is _BLOCK channels."""
    images = len(y) // channels
    mean, slope = scratch[worker, 0], scratch[worker, 1]
    for task in range(begin, end):
        first, last = task * _BLOCK, min(task * _BLOCK + _BLOCK, channels)
        wide = last - first
        for j in range(wide):
            mean[j] = np.float32(0)
            slope[j] = np.float32(0)
        for n in range(images):
            row = n * channels + first
            for j in range(wide):
                mean[j] += dy[row + j]
                slope[j] += dy[row + j] * y[row + j]
        for j in range(wide):
            mean[j] /= np.float32(images)
            slope[j] /= np.float32(images)
        for n in range(images):
            row = n * channels + first
            for j in range(wide):
                dx[row + j] = (dy[row + j] - mean[j] - y[row + j] * slope[j]) * inverse[first + j]


def _scratch() -> np.ndarray:
    return arrays.zeros((settings.threads(), 3, _BLOCK))


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
        return call(_forward_rows, -(-channels // _BLOCK), x, y, channels, eps, fraction, *stored, inverse, _scratch(),
                    work=x.size)  # fmt: skip
    return call(_forward, channels, x, y, channels, length, eps, fraction, *stored, inverse, work=x.size * 2)


def forward_global(
    x: np.ndarray, y: np.ndarray, channels: int, length: int, eps: float,
    stored: tuple[np.ndarray, np.ndarray, np.ndarray], mean: np.ndarray, inverse: np.ndarray,
) -> list[Call]:  # fmt: skip
    """Return the calls that normalise by the stored statistics (sums over factor; 0 where the factor is 0)."""
    return [
        call(_global_statistics, channels, eps, *stored, mean, inverse, work=channels * 4),
        call(_normalise, x.size // (channels * length), x, y, channels, length, mean, inverse, work=x.size),
    ]


def backward(y: np.ndarray, dy: np.ndarray, dx: np.ndarray, channels: int, length: int, inverse: np.ndarray) -> Call:
    """Return the call of the gradient through mean and variance; ``y`` is the output, ``dx`` may be ``dy``."""
    if length == 1:
        return call(_backward_rows, -(-channels // _BLOCK), y, dy, dx, channels, inverse, _scratch(), work=y.size)
    return call(_backward, channels, y, dy, dx, channels, length, inverse, work=y.size * 2)


def backward_global(dy: np.ndarray, dx: np.ndarray, channels: int, length: int, inverse: np.ndarray) -> Call:
    """Return the call of the gradient where the statistics are given."""
    return call(_scale, dy.size // (channels * length), dy, dx, channels, length, inverse, work=dy.size)
