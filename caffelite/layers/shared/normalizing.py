"""What layers that normalize by mean and variance share: these statistics, and the orders of blobs that files have."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from caffelite.kernels.batchnorm.whole import WholeBatch
from caffelite.layers.contract.layer import Layer


@dataclass(frozen=True, slots=True)
class Statistics:
    """Mean and variance of each channel.

    Attributes
    ----------
    mean, variance : ndarray of float64, shape (channels,)
        Divided by the factor; 0 where that is 0, as the layer has it.
    factor : float or None
        What the blobs were divided by; None in layouts without one.
    layout : str
        Whose order of blobs it is; empty for what was measured.
    """

    mean: np.ndarray
    variance: np.ndarray
    factor: float | None
    layout: str


class Layout(NamedTuple):
    """An order in which weights files have the blobs of a normalizing layer.

    Attributes
    ----------
    name : str
        Whose order it is.
    blobs : tuple of str
        What each blob is, in the words of the fork.
    factor : str
        Which of them mean and variance are to be divided by; empty: they are stored as they are.
    """

    name: str
    blobs: tuple[str, ...]
    factor: str = ""

    def statistics(self, blobs: Sequence[np.ndarray]) -> Statistics | None:
        """Return the statistics in blobs of this layout; None where it has none, or the factor is not one number."""
        if "mean" not in self.blobs:
            return None
        mean, variance = (self._values(blobs, what) for what in ("mean", "variance"))
        if not self.factor:
            return Statistics(mean, variance, None, self.name)
        factors = self._values(blobs, self.factor)
        if factors.size != 1:
            return None
        factor = float(factors[0])
        share = 1 / factor if factor else 0.0
        return Statistics(mean * share, variance * share, factor, self.name)

    def _values(self, blobs: Sequence[np.ndarray], what: str) -> np.ndarray:
        return np.asarray(blobs[self.blobs.index(what)], np.float64).reshape(-1)


CAFFE = Layout("Caffe", ("mean", "variance", "factor"), "factor")
NVCAFFE = Layout("NVCaffe", ("mean", "variance", "correction", "scale", "bias"), "correction")
NVCAFFE_BEFORE_016 = Layout("NVCaffe before 0.16", ("scale", "bias", "mean", "variance", "reserved"))
PSPNET = Layout("PSPNet", ("scale", "shift", "mean", "variance"))
SEGNET = Layout("SegNet", ("scale", "shift"))


def layout_of(blobs: Sequence[np.ndarray]) -> Layout | None:
    """Return the layout that blobs of a normalizing layer are in; None where it is nobody's."""
    if len(blobs) == len(NVCAFFE.blobs):
        # The third is the mean of each channel then, not one number.
        return NVCAFFE_BEFORE_016 if blobs[2].size > 1 == blobs[4].size else NVCAFFE
    return {len(layout.blobs): layout for layout in (CAFFE, PSPNET, SEGNET)}.get(len(blobs))


class BatchSetting(NamedTuple):
    """The setting that makes a layer take the statistics of the batch in TEST, and how to have it take stored ones.

    Attributes
    ----------
    name, value : str
    mend : str
    """

    name: str
    value: str
    mend: str


class Normalizing(Layer, ABC):
    """A layer that normalizes each channel by mean and variance, of the batch or stored ones.

    A type sets the attributes in ``setup``.

    Attributes
    ----------
    eps : float
        What is added to the variance.
    uses_stored : bool
        It takes stored statistics in its phase, not those of the batch.
    scales : bool
        It multiplies and shifts what is normalized by learned numbers of its own.
    layout : Layout
        The order of its blobs.
    fraction : float
        What of the stored statistics stays in a training pass; 1: nothing is forgotten.
    """

    eps: float
    uses_stored: bool
    scales: bool
    layout: Layout
    fraction: float

    @abstractmethod
    def takes(self, blobs: Sequence[np.ndarray]) -> bool:
        """Whether the layer, as it is set, reads these blobs of a weights file as what they are."""

    @property
    @abstractmethod
    def batch_setting(self) -> BatchSetting:
        """The setting that makes it take the statistics of the batch in TEST."""

    @property
    def sums(self) -> list[np.ndarray]:
        """The blobs that change in each pass in TRAIN: mean, variance and, if there is one, the factor."""
        names = ["mean", "variance", *([self.layout.factor] if self.layout.factor else [])]
        return [self.blobs[self.layout.blobs.index(name)].data for name in names if name in self.layout.blobs]

    def whole_batch(self, centre_sum: np.ndarray, centre_count: np.ndarray) -> WholeBatch | None:
        """Return the batch that this process has a piece of; None where what it has is the batch.

        Parameters
        ----------
        centre_sum, centre_count : ndarray
            See :class:`.WholeBatch`.
        """
        group = self.context.statistics
        return WholeBatch(group.sum, centre_sum, centre_count) if group.size > 1 else None

    @property
    def stored_statistics(self) -> Statistics | None:
        """The statistics in its blobs; None where it stores none."""
        return self.layout.statistics([blob.data for blob in self.blobs])

    @property
    @abstractmethod
    def batch_statistics(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and ``1 / sqrt(variance + eps)`` of each channel of the last batch, as the layer has them from forward.

        None where it takes stored ones, or does not keep those of the batch in memory that is looked into.
        """

    @abstractmethod
    def averaged(self, passes: int) -> Statistics | None:
        """Return what :attr:`sums` average after some passes that began with zeros; None where nothing is summed."""
