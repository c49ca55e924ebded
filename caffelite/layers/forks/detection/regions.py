"""What layers of regions of interest share: where the bins of a region are."""

from collections.abc import Sequence

import numpy as np

from caffelite.errors import DataError
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


class Regions(Layer):
    """A layer of features and regions; the regions get no gradient.

    Its steps begin with one that finds, for each region, the places of the map that belong to each bin: ``image``,
    and in ``rows`` and ``columns`` pairs of numbers for each bin along an axis.
    """

    facts = Facts(bottoms=2, without_gradient=(1,), refuses_gradient=False, backward_reads=frozenset())
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

    def locate_along(self, axis: int, bins: np.ndarray, low: np.ndarray, high: np.ndarray, size: int) -> None:
        """Set the bins along one axis (0: rows) for regions from ``low`` to ``high`` of a map of this size."""
        raise NotImplementedError

    def _cut(self, bins: np.ndarray, start: np.ndarray, length: np.ndarray, offset: np.ndarray, size: int) -> None:
        """Set where the bins of ``length`` begin and end, ``start`` added before rounding and ``offset`` after."""
        numbers = np.arange(bins.shape[1] + 1, dtype=length.dtype)
        edges = numbers * length[:, None] + start[:, None]
        offset = offset.astype(np.float64)[:, None]
        bins[:, :, 0] = np.clip(np.floor(edges[:, :-1]) + offset, 0, size)
        bins[:, :, 1] = np.clip(np.ceil(edges[:, 1:]) + offset, 0, size)
