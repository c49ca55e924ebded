"""Batch normalization, forward, by the statistics of the batch.

``y = (x - mean) / sqrt(variance + eps) · gamma + beta`` for each channel; gamma and beta are a scale and a shift that a
layer behind it learns, or none. Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 1.

The statistics have read x from its beginning; it is normalised from its end, where what was read last is still in the
nearest cache.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.batchnorm import statistics
from caffelite.kernels.batchnorm.rows import BLOCK, forward_rows_of
from caffelite.kernels.batchnorm.statistics import (
    Constants,
    Stored,
    block_of,
    goes_past_cache,
    line_of,
    moments_of,
    statistics_of,
)
from caffelite.kernels.batchnorm.statistics import extent as extent_of
from caffelite.kernels.batchnorm.whole import WholeBatch
from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised
from caffelite.kernels.maps import combine, fence


def kink_of(negative: float | None) -> Callable[..., Any]:
    """Return ``kink(slope, constant, kind)`` as :data:`caffelite.kernels.maps.sums` reads it."""
    if negative is None:
        return register_jitable(lambda slope, constant, kind: None)
    return register_jitable(lambda slope, constant, kind: (kind(slope), kind(constant), kind(negative)))


def _normaliser(negative: float | None, past_cache: bool) -> Callable[..., None]:
    """Return the function that does what :func:`normalise_maps` says for channels first to last - 1 of image n."""
    kink = kink_of(negative)

    def normalise(x, y, channels, length, n, first, last, mean, inverse_std, gamma, beta):
        kind = x.dtype.type
        zero = kind(0)
        for c in range(first, last):
            middle, slope, constant = line_of(mean, inverse_std, gamma, beta, c, kind)
            bend, start = kink(slope, constant, kind), (n * channels + c) * length
            # The constant is not an offset: LLVM may add that to the middle first, in which it is lost.
            combine(x, None, y, start, length, middle, zero, zero, slope, constant, bend, past_cache)

    return register_jitable(normalise)


@specialised
def normalise_maps(negative: float | None, past_cache: bool) -> Callable[..., None]:
    """Make the kernel of the values; ``negative`` is the slope of a ReLU behind them, or None."""
    normalise_channels = _normaliser(negative, past_cache)

    def normalise(begin, end, worker, x, y, channels, length, mean, inverse_std, gamma, beta):
        """y = (x - mean) · inverse_std · gamma + beta for given statistics; a task is a channel of an image.

        In plain NumPy: ``naive.batchnorm``.

        Parameters
        ----------
        x, y : ndarray of float, [images][channels][length]
            ``y`` is set.
        channels, length : int
        mean : ndarray of float or float64, [channels]
            What the type of x loses of it is taken off as well.
        inverse_std : ndarray of float, [channels]
        gamma, beta : ndarray of float, [channels] or [0]
        """
        for n in range((end - 1) // channels, begin // channels - 1, -1):
            first, last = max(begin - n * channels, 0), min(end - n * channels, channels)
            normalise_channels(x, y, channels, length, n, first, last, mean, inverse_std, gamma, beta)
        if past_cache:
            fence()

    return normalise


@specialised
def _forward_blocks(negative: float | None, past_cache: bool) -> Callable[..., None]:
    """Make the kernel of all of it, a block of channels after the other; as for :func:`normalise_maps`."""
    normalise_channels = _normaliser(negative, past_cache)

    def forward_blocks(
        begin,
        end,
        worker,
        x,
        y,
        extent,
        constants,
        group_sums,
        mean_sum,
        variance_sum,
        stored_count,
        mean,
        variance,
        inverse_std,
        gamma,
        beta,
    ):
        """Statistics and values of ``extent.block`` channels, which are read from memory once; a task is a block.

        The arrays are those of :func:`.statistics.of_batch` and :func:`normalise_maps`.
        """
        for task in range(begin, end):
            first, last = task * extent.block, min((task + 1) * extent.block, extent.channels)
            for g in range(extent.groups):
                moments_of(x, extent, g, first, last, group_sums)
            statistics_of(
                first,
                last,
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
            for n in range(extent.images - 1, -1, -1):
                normalise_channels(x, y, extent.channels, extent.length, n, first, last, mean, inverse_std, gamma, beta)
        if past_cache:
            fence()

    return forward_blocks


def or_nothing(values: np.ndarray | None, like: np.ndarray) -> np.ndarray:
    """Return the values on one axis; for None an empty array of the type of ``like``."""
    return np.empty(0, like.dtype) if values is None else values.reshape(-1)


def by_batch(
    x: np.ndarray,
    y: np.ndarray,
    channels: int,
    length: int,
    constants: Constants,
    stored: Stored,
    mean: np.ndarray,
    inverse_std: np.ndarray,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    whole: WholeBatch | None = None,
    negative: float | None = None,
) -> list[Callable[[], None]]:
    """Return the steps that normalise by the statistics of the batch and add them to the stored ones.

    Parameters
    ----------
    x, y : ndarray of float32, one axis
        [images][channels][length]; ``y`` may be ``x``.
    channels, length : int
    constants : Constants
    stored : three ndarrays of float32
        Caffe's blobs, which are updated: mean sum [channels], variance sum [channels] and their count [1].
    mean : ndarray of float64, [channels]
    inverse_std : ndarray of float32, [channels]
        Are set to the mean and to 1 / sqrt(variance + eps), for the gradient.
    gamma, beta : ndarray of float32, [channels], optional
        Of a scale and a shift behind it.
    whole : WholeBatch, optional
        The batch that ``x`` is a piece of; None: it is the batch.
    negative : float, optional
        The slope for negative values of a ReLU behind all of it; None: there is no ReLU.
    """
    learned = or_nothing(gamma, x), or_nothing(beta, x)
    if length == 1 and whole is None:
        scratch = arrays.zeros((3, channels), x.dtype)
        values = x, y, channels, constants, *stored, mean, inverse_std, *learned, scratch
        return [call(forward_rows_of(negative), -(-channels // BLOCK), *values, work=x.size, whole=True)]
    extent = extent_of(x.size, channels, length)
    past_cache = goes_past_cache(y, length, x)
    if whole is None and (block := block_of(extent, x)):
        extent = extent._replace(block=block)
        group_sums = arrays.zeros((2, channels * extent.groups), np.float64)
        variance = arrays.zeros(channels, np.float64)
        arguments = extent, constants, group_sums, *stored, mean, variance, inverse_std, *learned
        kernel_of_blocks = _forward_blocks(negative, past_cache)
        return [call(kernel_of_blocks, -(-channels // block), x, y, *arguments, work=2 * x.size)]
    of_batch = statistics.of_batch if whole is None else whole.statistics
    return [
        *of_batch(x, extent, constants, stored, mean, inverse_std),
        call(
            normalise_maps(negative, past_cache),
            x.size // length,
            x,
            y,
            channels,
            length,
            mean,
            inverse_std,
            *learned,
            work=x.size,
        ),
    ]
