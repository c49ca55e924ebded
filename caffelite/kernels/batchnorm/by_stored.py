"""Batch normalization by stored statistics: alone, and as one function of each channel with what stands behind it."""

from collections.abc import Callable

import numpy as np

from caffelite.kernels import elementwise, scale
from caffelite.kernels.batchnorm import statistics
from caffelite.kernels.batchnorm.forward import normalise_maps
from caffelite.kernels.batchnorm.statistics import Stored
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel, specialised


@kernel
def _normalise_rows(begin, end, worker, x, y, channels, mean, inverse_std):
    """y = (x - mean) · inverse_std for given statistics and x, y of [images][channels]; a task is an image.

    ``mean`` and ``inverse_std`` are [channels].
    """
    for n in range(begin, end):
        row = n * channels
        for c in range(channels):
            y[row + c] = (x[row + c] - mean[c]) * inverse_std[c]


def forward(
    x: np.ndarray,
    y: np.ndarray,
    channels: int,
    length: int,
    eps: float,
    stored: Stored,
    mean: np.ndarray,
    inverse_std: np.ndarray,
) -> list[Call]:
    """Return the calls that normalise by the stored statistics; the parameters are those of :func:`.forward.by_batch`.

    ``mean`` may be of the type of ``x``; it and ``inverse_std`` are set.
    """
    prepared = statistics.of_stored(eps, stored, mean, inverse_std)
    if length == 1:
        return [prepared, call(_normalise_rows, x.size // channels, x, y, channels, mean, inverse_std, work=x.size)]
    nothing = np.empty(0, x.dtype)
    values = x, y, channels, length, mean, inverse_std, nothing, nothing
    return [prepared, call(normalise_maps(None, False), x.size // length, *values, work=x.size)]


def backward(dy: np.ndarray, dx: np.ndarray, channels: int, length: int, inverse_std: np.ndarray) -> Call:
    """Return the call of the gradient where the statistics are given: ``dx = dy · inverse_std``."""
    return scale.forward(dy, dx, inverse_std, None, channels, length)


@specialised
def _affine(*chain: str) -> Callable[..., None]:
    """The kernel of an affine function of each channel, with a chain of element-wise functions behind it."""
    value = elementwise.of_result(chain)

    def affine(begin, end, worker, x, y, channels, length, mean, factor, offset, p, other):
        """y = f((x - mean) · factor + offset); a task is a channel of an image, or with a length of 1 an image.

        Parameters
        ----------
        x, y : ndarray of float, [images][channels][length]
        channels, length : int
        mean, factor, offset : ndarray of float, [channels]
        p, other : ndarrays
            Constants of the chain, and what it adds to its results: like ``y``, or empty.
        """
        if length == 1:
            for n in range(begin * channels, end * channels, channels):
                for c in range(channels):
                    i = n + c
                    y[i] = value((x[i] - mean[c]) * factor[c] + offset[c], p, other, i)
            return
        for task in range(begin, end):
            c = task % channels
            centre, slope, constant = mean[c], factor[c], offset[c]
            for i in range(task * length, (task + 1) * length):
                y[i] = value((x[i] - centre) * slope + constant, p, other, i)

    return affine


def affine(
    x: np.ndarray,
    y: np.ndarray,
    length: int,
    mean: np.ndarray,
    factor: np.ndarray,
    offset: np.ndarray,
    chain: elementwise.Chain,
) -> Call:
    """Return the call that computes ``y = f((x - mean) * factor + offset)``, where nothing learns.

    Parameters
    ----------
    x, y : ndarray of float32, one axis
        [images][channels][length]; ``y`` may be ``x``.
    length : int
        Values of a channel of an image.
    mean, factor, offset : ndarray of float32, [channels]
    chain : Chain
        What is applied to the results.
    """
    channels = len(mean)
    tasks = x.size // (channels if length == 1 else length)
    values = x, y, channels, length, mean, factor, offset, chain.constants, chain.other
    return call(_affine(*chain.keys), tasks, *values, work=2 * x.size)
