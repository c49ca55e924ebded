"""Batch normalization where a channel has one value an image: vectors run over channels, which lie side by side.

What is computed, and by what means, stands in :mod:`.forward` and :mod:`.backward`.
"""

from collections.abc import Callable

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.batchnorm.statistics import line_of
from caffelite.kernels.engine.compiling import specialised

#: Channels a task takes.
BLOCK = 16


@register_jitable
def _statistics_of_rows(x, channels, first, last, centre, squares, rest):
    """Set ``centre`` to the mean of channels first to last - 1, nearly; then ``squares`` to sum((x - centre)²).

    ``rest`` is set to sum(x - centre), what rounding lost. All in the type of the values.
    """
    images = len(x) // channels
    for c in range(first, last):
        centre[c] = np.float32(0)
        squares[c] = np.float32(0)
        rest[c] = np.float32(0)
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            centre[c] += x[row + c] - x[c]
    for c in range(first, last):
        centre[c] = x[c] + centre[c] / np.float32(images)
    for n in range(images):
        row = n * channels
        for c in range(first, last):
            d = x[row + c] - centre[c]
            squares[c] += d * d
            rest[c] += d


@specialised
def forward_rows_of(negative: float | None) -> Callable[..., None]:
    """Make the kernel of the values; ``negative`` as for :func:`.forward.normalise_maps`."""
    below = np.float32(1 if negative is None else negative)

    def forward_rows(
        begin,
        end,
        worker,
        x,
        y,
        channels,
        constants,
        mean_sum,
        variance_sum,
        stored_count,
        mean,
        inverse_std,
        gamma,
        beta,
        scratch,
    ):
        """All of it where a channel has one value an image; a task is BLOCK channels.

        In plain NumPy: ``naive.batchnorm``.

        Parameters
        ----------
        x, y : ndarray of float, [images][channels]
            ``y`` is set.
        channels : int
        constants : Constants
        mean_sum, variance_sum : ndarray of float, [channels]
        stored_count : ndarray of float, [1]
            Caffe's blobs, which are updated.
        mean : ndarray of float64, [channels]
        inverse_std : ndarray of float, [channels]
            Are set to the mean and to 1 / sqrt(variance + eps).
        gamma, beta : ndarray of float, [channels] or [0]
        scratch : ndarray of float, [3][channels]
        """
        images = len(x) // channels
        centre, squares, rest = scratch[0], scratch[1], scratch[2]
        first, last = begin * BLOCK, min(end * BLOCK, channels)
        eps, fraction = np.float32(constants.eps), np.float32(constants.fraction)
        _statistics_of_rows(x, channels, first, last, centre, squares, rest)
        for c in range(first, last):
            # What the first pass over the rows lost to rounding.
            rest[c] /= np.float32(images)
            squares[c] = max(squares[c] - np.float32(images) * rest[c] * rest[c], np.float32(0))
            mean[c] = np.float64(centre[c]) + np.float64(rest[c])
            variance = squares[c] / np.float32(images)
            unbiased = squares[c] / np.float32(images - 1) if images > 1 else variance
            mean_sum[c] = mean_sum[c] * fraction + mean_sum.dtype.type(mean[c])
            variance_sum[c] = variance_sum[c] * fraction + unbiased
            inverse_std[c] = inverse_std.dtype.type(1 / np.sqrt(np.float64(variance + eps)))
        if begin == 0:
            stored_count[0] = stored_count[0] * fraction + np.float32(1)
        slope, constant = scratch[1], scratch[2]
        for c in range(first, last):
            slope[c] = inverse_std[c] * gamma[c] if len(gamma) else inverse_std[c]
            # What the centre lacks of the mean is taken off here: added to the centre, it would be lost again.
            constant[c] = (beta[c] if len(beta) else np.float32(0)) - rest[c] * slope[c]
        for n in range(images):
            row = n * channels
            for c in range(first, last):
                value = (x[row + c] - centre[c]) * slope[c] + constant[c]
                y[row + c] = value if negative is None or value > 0 else value * below

    return forward_rows


@specialised
def backward_rows_of(negative: float | None) -> Callable[..., None]:
    """Make the kernel of the gradients; ``negative`` as for :func:`.backward._products`."""
    above, below = np.float32(1), np.float32(1 if negative is None else negative)

    def backward_rows(
        begin, end, worker, x, dy, dx, channels, mean, to_normal, inverse_std, gamma, beta, d_gamma, d_beta, scratch
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
        gamma, beta : ndarray of float, [channels] or [0]
        d_gamma, d_beta : ndarray of float, [channels] or [0]
            Are added to.
        scratch : ndarray of float, [7][channels]
        """
        images = len(x) // channels
        centre, width, total, product = scratch[0], scratch[1], scratch[2], scratch[3]
        # What the mean loses in the type of the values.
        rest, gain, constant = scratch[4], scratch[5], scratch[6]
        first, last = begin * BLOCK, min(end * BLOCK, channels)
        for c in range(first, last):
            centre[c] = mean[c]
            rest[c] = mean[c] - np.float64(centre[c])
            width[c] = to_normal[c]
            _, gain[c], constant[c] = line_of(mean, inverse_std, gamma, beta, c, x.dtype.type)
            total[c] = np.float32(0)
            product[c] = np.float32(0)
        for n in range(images):
            row = n * channels
            for c in range(first, last):
                slope = dy[row + c]
                if negative is not None:
                    slope = slope * (above if (x[row + c] - centre[c]) * gain[c] + constant[c] > 0 else below)
                total[c] += slope
                product[c] += slope * ((x[row + c] - centre[c]) * width[c])
        for c in range(first, last):
            product[c] -= rest[c] * width[c] * total[c]
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
            total[c] -= rest[c] * product[c]
        for n in range(images):
            row = n * channels
            for c in range(first, last):
                slope = dy[row + c]
                if negative is not None:
                    slope = slope * (above if (x[row + c] - centre[c]) * gain[c] + constant[c] > 0 else below)
                dx[row + c] = (slope - total[c] - (x[row + c] - centre[c]) * product[c]) * gain[c]

    return backward_rows
