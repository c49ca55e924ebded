"""Batch normalization where several processes have a piece of the batch each, by the statistics of the whole batch.

With n values a channel in the whole batch, and sums over all processes::

    mean = centre + sum(x - centre) / n        variance = sum((x - centre)²) / n - (mean - centre)²

A piece has its mean and variance from the kernels; what is added up is its count, ``count · (mean - centre)`` and
``count · (variance + (mean - centre)²)``, in float64. That is the merging of Chan, Golub and LeVeque (see
:mod:`.statistics`) written as a sum, which is what processes can do at once: the squares lose no digits where the
centre is near the mean. The centre is one that all processes have, the mean that was stored before this batch.

The gradient is linear in sum(dy) and sum(dy · z), so that those of the pieces are added up as they are, each by its
share of the values. The steps are NumPy's: they are for as many numbers as there are channels.
"""

from collections.abc import Callable

import numpy as np

from caffelite.kernels.batchnorm import statistics
from caffelite.kernels.batchnorm.statistics import Constants, Extent, Stored
from caffelite.kernels.engine import arrays


class WholeBatch:
    """The batch that this process has a piece of.

    Parameters
    ----------
    add_up : callable
        Adds up an array of float64 over all processes, in place; all get the same bits.
    centre_sum, centre_count : ndarray of float, [channels] and [1]
        Their quotient is about the mean of the batch, and equal on all processes; a count of 0 stands for a mean of 0.

    Attributes
    ----------
    count : float
        Values that a channel has in the whole batch of the last pass forward.
    """

    def __init__(self, add_up: Callable[[np.ndarray], None], centre_sum: np.ndarray, centre_count: np.ndarray) -> None:
        self._add_up, self._centre_sum, self._centre_count = add_up, centre_sum, centre_count
        self.count = 0.0

    def _centre(self) -> np.ndarray:
        """Return the mean that was stored, in float64; 0 where there is none, or none that is finite."""
        stored_count = float(self._centre_count[0])
        if not stored_count:
            return np.zeros(len(self._centre_sum))
        centre = self._centre_sum / np.float64(stored_count)
        return np.where(np.isfinite(centre), centre, 0.0)

    def statistics(
        self,
        x: np.ndarray,
        extent: Extent,
        constants: Constants,
        stored: Stored,
        mean: np.ndarray,
        inverse_std: np.ndarray,
    ) -> list[Callable[[], None]]:
        """Return the steps that compute the statistics of the whole batch; see :func:`.statistics.of_batch`."""
        channels, count = extent.channels, extent.images * extent.length
        piece_mean, piece_variance = arrays.zeros((2, channels), np.float64)
        # What the kernel would store of the piece alone goes nowhere.
        unused: Stored = (np.zeros(channels, x.dtype), np.zeros(channels, x.dtype), np.zeros(1, x.dtype))
        sums = arrays.zeros(1 + 2 * channels, np.float64)
        first, second = sums[1 : 1 + channels], sums[1 + channels :]

        # A net that diverges has values that are not finite; that is told elsewhere.
        @np.errstate(over="ignore", invalid="ignore")
        def merge() -> None:
            centre = self._centre()
            away = piece_mean - centre
            sums[0] = count
            first[...] = count * away
            second[...] = count * (piece_variance + away * away)
            self._add_up(sums)
            self.count = float(sums[0])
            away = first / self.count
            mean[...] = centre + away
            variance = np.maximum(second / self.count - away * away, 0.0)
            unbiased = self.count / (self.count - 1) if self.count > 1 else 1.0
            for blob, new in zip(stored, (mean, variance * unbiased, np.ones(1)), strict=True):
                blob *= blob.dtype.type(constants.fraction)
                blob += new.astype(blob.dtype)
            inverse_std[...] = 1 / np.sqrt(variance + constants.eps)

        piece = statistics.of_batch(
            x, extent, constants, unused, piece_mean, np.zeros(channels, x.dtype), piece_variance
        )
        return [*piece, merge]

    def coefficients(self, extent: Extent, coefficients: np.ndarray) -> Callable[[], None]:
        """Return the step that makes the coefficients of the gradient those of the whole batch.

        Parameters
        ----------
        extent : Extent
        coefficients : ndarray of float64, [3][channels]
            As the kernel has them from the piece: offset and slope, which are means over its values, and the gain.
        """
        means, count = coefficients[:2], extent.images * extent.length

        @np.errstate(over="ignore", invalid="ignore")
        def add_up() -> None:
            means[...] *= count / self.count
            self._add_up(means)

        return add_up
