"""Batch normalization: statistics, normalization and their gradient.

Memory is read and written in the order in which it lies: once for the sums of each channel in each group of images,
and once more, from the end, where what was read last is still in the nearest cache. Sums are kept in float32 within a
group and in float64 over the groups; squares are relative to a value near the mean of the group, so that a large mean
costs no digits.
"""

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels import scale
from caffelite.kernels.engine import arrays, settings
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.maps import combine, sums

#: Channels a task takes where there are no spatial axes, so that vectors run over channels.
_BLOCK = 16
#: Images of a group, at most, and elements of a channel in one from which on fewer do: short rows share the sum over
#: the lanes of a vector, and there are no more places that are read at a time than the processor's prefetching follows.
_GROUP, _LONG = 4, 1024
#: Bytes beyond which arrays do not stay in the last cache: then the gradient goes by blocks of channels, of so many
#: bytes that they stay in a processor's own. Below, the order in which memory lies is the faster one.
_CACHE, _NEAR = 64 << 20, 1 << 20
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
def _statistics(
    begin,
    end,
    worker,
    images,
    channels,
    length,
    group,
    total,
    squares,
    eps,
    fraction,
    mean_sum,
    variance_sum,
    factor,
    mean,
    variance,
    inverse,
):
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
def _forward_rows(
    begin,
    end,
    worker,
    x,
    y,
    channels,
    eps,
    fraction,
    mean_sum,
    variance_sum,
    factor,
    middle,
    inverse,
    gain,
    shift,
    sums,
):
    """All of it for x of [images][channels]; a task is _BLOCK channels."""
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
        middle[c] = mean[c]
        inverse[c] = np.float32(1) / np.sqrt(variance + np.float32(eps))
    if begin == 0:
        factor[0] = factor[0] * np.float32(fraction) + np.float32(1)
    slope, constant = sums[1], sums[2]
    for c in range(first, last):
        slope[c] = inverse[c] * gain[c] if len(gain) else inverse[c]
        constant[c] = shift[c] if len(shift) else np.float32(0)
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            y[row + c] = (x[row + c] - mean[c]) * slope[c] + constant[c]


@kernel
def _global_statistics(begin, end, worker, eps, mean_sum, variance_sum, factor, mean, inverse):
    """Divide the stored sums by their factor; a task is a channel."""
    scale = np.float32(0) if factor[0] == 0 else np.float32(1) / factor[0]
    for c in range(begin, end):
        mean[c] = mean_sum[c] * scale
        inverse[c] = np.float32(1) / np.sqrt(variance_sum[c] * scale + np.float32(eps))


@kernel
def _normalise(begin, end, worker, x, y, channels, length, mean, inverse, factor, offset):
    """y = (x - mean) * inverse * factor + offset for given statistics; a task is a channel of an image."""
    for n in range((end - 1) // channels, begin // channels - 1, -1):
        for task in range(max(begin, n * channels), min(end, (n + 1) * channels)):
            c = task - n * channels
            middle = x.dtype.type(mean[c])
            rest = x.dtype.type(mean[c] - middle)
            slope = inverse[c] * factor[c] if len(factor) else inverse[c]
            constant = offset[c] if len(offset) else x.dtype.type(0)
            combine(x, None, y, task * length, length, middle, rest, rest, slope, constant)


@kernel
def _normalise_rows(begin, end, worker, x, y, channels, mean, inverse):
    """The same for x of [images][channels]; a task is an image."""
    for n in range(begin, end):
        row = n * channels
        for c in range(channels):
            y[row + c] = (x[row + c] - mean[c]) * inverse[c]


@register_jitable
def _products_of(x, dy, channels, length, group, g, first, last, mean, total, product):
    """Sums of dy and of dy * (x - mean) over a group of images, for channels first to last - 1."""
    rows = min(group, len(x) // (channels * length) - g * group)
    for c in range(first, last):
        start = (g * group * channels + c) * length
        middle = x.dtype.type(mean[c])
        s, q = sums(dy, x, start, length, channels * length, rows, middle)
        total[g * channels + c] = s
        product[g * channels + c] = q


@kernel
def _products(begin, end, worker, x, dy, channels, length, group, mean, total, product):
    """Sums of dy and of dy * (x - mean), [groups][channels]; a task is a channel of a group of images."""
    for g in range(begin // channels, (end - 1) // channels + 1):
        first, last = max(begin - g * channels, 0), min(end - g * channels, channels)
        _products_of(x, dy, channels, length, group, g, first, last, mean, total, product)


@register_jitable
def _slopes_of(
    begin,
    end,
    images,
    channels,
    length,
    group,
    total,
    product,
    mean,
    scale,
    inverse,
    factor,
    d_factor,
    d_offset,
    offset,
    slope,
    gain,
):
    """What :func:`_gradient_of` needs, from the sums of groups; and the gradients to the factor and the offset."""
    count = images * length
    for c in range(begin, end):
        offset[c] = 0.0
        slope[c] = 0.0
    for g in range((images + group - 1) // group):
        for c in range(begin, end):
            offset[c] += total[g * channels + c]
            slope[c] += product[g * channels + c]
    for c in range(begin, end):
        # What the mean loses in the type of the values.
        rest = mean[c] - np.float64(inverse.dtype.type(mean[c]))
        normal = (slope[c] - rest * offset[c]) * scale[c]
        if len(d_factor):
            d_factor[c] += d_factor.dtype.type(normal)
        if len(d_offset):
            d_offset[c] += d_offset.dtype.type(offset[c])
        slope[c] = normal / count * scale[c]
        offset[c] = offset[c] / count - rest * slope[c]
        gain[c] = inverse[c] * factor[c] if len(factor) else inverse[c]


@kernel
def _slopes(
    begin,
    end,
    worker,
    images,
    channels,
    length,
    group,
    total,
    product,
    mean,
    scale,
    inverse,
    factor,
    d_factor,
    d_offset,
    offset,
    slope,
    gain,
):
    """A task is a channel."""
    _slopes_of(
        begin,
        end,
        images,
        channels,
        length,
        group,
        total,
        product,
        mean,
        scale,
        inverse,
        factor,
        d_factor,
        d_offset,
        offset,
        slope,
        gain,
    )


@register_jitable
def _gradient_of(x, dy, dx, channels, length, n, first, last, mean, offset, slope, gain):
    """dx = (dy - (x - mean) * slope - offset) * gain for an image's channels first to last - 1."""
    kind = x.dtype.type
    for c in range(first, last):
        start = (n * channels + c) * length
        combine(dy, x, dx, start, length, kind(mean[c]), kind(offset[c]), kind(slope[c]), gain[c], kind(0))


@kernel
def _backward(begin, end, worker, x, dy, dx, channels, length, mean, offset, slope, gain):
    """A task is a channel of an image."""
    for n in range((end - 1) // channels, begin // channels - 1, -1):
        first, last = max(begin - n * channels, 0), min(end - n * channels, channels)
        _gradient_of(x, dy, dx, channels, length, n, first, last, mean, offset, slope, gain)


@kernel
def _backward_blocks(
    begin,
    end,
    worker,
    x,
    dy,
    dx,
    channels,
    length,
    group,
    block,
    total,
    product,
    mean,
    scale,
    inverse,
    factor,
    d_factor,
    d_offset,
    offset,
    slope,
    gain,
):
    """All of it, ``block`` channels after the other, so that what is read twice is read from memory once.

    A task is a block.
    """
    images = len(x) // (channels * length)
    for task in range(begin, end):
        first, last = task * block, min((task + 1) * block, channels)
        for g in range((images + group - 1) // group):
            _products_of(x, dy, channels, length, group, g, first, last, mean, total, product)
        _slopes_of(
            first,
            last,
            images,
            channels,
            length,
            group,
            total,
            product,
            mean,
            scale,
            inverse,
            factor,
            d_factor,
            d_offset,
            offset,
            slope,
            gain,
        )
        for n in range(images - 1, -1, -1):
            _gradient_of(x, dy, dx, channels, length, n, first, last, mean, offset, slope, gain)


@kernel
def _backward_rows(begin, end, worker, x, dy, dx, channels, mean, scale, inverse, factor, d_factor, d_offset, sums):
    """All of it for [images][channels]; a task is _BLOCK channels."""
    images = len(x) // channels
    middle, width, total, product = sums[0], sums[1], sums[2], sums[3]
    first, last = begin * _BLOCK, min(end * _BLOCK, channels)
    for c in range(first, last):
        middle[c] = mean[c]
        width[c] = scale[c]
        total[c] = np.float32(0)
        product[c] = np.float32(0)
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            total[c] += dy[row + c]
            product[c] += dy[row + c] * ((x[row + c] - middle[c]) * width[c])
    if len(d_factor):
        for c in range(first, last):
            d_factor[c] += product[c]
    if len(d_offset):
        for c in range(first, last):
            d_offset[c] += total[c]
    if not len(dx):
        return
    for c in range(first, last):
        total[c] /= np.float32(images)
        product[c] *= width[c] / np.float32(images)
        width[c] = inverse[c] * factor[c] if len(factor) else inverse[c]
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            dx[row + c] = (dy[row + c] - total[c] - (x[row + c] - middle[c]) * product[c]) * width[c]


def _or_nothing(values: np.ndarray | None, like: np.ndarray) -> np.ndarray:
    return np.empty(0, like.dtype) if values is None else values.reshape(-1)


def _grouped(size: int, channels: int, length: int) -> tuple[int, int, int]:
    """Return how many images there are, how many a group has, and how many groups there are."""
    images = size // (channels * length)
    group = min(max(_LONG // length, 1), _GROUP)
    return images, group, -(-images // group)


def forward(
    x: np.ndarray,
    y: np.ndarray,
    channels: int,
    length: int,
    eps: float,
    fraction: float,
    stored: tuple[np.ndarray, np.ndarray, np.ndarray],
    mean: np.ndarray,
    inverse: np.ndarray,
    factor: np.ndarray | None = None,
    offset: np.ndarray | None = None,
) -> list[Call]:
    """Return the calls that normalise by the statistics of the batch and add them to the stored ones.

    ``y = (x - mean) / sqrt(variance + eps) * factor + offset``.

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
    mean : ndarray of float64, [channels]
    inverse : ndarray of float32, [channels]
        Are set to the mean and to 1 / sqrt(variance + eps), for the gradient.
    factor, offset : ndarray of float32, [channels], optional
        Of a scale and shift behind it.
    """
    after = _or_nothing(factor, x), _or_nothing(offset, x)
    if length == 1:
        return [
            call(
                _forward_rows,
                -(-channels // _BLOCK),
                x,
                y,
                channels,
                eps,
                fraction,
                *stored,
                mean,
                inverse,
                *after,
                arrays.zeros((3, channels), x.dtype),
                work=x.size,
            )
        ]
    images, group, groups = _grouped(x.size, channels, length)
    total, squares = arrays.zeros((2, channels * groups), np.float64)
    return [
        call(_moments, groups * channels, x, channels, length, group, total, squares, work=x.size),
        call(
            _statistics,
            channels,
            images,
            channels,
            length,
            group,
            total,
            squares,
            eps,
            fraction,
            *stored,
            mean,
            arrays.zeros(channels, np.float64),
            inverse,
            work=channels * groups,
        ),
        call(_normalise, x.size // length, x, y, channels, length, mean, inverse, *after, work=x.size),
    ]


def forward_global(
    x: np.ndarray,
    y: np.ndarray,
    channels: int,
    length: int,
    eps: float,
    stored: tuple[np.ndarray, np.ndarray, np.ndarray],
    mean: np.ndarray,
    inverse: np.ndarray,
) -> list[Call]:
    """Return the calls that normalise by the stored statistics (sums over factor; 0 where the factor is 0)."""
    statistics = call(_global_statistics, channels, eps, *stored, mean, inverse, work=channels * 4)
    if length == 1:
        return [statistics, call(_normalise_rows, x.size // channels, x, y, channels, mean, inverse, work=x.size)]
    return [
        statistics,
        call(
            _normalise,
            x.size // length,
            x,
            y,
            channels,
            length,
            mean,
            inverse,
            *[np.empty(0, x.dtype)] * 2,
            work=x.size,
        ),
    ]


def backward(
    x: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray | None,
    channels: int,
    length: int,
    inverse: np.ndarray,
    mean: np.ndarray | None = None,
    factor: np.ndarray | None = None,
    d_factor: np.ndarray | None = None,
    d_offset: np.ndarray | None = None,
) -> list[Call]:
    """Return the calls of the gradient through mean and variance, and to the factor and the offset.

    With z the normalised values, ``d_factor += sum(dy * z)``, ``d_offset += sum(dy)`` and
    ``dx = (dy - mean(dy) - z * mean(dy * z)) * inverse * factor``; those that are None are left out.

    Parameters
    ----------
    x, dy, dx : ndarray of float32, one axis
        ``dx`` may be ``dy``.
    inverse, mean : ndarray, [channels]
        As :func:`forward` set them. Without ``mean``, ``x`` are the normalised values themselves.
    factor, d_factor, d_offset : ndarray of float32, [channels], optional
    """
    middle = arrays.zeros(channels, np.float64) if mean is None else mean
    scaling = np.ones(channels, x.dtype) if mean is None else inverse
    after = _or_nothing(factor, x), _or_nothing(d_factor, x), _or_nothing(d_offset, x)
    if length == 1:
        return [
            call(
                _backward_rows,
                -(-channels // _BLOCK),
                x,
                dy,
                _or_nothing(dx, x),
                channels,
                middle,
                scaling,
                inverse,
                *after,
                arrays.zeros((4, channels), x.dtype),
                work=x.size,
            )
        ]
    images, group, groups = _grouped(x.size, channels, length)
    total, product = arrays.zeros((2, channels * groups), np.float64)
    offset, slope = arrays.zeros((2, channels), np.float64)
    gain = arrays.zeros(channels, x.dtype)
    if dx is not None and 2 * x.nbytes > _CACHE and channels >= settings.threads():
        block = max(min(_NEAR // (2 * images * length * x.itemsize), channels // settings.threads()), 1)
        return [
            call(
                _backward_blocks,
                -(-channels // block),
                x,
                dy,
                dx,
                channels,
                length,
                group,
                block,
                total,
                product,
                middle,
                scaling,
                inverse,
                *after,
                offset,
                slope,
                gain,
                work=x.size,
            )
        ]
    calls = [
        call(_products, groups * channels, x, dy, channels, length, group, middle, total, product, work=x.size),
        call(
            _slopes,
            channels,
            images,
            channels,
            length,
            group,
            total,
            product,
            middle,
            scaling,
            inverse,
            *after,
            offset,
            slope,
            gain,
            work=channels * groups,
        ),
    ]
    if dx is not None:
        calls.append(
            call(_backward, x.size // length, x, dy, dx, channels, length, middle, offset, slope, gain, work=x.size)
        )
    return calls


def backward_global(dy: np.ndarray, dx: np.ndarray, channels: int, length: int, inverse: np.ndarray) -> Call:
    """Return the call of the gradient where the statistics are given."""
    return scale.forward(dy, dx, inverse, None, channels, length)
