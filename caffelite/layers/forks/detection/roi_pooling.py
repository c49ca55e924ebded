"""ROIPooling: the largest value of each bin of a region of interest."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.forks.detection.regions import Regions, rounded
from caffelite.words import count

_LOWEST = np.float32(-3.4028234663852886e38)


@kernel
def _largest(begin, end, worker, x, y, places, image, rows, columns, channels, height, width, pooled_h, pooled_w):
    """The largest value of each bin; a task is a channel of a region.

    Parameters
    ----------
    x : ndarray of float, [images][channels][height][width]
    y : ndarray of float, [regions][channels][pooled_h][pooled_w]
        Is set; 0 in an empty bin.
    places : ndarray of int32, of the shape of ``y``
        Is set to the place of the largest value in its map, the first of equals; -1 in an empty bin.
    image : ndarray of int64, [regions]
    rows, columns : ndarray of int64, [regions][pooled_h or pooled_w][2]
        Where each bin begins and ends along an axis.
    channels, height, width, pooled_h, pooled_w : int
    """
    for task in range(begin, end):
        r = task // channels
        start = (image[r] * channels + task % channels) * height * width
        for ph in range(pooled_h):
            top, bottom = rows[2 * (r * pooled_h + ph)], rows[2 * (r * pooled_h + ph) + 1]
            for pw in range(pooled_w):
                left, right = columns[2 * (r * pooled_w + pw)], columns[2 * (r * pooled_w + pw) + 1]
                best, place = _LOWEST, -1
                for h in range(top, bottom):
                    for i in range(h * width + left, h * width + right):
                        if x[start + i] > best:
                            best, place = x[start + i], i
                target = (task * pooled_h + ph) * pooled_w + pw
                y[target] = 0 if top >= bottom or left >= right else best
                places[target] = place


@kernel
def _largest_gradient(begin, end, worker, dy, places, dx, image, channels, size, regions, bins):
    """dx = the sum of dy of the bins whose largest value this is; a task is a channel of an image.

    Parameters
    ----------
    dy, places : ndarray of float and of int32, [regions][channels][bins]
    dx : ndarray of float, [images][channels][size]
        Is set.
    image : ndarray of int64, [regions]
    channels, size, regions, bins : int
        ``size`` is that of a map.
    """
    for task in range(begin, end):
        for i in range(task * size, (task + 1) * size):
            dx[i] = 0
        for r in range(regions):
            if image[r] == task // channels:
                start = (r * channels + task % channels) * bins
                for i in range(start, start + bins):
                    if places[i] >= 0:
                        dx[task * size + places[i]] += dy[i]


@layer("ROIPooling")
class ROIPooling(Regions):
    """The largest value of each of ``pooled_h × pooled_w`` bins of each region; 0 where a bin is empty.

    Bottoms: features ``N × C × H × W``; regions, R rows of 5 numbers: image, xmin, ymin, xmax, ymax. Top ``R × C ×
    pooled_h × pooled_w``. ``roi_pooling_param``: ``pooled_h`` and ``pooled_w`` (Intel: ``pooled_size``);
    ``spatial_scale`` (1), by which coordinates are multiplied before they are rounded; ``pad_ratio`` (0), the share of
    its size by which a region grows on each side (MSCNN). A region has at least one element; bins overlap where its
    size cannot be divided.

    From the Fast R-CNN fork; Girshick, "Fast R-CNN", 2015.
    """

    facts = Regions.facts.but(kind="pooling", settings=("roi_pooling_param",))

    def setup(self) -> None:
        p = self.param.roi_pooling_param
        sizes = list(p.pooled_size) or [p.pooled_h, p.pooled_w]
        if len(sizes) > 2:
            self.error(f"pooled_size is given {len(sizes)} times, expected once or twice", "pooled_size")
        if min(sizes) < 1:
            self.error("roi_pooling_param needs pooled_h and pooled_w of at least 1", "roi_pooling_param")
        self._check_scale(p)
        self.pooled, self.scale, self.pad = (sizes[0], sizes[-1]), p.spatial_scale, p.pad_ratio

    def locate_along(self, axis: int, bins: np.ndarray, low: np.ndarray, high: np.ndarray, size: int) -> None:
        kind = low.dtype.type
        pad = (high - low + 1) * kind(self.pad)
        first, last = rounded((low - pad) * kind(self.scale)), rounded((high + pad) * kind(self.scale))
        length = np.maximum(last - first + 1, 1) / kind(bins.shape[1])
        self._cut(bins, np.zeros_like(length), length, first, size)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        _, channels, height, width = x.shape
        locate = self._locating(bottoms)
        self.places = np.zeros(y.data.size, np.int32)
        work = 4 * y.data.size / max(count(self.pooled), 1) * height * width
        return [
            locate,
            call(
                _largest,
                len(self.image) * channels,
                x.flat,
                y.flat,
                self.places,
                self.image,
                self.rows.reshape(-1),
                self.columns.reshape(-1),
                channels,
                height,
                width,
                *self.pooled,
                work=work,
            ),
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, dy = bottoms[0], tops[0].flat_diff
        if x.diff is None:
            return []
        images, channels, height, width = x.shape
        return [
            call(
                _largest_gradient,
                images * channels,
                dy,
                self.places,
                x.flat_diff,
                self.image,
                channels,
                height * width,
                len(self.image),
                count(self.pooled),
                work=x.data.size + 4 * dy.size,
            )
        ]
