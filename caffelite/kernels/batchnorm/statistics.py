"""The statistics of batch normalization: those of a batch, and those that were stored.

For channel c of a batch, over its m = images · length values x::

    mean = sum(x) / m            variance = sum((x - mean)²) / m

Memory is read in the order in which it lies, once. Sums are kept in the type of the values within a group of images
and in float64 over the groups; squares are relative to a value near the mean of the group, so that a large mean costs
no digits. Groups are joined as Chan, Golub and LeVeque do, "Updating Formulae and a Pairwise Algorithm for Computing
Sample Variances", 1979: ``sum((x - mean)²) = sum over groups of (squares + size · (mean of the group - mean)²)``.

Caffe's three blobs are called ``mean_sum``, ``variance_sum`` and ``stored_count`` here: the third is the number of
batches that the other two are sums of, each batch decayed as often as another one came after it.
"""

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.maps import sums

#: Caffe's three blobs: mean_sum [channels], variance_sum [channels] (of the unbiased variance, m / (m - 1)) and
#: stored_count [1], which both are to be divided by; 0 says that nothing was stored.
Stored = tuple[np.ndarray, np.ndarray, np.ndarray]

#: Images of a group, at most, and elements of a channel in one from which on fewer do: short rows share the sum over
#: the lanes of a vector, and there are no more places that are read at a time than the processor's prefetching follows.
_GROUP, _LONG = 4, 1024
#: Bytes that stay in the last cache; bytes of a block of channels that is read twice; the channels from which on there
#: are blocks; and bytes of a line of the cache.
_CACHE, _NEAR, _FEW, _LINE = 32 << 20, 512 << 10, 4, 64
#: Squares lose digits when they are mostly the distance of the shift from the mean, in standard deviations squared.
_FAR = 16


class Extent(NamedTuple):
    """How the values lie, and how they are dealt out; :func:`extent` computes it.

    Attributes
    ----------
    images, channels, length : int
        Arrays of values are [images][channels][length], on one axis; ``length`` is what a channel has in an image.
    group : int
        Images that one task of the sums goes over; the last group may have fewer.
    groups : int
        Groups there are.
    block : int
        Channels of a task of the gradient that goes by blocks of channels; 0 where none does.
    """

    images: int
    channels: int
    length: int
    group: int
    groups: int
    block: int = 0


class Constants(NamedTuple):
    """The numbers of a layer's settings.

    Attributes
    ----------
    eps : float
        Added to the variance, in its unit.
    fraction : float
        What the three blobs are multiplied by before this batch is added: ``moving_average_fraction``, from 0 to 1.
    """

    eps: float
    fraction: float


def extent(size: int, channels: int, length: int) -> Extent:
    """Return the extent of ``size`` values that have so many channels, and so many values a channel in each image."""
    images = size // (channels * length)
    group = min(max(_LONG // length, 1), _GROUP)
    return Extent(images, channels, length, group, -(-images // group))


def block_of(extent: Extent, *read: np.ndarray) -> int:
    """Return how many channels a block has, where ``read`` are read twice and an array as large is written.

    A block stays in a processor's own cache meanwhile. 0 where all of it stays in the last cache, or there are too few
    channels: the order in which memory lies is the faster one then. The numbers are the same.
    """
    size = sum(array.nbytes for array in read)
    if size + read[0].nbytes <= _CACHE or extent.channels < _FEW:
        return 0
    return max(min(_NEAR * extent.channels // size, extent.channels // _FEW), 1)


def goes_past_cache(out: np.ndarray, length: int, *read: np.ndarray) -> bool:
    """Whether what is computed of ``read`` is better not kept in the cache: it is too large, and it is aligned."""
    aligned = out.ctypes.data % _LINE == 0 and length * out.itemsize % _LINE == 0
    apart = all(array.ctypes.data != out.ctypes.data for array in read)
    return aligned and apart and out.nbytes + sum(array.nbytes for array in read) > _CACHE


@register_jitable
def moments_of(x, extent, g, first, last, group_sums):
    """The same as :func:`_moments` for channels first to last - 1 of group g."""
    channels, length, group = extent.channels, extent.length, extent.group
    total, squares = group_sums[0], group_sums[1]
    rows = min(group, extent.images - g * group)
    share = 1 / (rows * length)
    for c in range(first, last):
        task, start = g * channels + c, (g * group * channels + c) * length
        shift = x[start]
        s, q = sums(x, None, start, length, channels * length, rows, shift, None)
        offset = s * share
        if s * offset * (1 + 1 / _FAR) > q:
            # The first value lay far from the mean: once more, from the mean itself.
            shift += x.dtype.type(offset)
            s, q = sums(x, None, start, length, channels * length, rows, shift, None)
            offset = s * share
        total[task] = np.float64(shift) * (rows * length) + s
        squares[task] = q - s * offset


@kernel
def _moments(begin, end, worker, x, extent, group_sums):
    """The sum of x, and of (x - their mean) squared, of each channel in each group of images.

    A task is a channel of a group. In plain NumPy: ``naive.batch_statistics``.

    Parameters
    ----------
    x : ndarray of float, [images][channels][length]
    extent : Extent
    group_sums : ndarray of float64, [2][groups · channels]
        Is set: the sums of x, and those of squares.
    """
    channels = extent.channels
    for g in range(begin // channels, (end - 1) // channels + 1):
        first, last = max(begin - g * channels, 0), min(end - g * channels, channels)
        moments_of(x, extent, g, first, last, group_sums)


@register_jitable
def statistics_of(
    begin,
    end,
    extent,
    constants,
    group_sums,
    mean_sum,
    variance_sum,
    stored_count,
    mean,
    variance,
    inverse_std,
):
    """The same as :func:`_statistics` for channels begin to end - 1."""
    channels, group, fraction = extent.channels, extent.group, constants.fraction
    total, squares = group_sums[0], group_sums[1]
    count = extent.images * extent.length
    for c in range(begin, end):
        mean[c] = 0.0
        variance[c] = 0.0
    # Channels in the inner loops: they lie side by side, so that vectors run over them.
    for g in range(extent.groups):
        for c in range(begin, end):
            mean[c] += total[g * channels + c] / count
    for g in range(extent.groups):
        size = min(group, extent.images - g * group) * extent.length
        for c in range(begin, end):
            distance = total[g * channels + c] / size - mean[c]
            variance[c] += (squares[g * channels + c] + size * distance * distance) / count
    unbiased = count / (count - 1) if count > 1 else 1.0
    for c in range(begin, end):
        mean_sum[c] = mean_sum[c] * np.float32(fraction) + mean_sum.dtype.type(mean[c])
        variance_sum[c] = variance_sum[c] * np.float32(fraction) + mean_sum.dtype.type(variance[c] * unbiased)
        inverse_std[c] = inverse_std.dtype.type(1 / np.sqrt(variance[c] + constants.eps))
    if begin == 0:
        stored_count[0] = stored_count[0] * np.float32(fraction) + np.float32(1)


@kernel
def _statistics(
    begin,
    end,
    worker,
    extent,
    constants,
    group_sums,
    mean_sum,
    variance_sum,
    stored_count,
    mean,
    variance,
    inverse_std,
):
    """Mean and variance of the batch from the sums of groups, and their place in the stored ones.

    ``blob = blob · fraction + new``, where new is the mean, the variance · m / (m - 1), and 1. A task is a channel. In
    plain NumPy: ``naive.batch_statistics``.

    Parameters
    ----------
    extent : Extent
    constants : Constants
    group_sums : ndarray of float64, [2][groups · channels]
        As :func:`_moments` leaves them.
    mean_sum, variance_sum : ndarray of float, [channels]
    stored_count : ndarray of float, [1]
        Caffe's blobs, which are updated.
    mean, variance : ndarray of float64, [channels]
        Are set to those of the batch; the variance is divided by m.
    inverse_std : ndarray of float, [channels]
        Is set to 1 / sqrt(variance + eps).
    """
    statistics_of(
        begin,
        end,
        extent,
        constants,
        group_sums,
        mean_sum,
        variance_sum,
        stored_count,
        mean,
        variance,
        inverse_std,
    )


@register_jitable
def line_of(mean, inverse_std, gamma, beta, c, kind):
    """Return middle, slope and constant: ``y = (x - middle) · slope + constant`` for channel c.

    Forward and backward take the same numbers from here, so that both find the same y above 0.
    """
    middle = kind(mean[c])
    # What the type of x loses of the mean.
    rest = kind(mean[c] - middle)
    slope = inverse_std[c] * gamma[c] if len(gamma) else inverse_std[c]
    return middle, slope, (beta[c] if len(beta) else kind(0)) - rest * slope


@kernel
def _stored_statistics(begin, end, worker, eps, mean_sum, variance_sum, stored_count, mean, inverse_std):
    """Divide the stored sums by their count; 0 where that is 0. A task is a channel.

    Parameters
    ----------
    eps : float
        Added to the variance.
    mean_sum, variance_sum : ndarray of float, [channels]
    stored_count : ndarray of float, [1]
        Caffe's blobs, which are read.
    mean : ndarray of float, [channels]
        Is set to mean_sum / stored_count.
    inverse_std : ndarray of float, [channels]
        Is set to 1 / sqrt(variance_sum / stored_count + eps).
    """
    share = np.float32(0) if stored_count[0] == 0 else np.float32(1) / stored_count[0]
    for c in range(begin, end):
        mean[c] = mean_sum[c] * share
        # In float64: of float32, a vector's approximation and a single root may differ in the last bit.
        variance = np.float64(variance_sum[c] * share + np.float32(eps))
        inverse_std[c] = inverse_std.dtype.type(1 / np.sqrt(variance))


def of_batch(
    x: np.ndarray,
    extent: Extent,
    constants: Constants,
    stored: Stored,
    mean: np.ndarray,
    inverse_std: np.ndarray,
    variance: np.ndarray | None = None,
) -> list[Call]:
    """Return the calls that compute the statistics of a batch and add them to the stored ones.

    Parameters
    ----------
    x : ndarray of float, [images][channels][length], one axis
    extent : Extent
    constants : Constants
    stored : three ndarrays of float
        Caffe's blobs, which are updated.
    mean : ndarray of float64, [channels]
    inverse_std : ndarray of float, [channels]
        Are set to the mean and to 1 / sqrt(variance + eps).
    variance : ndarray of float64, [channels], optional
        Is set to the variance, divided by m.
    """
    channels = extent.channels
    group_sums = arrays.zeros((2, channels * extent.groups), np.float64)
    variance = arrays.zeros(channels, np.float64) if variance is None else variance
    return [
        call(_moments, extent.groups * channels, x, extent, group_sums, work=x.size),
        call(
            _statistics,
            channels,
            extent,
            constants,
            group_sums,
            *stored,
            mean,
            variance,
            inverse_std,
            work=channels * extent.groups,
        ),
    ]


def of_stored(eps: float, stored: Stored, mean: np.ndarray, inverse_std: np.ndarray) -> Call:
    """Return the call that sets ``mean`` and ``inverse_std``, [channels], from Caffe's blobs."""
    return call(_stored_statistics, len(mean), float(eps), *stored, mean, inverse_std, work=len(mean) * 4)
