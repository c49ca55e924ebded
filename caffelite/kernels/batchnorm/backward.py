"""Batch normalization, backward: through mean and variance, and to the scale and the shift behind it.

With z = (x - mean) · inverse_std the normalised values, y = z · gamma + beta, and means over the m values of a
channel::

    d_gamma = sum(dy · z)        d_beta = sum(dy)
    dx = (dy - mean(dy) - z · mean(dy · z)) · inverse_std · gamma

Ioffe and Szegedy, "Batch Normalization", 2015, section 3. The kernels have it as ``dx = (dy - (x - mean) · slope -
offset) · gain`` with three coefficients a channel: slope = inverse_std · mean(dy · z), offset = mean(dy), gain =
inverse_std · gamma. They take x, or z itself (where x is no more): then the mean is 0 and what brings x - mean to z,
``to_normal``, is 1 in the place of inverse_std.

The gradient of arrays that are larger than the cache goes by blocks of channels, which are read from memory once; that
of others in the order in which memory lies, which is the faster one there.
"""

from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels import scale
from caffelite.kernels.batchnorm.forward import BLOCK, or_nothing
from caffelite.kernels.batchnorm.statistics import extent as extent_of
from caffelite.kernels.batchnorm.whole import WholeBatch
from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.maps import combine, sums

#: Bytes beyond which arrays do not stay in the last cache: then the gradient goes by blocks of channels, of so many
#: bytes that they stay in a processor's own.
_CACHE, _NEAR = 64 << 20, 1 << 20
#: Channels from which on they go by blocks; not the number of threads, so that results do not depend on it.
_FEW = 4


@register_jitable
def _products_of(x, dy, extent, g, first, last, mean, group_sums):
    """Sums of dy and of dy · (x - mean) over group g of the images, for channels first to last - 1."""
    channels, length, group = extent.channels, extent.length, extent.group
    total, product = group_sums[0], group_sums[1]
    rows = min(group, extent.images - g * group)
    for c in range(first, last):
        start = (g * group * channels + c) * length
        middle = x.dtype.type(mean[c])
        s, q = sums(dy, x, start, length, channels * length, rows, middle)
        total[g * channels + c] = s
        product[g * channels + c] = q


@kernel
def _products(begin, end, worker, x, dy, extent, mean, group_sums):
    """Sums of dy and of dy · (x - mean) for each channel of each group of images; a task is a channel of a group.

    Parameters
    ----------
    x, dy : ndarray of float, [images][channels][length]
    extent : Extent
    mean : ndarray of float64, [channels]
    group_sums : ndarray of float64, [2][groups · channels]
        Is set: the sums of dy, and those of the products.
    """
    channels = extent.channels
    for g in range(begin // channels, (end - 1) // channels + 1):
        first, last = max(begin - g * channels, 0), min(end - g * channels, channels)
        _products_of(x, dy, extent, g, first, last, mean, group_sums)


@register_jitable
def _coefficients_of(
    begin, end, extent, group_sums, mean, to_normal, inverse_std, gamma, d_gamma, d_beta, coefficients
):
    """The same as :func:`_coefficients` for channels begin to end - 1."""
    channels = extent.channels
    count = extent.images * extent.length
    total, product = group_sums[0], group_sums[1]
    offset, slope, gain = coefficients[0], coefficients[1], coefficients[2]
    for c in range(begin, end):
        offset[c] = 0.0
        slope[c] = 0.0
    for g in range(extent.groups):
        for c in range(begin, end):
            offset[c] += total[g * channels + c]
            slope[c] += product[g * channels + c]
    for c in range(begin, end):
        # What the mean loses in the type of the values.
        rest = mean[c] - np.float64(inverse_std.dtype.type(mean[c]))
        d_scale = (slope[c] - rest * offset[c]) * to_normal[c]
        if len(d_gamma):
            d_gamma[c] += d_gamma.dtype.type(d_scale)
        if len(d_beta):
            d_beta[c] += d_beta.dtype.type(offset[c])
        slope[c] = d_scale / count * to_normal[c]
        offset[c] = offset[c] / count - rest * slope[c]
        gain[c] = inverse_std[c] * gamma[c] if len(gamma) else inverse_std[c]


@kernel
def _coefficients(
    begin, end, worker, extent, group_sums, mean, to_normal, inverse_std, gamma, d_gamma, d_beta, coefficients
):
    """From the sums of groups what :func:`_gradient` needs, and the gradients to scale and shift.

    A task is a channel.

    Parameters
    ----------
    extent : Extent
    group_sums : ndarray of float64, [2][groups · channels]
        As :func:`_products` leaves them.
    mean : ndarray of float64, [channels]
    to_normal : ndarray of float, [channels]
        What x - mean is multiplied by to give the normalised values.
    inverse_std : ndarray of float, [channels]
    gamma : ndarray of float, [channels] or [0]
    d_gamma, d_beta : ndarray of float, [channels] or [0]
        Are added to.
    coefficients : ndarray of float64, [3][channels]
        Is set: offset, slope and gain.
    """
    _coefficients_of(begin, end, extent, group_sums, mean, to_normal, inverse_std, gamma, d_gamma, d_beta, coefficients)


@register_jitable
def _gradient_of(x, dy, dx, extent, n, first, last, mean, coefficients):
    """dx = (dy - (x - mean) · slope - offset) · gain for channels first to last - 1 of image n."""
    kind, length = x.dtype.type, extent.length
    offset, slope, gain = coefficients[0], coefficients[1], coefficients[2]
    for c in range(first, last):
        start = (n * extent.channels + c) * length
        combine(dy, x, dx, start, length, kind(mean[c]), kind(offset[c]), kind(slope[c]), kind(gain[c]), kind(0))


@kernel
def _gradient(begin, end, worker, x, dy, dx, extent, mean, coefficients):
    """dx = (dy - (x - mean) · slope - offset) · gain; a task is a channel of an image.

    In plain NumPy: ``naive.batchnorm_gradients``.

    Parameters
    ----------
    x, dy, dx : ndarray of float, [images][channels][length]
        ``dx`` is set.
    extent : Extent
    mean : ndarray of float64, [channels]
    coefficients : ndarray of float64, [3][channels]
        Offset, slope and gain.
    """
    channels = extent.channels
    for n in range((end - 1) // channels, begin // channels - 1, -1):
        first, last = max(begin - n * channels, 0), min(end - n * channels, channels)
        _gradient_of(x, dy, dx, extent, n, first, last, mean, coefficients)


@kernel
def _backward_blocks(
    begin,
    end,
    worker,
    x,
    dy,
    dx,
    extent,
    group_sums,
    mean,
    to_normal,
    inverse_std,
    gamma,
    d_gamma,
    d_beta,
    coefficients,
):
    """All of it, ``extent.block`` channels after the other, so that what is read twice is read from memory once.

    A task is a block. The arrays are those of :func:`_products`, :func:`_coefficients` and :func:`_gradient`.
    """
    for task in range(begin, end):
        first, last = task * extent.block, min((task + 1) * extent.block, extent.channels)
        for g in range(extent.groups):
            _products_of(x, dy, extent, g, first, last, mean, group_sums)
        _coefficients_of(
            first, last, extent, group_sums, mean, to_normal, inverse_std, gamma, d_gamma, d_beta, coefficients
        )
        for n in range(extent.images - 1, -1, -1):
            _gradient_of(x, dy, dx, extent, n, first, last, mean, coefficients)


@kernel
def _backward_rows(
    begin, end, worker, x, dy, dx, channels, mean, to_normal, inverse_std, gamma, d_gamma, d_beta, scratch
):
    """All of it where a channel has one value an image; a task is BLOCK channels.

    In plain NumPy: ``naive.batchnorm_gradients``.

    Parameters
    ----------
    x, dy : ndarray of float, [images][channels]
    dx : ndarray of float, [images][channels] or [0]
        Is set.
    channels : int
    mean : ndarray of float64, [channels]
    to_normal, inverse_std : ndarray of float, [channels]
    gamma : ndarray of float, [channels] or [0]
    d_gamma, d_beta : ndarray of float, [channels] or [0]
        Are added to.
    scratch : ndarray of float, [4][channels]
    """
    images = len(x) // channels
    centre, width, total, product = scratch[0], scratch[1], scratch[2], scratch[3]
    first, last = begin * BLOCK, min(end * BLOCK, channels)
    for c in range(first, last):
        centre[c] = mean[c]
        width[c] = to_normal[c]
        total[c] = np.float32(0)
        product[c] = np.float32(0)
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            total[c] += dy[row + c]
            product[c] += dy[row + c] * ((x[row + c] - centre[c]) * width[c])
    if len(d_gamma):
        for c in range(first, last):
            d_gamma[c] += product[c]
    if len(d_beta):
        for c in range(first, last):
            d_beta[c] += total[c]
    if not len(dx):
        return
    for c in range(first, last):
        total[c] /= np.float32(images)
        product[c] *= width[c] / np.float32(images)
        width[c] = inverse_std[c] * gamma[c] if len(gamma) else inverse_std[c]
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            dx[row + c] = (dy[row + c] - total[c] - (x[row + c] - centre[c]) * product[c]) * width[c]


def by_batch(
    x: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray | None,
    channels: int,
    length: int,
    inverse_std: np.ndarray,
    mean: np.ndarray | None = None,
    gamma: np.ndarray | None = None,
    d_gamma: np.ndarray | None = None,
    d_beta: np.ndarray | None = None,
    whole: WholeBatch | None = None,
) -> list[Callable[[], None]]:
    """Return the steps of the gradient where the statistics are those of the batch.

    ``d_gamma`` and ``d_beta`` are added to, ``dx`` is set; those that are None are left out.

    Parameters
    ----------
    x, dy, dx : ndarray of float32, one axis
        [images][channels][length]; ``dx`` may be ``dy``.
    channels, length : int
    inverse_std, mean : ndarray, [channels]
        As :func:`.forward.by_batch` set them. Without ``mean``, ``x`` are the normalised values themselves.
    gamma, d_gamma, d_beta : ndarray of float32, [channels], optional
    whole : WholeBatch, optional
        That of :func:`.forward.by_batch`. ``d_gamma`` and ``d_beta`` are those of the piece.
    """
    to_normal = np.ones(channels, x.dtype) if mean is None else inverse_std
    mean = arrays.zeros(channels, np.float64) if mean is None else mean
    learned = or_nothing(gamma, x), or_nothing(d_gamma, x), or_nothing(d_beta, x)
    if length == 1 and whole is None:
        scratch = arrays.zeros((4, channels), x.dtype)
        values = x, dy, or_nothing(dx, x), channels, mean, to_normal, inverse_std, *learned, scratch
        return [call(_backward_rows, -(-channels // BLOCK), *values, work=x.size, whole=True)]
    extent = extent_of(x.size, channels, length)
    group_sums = arrays.zeros((2, channels * extent.groups), np.float64)
    coefficients = arrays.zeros((3, channels), np.float64)
    per_channel = group_sums, mean, to_normal, inverse_std, *learned, coefficients
    if dx is not None and whole is None and 2 * x.nbytes > _CACHE and channels >= _FEW:
        bytes_of_channel = 2 * extent.images * length * x.itemsize
        extent = extent._replace(block=max(_NEAR // bytes_of_channel, 1))
        return [call(_backward_blocks, -(-channels // extent.block), x, dy, dx, extent, *per_channel, work=x.size)]
    steps: list[Callable[[], None]] = [
        call(_products, extent.groups * channels, x, dy, extent, mean, group_sums, work=x.size),
        call(_coefficients, channels, extent, *per_channel, work=channels * extent.groups),
    ]
    if dx is not None:
        if whole is not None:
            steps.append(whole.coefficients(extent, coefficients))
        steps.append(call(_gradient, x.size // length, x, dy, dx, extent, mean, coefficients, work=x.size))
    return steps


def by_stored(dy: np.ndarray, dx: np.ndarray, channels: int, length: int, inverse_std: np.ndarray) -> Call:
    """Return the call of the gradient where the statistics are given: ``dx = dy · inverse_std``."""
    return scale.forward(dy, dx, inverse_std, None, channels, length)
