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

from caffelite.kernels.batchnorm.forward import kink_of, or_nothing
from caffelite.kernels.batchnorm.rows import BLOCK, backward_rows_of
from caffelite.kernels.batchnorm.statistics import block_of, goes_past_cache, line_of
from caffelite.kernels.batchnorm.statistics import extent as extent_of
from caffelite.kernels.batchnorm.whole import WholeBatch
from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.kernels.maps import combine, fence, sums


def _summer(negative: float | None) -> Callable[..., None]:
    """Return the function that does what :func:`_products` says for channels first to last - 1 of group g."""
    kink = kink_of(negative)

    def sum_products(x, dy, extent, g, first, last, mean, inverse_std, gamma, beta, group_sums):
        channels, length, group, kind = extent.channels, extent.length, extent.group, x.dtype.type
        total, product = group_sums[0], group_sums[1]
        rows = min(group, extent.images - g * group)
        for c in range(first, last):
            start = (g * group * channels + c) * length
            middle, slope, constant = line_of(mean, inverse_std, gamma, beta, c, kind)
            s, q = sums(dy, x, start, length, channels * length, rows, middle, kink(slope, constant, kind))
            total[g * channels + c] = s
            product[g * channels + c] = q

    return register_jitable(sum_products)


@specialised
def _products(negative: float | None) -> Callable[..., None]:
    """Make the kernel of the sums; ``negative`` is the slope of a ReLU behind, or None."""
    sum_products = _summer(negative)

    def products(begin, end, worker, x, dy, extent, mean, inverse_std, gamma, beta, group_sums):
        """Sums of dy and of dy · (x - mean) for each channel of each group of images; a task is a channel of a group.

        Parameters
        ----------
        x, dy : ndarray of float, [images][channels][length]
        extent : Extent
        mean : ndarray of float64, [channels]
        inverse_std : ndarray of float, [channels]
        gamma, beta : ndarray of float, [channels] or [0]
        group_sums : ndarray of float64, [2][groups · channels]
            Is set: the sums of dy, and those of the products.
        """
        channels = extent.channels
        for g in range(begin // channels, (end - 1) // channels + 1):
            first, last = max(begin - g * channels, 0), min(end - g * channels, channels)
            sum_products(x, dy, extent, g, first, last, mean, inverse_std, gamma, beta, group_sums)

    return products


@register_jitable
def _coefficients_of(
    begin, end, extent, group_sums, mean, to_normal, inverse_std, gamma, beta, d_gamma, d_beta, coefficients
):
    """The same as :func:`_coefficients` for channels begin to end - 1."""
    channels = extent.channels
    count = extent.images * extent.length
    total, product = group_sums[0], group_sums[1]
    offset, slope, gain, constant = coefficients[0], coefficients[1], coefficients[2], coefficients[3]
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
        _, gain[c], constant[c] = line_of(mean, inverse_std, gamma, beta, c, inverse_std.dtype.type)


@kernel
def _coefficients(
    begin, end, worker, extent, group_sums, mean, to_normal, inverse_std, gamma, beta, d_gamma, d_beta, coefficients
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
    gamma, beta : ndarray of float, [channels] or [0]
    d_gamma, d_beta : ndarray of float, [channels] or [0]
        Are added to.
    coefficients : ndarray of float64, [4][channels]
        Is set: offset, slope, gain and constant.
    """
    _coefficients_of(
        begin, end, extent, group_sums, mean, to_normal, inverse_std, gamma, beta, d_gamma, d_beta, coefficients
    )


def _descender(negative: float | None, past_cache: bool) -> Callable[..., None]:
    """Return the function that does what :func:`_gradient` says for channels first to last - 1 of image n."""
    kink = kink_of(negative)

    def gradient_of(x, dy, dx, extent, n, first, last, mean, coefficients):
        kind, length = x.dtype.type, extent.length
        offset, slope, gain, constant = coefficients[0], coefficients[1], coefficients[2], coefficients[3]
        for c in range(first, last):
            start, factor = (n * extent.channels + c) * length, kind(gain[c])
            bend = kink(factor, kind(constant[c]), kind)
            middle, less, steep = kind(mean[c]), kind(offset[c]), kind(slope[c])
            combine(dy, x, dx, start, length, middle, less, steep, factor, kind(0), bend, past_cache)

    return register_jitable(gradient_of)


@specialised
def _gradient(negative: float | None, past_cache: bool) -> Callable[..., None]:
    """Make the kernel of the gradient; ``negative`` as for :func:`_products`."""
    gradient_of = _descender(negative, past_cache)

    def gradient(begin, end, worker, x, dy, dx, extent, mean, coefficients):
        """dx = (dy - (x - mean) · slope - offset) · gain; a task is a channel of an image.

        In plain NumPy: ``naive.batchnorm_gradients``.

        Parameters
        ----------
        x, dy, dx : ndarray of float, [images][channels][length]
            ``dx`` is set.
        extent : Extent
        mean : ndarray of float64, [channels]
        coefficients : ndarray of float64, [4][channels]
            Offset, slope, gain and constant.
        """
        channels = extent.channels
        for n in range((end - 1) // channels, begin // channels - 1, -1):
            first, last = max(begin - n * channels, 0), min(end - n * channels, channels)
            gradient_of(x, dy, dx, extent, n, first, last, mean, coefficients)
        if past_cache:
            fence()

    return gradient


@specialised
def _backward_blocks(negative: float | None, past_cache: bool) -> Callable[..., None]:
    """Make the kernel of all of it, a block of channels after the other; as for :func:`_gradient`."""
    sum_products, gradient_of = _summer(negative), _descender(negative, past_cache)

    def backward_blocks(
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
        beta,
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
                sum_products(x, dy, extent, g, first, last, mean, inverse_std, gamma, beta, group_sums)
            _coefficients_of(
                first,
                last,
                extent,
                group_sums,
                mean,
                to_normal,
                inverse_std,
                gamma,
                beta,
                d_gamma,
                d_beta,
                coefficients,
            )
            for n in range(extent.images - 1, -1, -1):
                gradient_of(x, dy, dx, extent, n, first, last, mean, coefficients)
        if past_cache:
            fence()

    return backward_blocks


def by_batch(
    x: np.ndarray,
    dy: np.ndarray,
    dx: np.ndarray | None,
    channels: int,
    length: int,
    inverse_std: np.ndarray,
    mean: np.ndarray | None = None,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    d_gamma: np.ndarray | None = None,
    d_beta: np.ndarray | None = None,
    whole: WholeBatch | None = None,
    negative: float | None = None,
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
    gamma, beta, d_gamma, d_beta : ndarray of float32, [channels], optional
    whole : WholeBatch, optional
        That of :func:`.forward.by_batch`. ``d_gamma`` and ``d_beta`` are those of the piece.
    negative : float, optional
        The slope for negative values of a ReLU behind all of it; ``dy`` is the gradient of that, and ``x`` is no y.
    """
    to_normal = np.ones(channels, x.dtype) if mean is None else inverse_std
    mean = arrays.zeros(channels, np.float64) if mean is None else mean
    learned = or_nothing(gamma, x), or_nothing(beta, x)
    gradients = or_nothing(d_gamma, x), or_nothing(d_beta, x)
    if length == 1 and whole is None:
        scratch = arrays.zeros((7, channels), x.dtype)
        values = x, dy, or_nothing(dx, x), channels, mean, to_normal, inverse_std, *learned, *gradients, scratch
        return [call(backward_rows_of(negative), -(-channels // BLOCK), *values, work=x.size, whole=True)]
    extent = extent_of(x.size, channels, length)
    group_sums = arrays.zeros((2, channels * extent.groups), np.float64)
    coefficients = arrays.zeros((4, channels), np.float64)
    per_channel = group_sums, mean, to_normal, inverse_std, *learned, *gradients, coefficients
    past_cache = dx is not None and goes_past_cache(dx, length, x, dy)
    if dx is not None and whole is None and (block := block_of(extent, x, dy)):
        extent, kernel_of_blocks = extent._replace(block=block), _backward_blocks(negative, past_cache)
        return [call(kernel_of_blocks, -(-channels // block), x, dy, dx, extent, *per_channel, work=2 * x.size)]
    tasks = extent.groups * channels
    sums_of = mean, inverse_std, *learned, group_sums
    steps: list[Callable[[], None]] = [
        call(_products(negative), tasks, x, dy, extent, *sums_of, work=x.size),
        call(_coefficients, channels, extent, *per_channel, work=channels * extent.groups),
    ]
    if dx is not None:
        if whole is not None:
            steps.append(whole.coefficients(extent, coefficients))
        gradient = _gradient(negative, past_cache)
        steps.append(call(gradient, x.size // length, x, dy, dx, extent, mean, coefficients, work=x.size))
    return steps
