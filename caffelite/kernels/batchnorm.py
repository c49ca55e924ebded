"""Batch normalization: statistics, normalization and their gradient.

Memory is read and written in the order in which it lies: once for the sums of each channel in each group of images,
and once more, from the end, where what was read last is still in the nearest cache. Sums are kept in float32 within a
group and in float64 over the groups; squares are relative to a value near the mean of the group, so that a large mean
costs no digits.
"""

import numpy as np

from caffelite.kernels import arrays, scale
from caffelite.kernels.launch import Call, call, kernel
from caffelite.kernels.maps import combine, sums

#: Channels a task takes where there are no spatial axes, so that vectors run over channels.
_BLOCK = 16
#: Images of a group, at most, and elements of a channel in one from which on fewer do: short rows share the sum over
#: the lanes of a vector, and there are no more places that are read at a time than the processor's prefetching follows.
_GROUP, _LONG = 4, 1024
#: Squares lose digits when they are mostly the distance of the shift from the mean, in standard deviations squared.
_FAR = 16


@kernel
def _moments(begin, end, worker, x, channels, length, group, total, squares):
    """Sums of x, and of (x - their mean) squared, [groups][channels]; a task is a channel of a group of images."""
    images = len(x) // (channels * length)
    for g in range(begin // channels, (end - 1) // channels + 1):
        rows = min(group, images - g * group)
        share = 1 / (rows * length)
        for task in range(max(begin, g * channels), min(end, (g + 1) * channels)):
            start = (task + g * (group - 1) * channels) * length
            shift = x[start]
            s, q = sums(x, None, start, length, channels * length, rows, shift)
            offset = s * share
            if s * offset * (1 + 1 / _FAR) > q:
                # The first value lay far from the mean: once more, from the mean itself.
                shift += x.dtype.type(offset)
                s, q = sums(x, None, start, length, channels * length, rows, shift)
                offset = s * share
            total[task] = np.float64(shift) * (rows * length) + s
            squares[task] = q - s * offset


@kernel
def _statistics(begin, end, worker, images, channels, length, group, total, squares, eps, fraction, mean_sum,
                variance_sum, factor, mean, variance, inverse):  # fmt: skip
    """Mean and variance of the batch from the sums of groups; a task is a channel."""
    groups = (images + group - 1) // group
    count = images * length
    for c in range(begin, end):
        mean[c] = 0.0
        variance[c] = 0.0
    # Channels in the inner loops: they lie side by side, so that vectors run over them.
    for g in range(groups):
        for c in range(begin, end):
            mean[c] += total[g * channels + c] / count
    for g in range(groups):
        size = min(group, images - g * group) * length
        for c in range(begin, end):
            distance = total[g * channels + c] / size - mean[c]
            variance[c] += (squares[g * channels + c] + size * distance * distance) / count
    unbiased = count / (count - 1) if count > 1 else 1.0
    for c in range(begin, end):
        mean_sum[c] = mean_sum[c] * np.float32(fraction) + mean_sum.dtype.type(mean[c])
        variance_sum[c] = variance_sum[c] * np.float32(fraction) + mean_sum.dtype.type(variance[c] * unbiased)
        inverse[c] = inverse.dtype.type(1 / np.sqrt(variance[c] + eps))
    if begin == 0:
        factor[0] = factor[0] * np.float32(fraction) + np.float32(1)


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
    for n in range((end - 1) // channels, begin // channels - 1, -1):
        for task in range(max(begin, n * channels), min(end, (n + 1) * channels)):
            c = task - n * channels
            middle = x.dtype.type(mean[c])
            rest = x.dtype.type(mean[c] - middle)
            combine(x, None, y, task * length, length, middle, rest, inverse[c])


@kernel
def _normalise_rows(begin, end, worker, x, y, channels, mean, inverse):
    """The same for x of [images][channels]; a task is an image."""
    for n in range(begin, end):
        row = n * channels
        for c in range(channels):
            y[row + c] = (x[row + c] - mean[c]) * inverse[c]


@kernel
def _products(begin, end, worker, y, dy, channels, length, group, total, product):
    """Sums of dy and of dy * y, [groups][channels]; a task is a channel of a group of images."""
    images = len(y) // (channels * length)
    for g in range(begin // channels, (end - 1) // channels + 1):
        rows = min(group, images - g * group)
        for task in range(max(begin, g * channels), min(end, (g + 1) * channels)):
            start = (task + g * (group - 1) * channels) * length
            total[task], product[task] = sums(dy, y, start, length, channels * length, rows, dy.dtype.type(0))


@kernel
def _slopes(begin, end, worker, images, channels, length, group, total, product, mean, slope):
    """The means of dy and of dy * y from the sums of groups; a task is a channel."""
    count = images * length
    for c in range(begin, end):
        mean[c] = 0.0
        slope[c] = 0.0
    for g in range((images + group - 1) // group):
        for c in range(begin, end):
            mean[c] += total[g * channels + c] / count
            slope[c] += product[g * channels + c] / count


@kernel
def _backward(begin, end, worker, y, dy, dx, channels, length, mean, slope, inverse):
    """dx = (dy - mean - y * slope) * inverse; a task is a channel of an image."""
    for n in range((end - 1) // channels, begin // channels - 1, -1):
        for task in range(max(begin, n * channels), min(end, (n + 1) * channels)):
            c = task - n * channels
            m, s = dy.dtype.type(mean[c]), dy.dtype.type(slope[c])
            combine(dy, y, dx, task * length, length, m, s, inverse[c])


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


def _grouped(size: int, channels: int, length: int) -> tuple[int, int, int]:
    """Return how many images there are, how many a group has, and how many groups there are."""
    images = size // (channels * length)
    group = min(max(_LONG // length, 1), _GROUP)
    return images, group, -(-images // group)


def forward(
    x: np.ndarray, y: np.ndarray, channels: int, length: int, eps: float, fraction: float,
    stored: tuple[np.ndarray, np.ndarray, np.ndarray], inverse: np.ndarray,
) -> list[Call]:  # fmt: skip
    """Return the calls that normalise by the statistics of the batch and add them to the stored ones.

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
        return [call(_forward_rows, -(-channels // _BLOCK), x, y, channels, eps, fraction, *stored, inverse,
                     arrays.zeros((3, channels), x.dtype), work=x.size)]  # fmt: skip
    images, group, groups = _grouped(x.size, channels, length)
    total, squares = arrays.zeros((2, channels * groups), np.float64)
    mean, variance = arrays.zeros((2, channels), np.float64)
    return [
        call(_moments, groups * channels, x, channels, length, group, total, squares, work=x.size),
        call(_statistics, channels, images, channels, length, group, total, squares, eps, fraction, *stored, mean,
             variance, inverse, work=channels * groups),
        call(_normalise, x.size // length, x, y, channels, length, mean, inverse, work=x.size),
    ]  # fmt: skip


def forward_global(
    x: np.ndarray, y: np.ndarray, channels: int, length: int, eps: float,
    stored: tuple[np.ndarray, np.ndarray, np.ndarray], mean: np.ndarray, inverse: np.ndarray,
) -> list[Call]:  # fmt: skip
    """Return the calls that normalise by the stored statistics (sums over factor; 0 where the factor is 0)."""
    statistics = call(_global_statistics, channels, eps, *stored, mean, inverse, work=channels * 4)
    if length == 1:
        return [statistics, call(_normalise_rows, x.size // channels, x, y, channels, mean, inverse, work=x.size)]
    return [statistics, call(_normalise, x.size // length, x, y, channels, length, mean, inverse, work=x.size)]


def backward(
    y: np.ndarray, dy: np.ndarray, dx: np.ndarray, channels: int, length: int, inverse: np.ndarray
) -> list[Call]:
    """Return the calls of the gradient through mean and variance; ``y`` is the output, ``dx`` may be ``dy``.

    ``dx = (dy - mean(dy) - y * mean(dy * y)) * inverse``.
    """
    if length == 1:
        return [call(_backward_rows, -(-channels // _BLOCK), y, dy, dx, channels, inverse,
                     arrays.zeros((2, channels), y.dtype), work=y.size)]  # fmt: skip
    images, group, groups = _grouped(y.size, channels, length)
    total, product = arrays.zeros((2, channels * groups), np.float64)
    mean, slope = arrays.zeros((2, channels), np.float64)
    return [
        call(_products, groups * channels, y, dy, channels, length, group, total, product, work=y.size),
        call(_slopes, channels, images, channels, length, group, total, product, mean, slope, work=channels * groups),
        call(_backward, y.size // length, y, dy, dx, channels, length, mean, slope, inverse, work=y.size),
    ]


def backward_global(dy: np.ndarray, dx: np.ndarray, channels: int, length: int, inverse: np.ndarray) -> Call:
    """Return the call of the gradient where the statistics are given."""
    return scale.forward(dy, dx, inverse, None, channels, length)
