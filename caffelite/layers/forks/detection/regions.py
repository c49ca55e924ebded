"""What layers of regions of interest share: where the bins of a region are, and values between places of the map."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from caffelite.errors import DataError
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import Kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.schema.messages import (
    DeformablePSROIPoolingParameter,
    PSROIAlignParameter,
    PSROIPoolingParameter,
    ROIPoolingParameter,
)
from caffelite.words import Shape, count, text_of

#: Coordinates this far out are a mistake.
_FAR = 1e9


def rounded(x: np.ndarray) -> np.ndarray:
    """Round to whole numbers as C does: halves away from zero."""
    whole = np.trunc(x)
    return whole + np.sign(x) * (np.abs(x - whole) >= 0.5)


class Regions(Layer, ABC):
    """A layer of features and regions; the regions get no gradient.

    Its steps begin with one that finds, for each region, the places of the map that belong to each bin: ``image``,
    and in ``rows`` and ``columns`` pairs of numbers for each bin along an axis.
    """

    facts = Facts(
        images_meet="its regions name images by their numbers in the batch",
        bottoms=2,
        without_gradient=(1,),
        refuses_gradient=False,
        backward_reads=frozenset(),
    )
    #: Bins along each axis, set by ``setup``.
    pooled: tuple[int, int]
    scale: float

    def _check_scale(
        self,
        settings: ROIPoolingParameter | PSROIPoolingParameter | PSROIAlignParameter | DeformablePSROIPoolingParameter,
    ) -> None:
        if not 0 < settings.spatial_scale <= _FAR:
            self.error(f"spatial_scale is {settings.spatial_scale:g}, expected above 0", "spatial_scale")
        if isinstance(settings, ROIPoolingParameter) and not 0 <= settings.pad_ratio <= _FAR:
            self.error(f"pad_ratio is {settings.pad_ratio:g}, expected at least 0", "pad_ratio")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, regions = bottoms
        if len(x) != 4:
            self.shape_error(f"takes features of 4 axes (images × channels × height × width), not {text_of(x)}")
        if not regions or count(regions) != 5 * regions[0]:
            self.shape_error(
                f"takes regions of 5 numbers (image, xmin, ymin, xmax, ymax), not {text_of(regions)}", "bottom", 1
            )
        return [(regions[0], self.channels(x[1]), *self.pooled)]

    def channels(self, given: int) -> int:
        """Return the channels of the top for these channels of the features."""
        return given

    def _read(self, regions: np.ndarray, images: int) -> np.ndarray:
        """Return the four coordinates, one row each, and set ``image``."""
        number = np.trunc(regions[:, 0])
        for i in np.flatnonzero(~((number >= 0) & (number < images))):
            raise DataError(
                f"{self.where('bottom', 1)}: region {i} is in image {regions[i, 0]:g}, but there are {images} (from 0)"
            )
        for i, j in np.argwhere(~(np.abs(regions) < _FAR)):
            raise DataError(
                f"{self.where('bottom', 1)}: region {i} has the coordinate {regions[i, j]:g}, expected -1e9 to 1e9"
            )
        self.image[:] = number
        return regions[:, 1:].T

    def _locating(self, bottoms: Sequence[Blob], each: int = 1) -> Step:
        """Return the step that sets ``image``, ``rows`` and ``columns``, the latter with so many pairs a bin."""
        x = bottoms[0].shape
        regions = bottoms[1].data.reshape(-1, 5)
        self.image = np.zeros(len(regions), np.int64)
        self.rows, self.columns = (np.zeros((len(regions), bins * each, 2), np.int64) for bins in self.pooled)

        def locate() -> None:
            left, top, right, bottom = self._read(regions, x[0])
            self.locate_along(0, self.rows, top, bottom, x[2])
            self.locate_along(1, self.columns, left, right, x[3])

        return locate

    @abstractmethod
    def locate_along(self, axis: int, bins: np.ndarray, low: np.ndarray, high: np.ndarray, size: int) -> None:
        """Set the bins along one axis (0: rows) for regions from ``low`` to ``high`` of a map of this size."""

    def _cut(self, bins: np.ndarray, start: np.ndarray, length: np.ndarray, offset: np.ndarray, size: int) -> None:
        """Set where the bins of ``length`` begin and end, ``start`` added before rounding and ``offset`` after."""
        numbers = np.arange(bins.shape[1] + 1, dtype=length.dtype)
        edges = numbers * length[:, None] + start[:, None]
        offset = offset.astype(np.float64)[:, None]
        bins[:, :, 0] = np.clip(np.floor(edges[:, :-1]) + offset, 0, size)
        bins[:, :, 1] = np.clip(np.ceil(edges[:, 1:]) + offset, 0, size)


class Interpolated(Regions):
    """A layer whose values lie between four places of the map each: two rows and two columns, with a share of each."""

    #: What computes the top, and the gradient of the features: of the same arrays and the same record.
    kernels: tuple[Kernel, Kernel]
    #: Points of a bin along each axis.
    points = 1

    @abstractmethod
    def _record(self, shape: Shape) -> NamedTuple:
        """Return what the kernels are to know of features of this shape."""

    def _share(self, axis: int, further: np.ndarray, inside: np.ndarray) -> None:
        """Set the shares along one axis of points so far behind their first place; those outside have none."""
        self.shares[axis][:, :, 1] = further * inside
        self.shares[axis][:, :, 0] = (1 - further) * inside

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        locate = self._locating(bottoms, self.points)
        # A region without height has no values in any column either: its rows have no share in anything.
        self.shares = tuple(np.zeros(bins.shape, x.data.dtype) for bins in (self.rows, self.columns))
        return [locate, self._call(self.kernels[0], count(y.shape[:2]), x.shape, x.flat, y.flat)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        if x.diff is None:
            return []
        return [self._call(self.kernels[1], count(x.shape[:2]), x.shape, x.flat_diff, y.flat_diff)]

    def _call(self, kernel: Kernel, tasks: int, shape: Shape, x: np.ndarray, y: np.ndarray) -> Step:
        return call(
            kernel,
            tasks,
            x,
            y,
            self.image,
            self.rows.reshape(-1),
            self.shares[0].reshape(-1),
            self.columns.reshape(-1),
            self.shares[1].reshape(-1),
            self._record(shape),
            work=10 * y.size * self.points**2,
        )
