"""PSROIPooling: the mean of each bin of a region, each bin in channels of its own."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.forks.detection.regions import Regions, rounded
from caffelite.words import count

_ZERO = np.float32(0)


@kernel
def _means(begin, end, worker, x, y, image, rows, columns, outputs, height, width, group):
    """The mean of each bin; a task is an output of a region.

    Parameters
    ----------
    x : ndarray of float, [images][outputs · group · group][height][width]
        Bin (h, w) of output d is in channel ``(d · group + h) · group + w``.
    y : ndarray of float, [regions][outputs][group][group]
        Is set; 0 in an empty bin.
    image : ndarray of int64, [regions]
    rows, columns : ndarray of int64, [regions][group][2]
        Where each bin begins and ends along an axis.
    outputs, height, width, group : int
    """
    for task in range(begin, end):
        r, d = task // outputs, task % outputs
        for ph in range(group):
            top, bottom = rows[2 * (r * group + ph)], rows[2 * (r * group + ph) + 1]
            for pw in range(group):
                left, right = columns[2 * (r * group + pw)], columns[2 * (r * group + pw) + 1]
                channel = (d * group + ph) * group + pw
                start = (image[r] * outputs * group * group + channel) * height * width
                total = _ZERO
                for h in range(top, bottom):
                    for i in range(start + h * width + left, start + h * width + right):
                        total += x[i]
                empty = top >= bottom or left >= right
                y[(task * group + ph) * group + pw] = 0 if empty else total / ((bottom - top) * (right - left))


@kernel
def _means_gradient(begin, end, worker, dy, dx, image, rows, columns, outputs, height, width, group, regions):
    """dx = the sum of dy / size of the bins that a value lies in; a task is a channel of an image.

    ``dx`` is set; arrays as in :func:`_means`.
    """
    channels = outputs * group * group
    for task in range(begin, end):
        start = task * height * width
        for i in range(start, start + height * width):
            dx[i] = 0
        d, ph, pw = task % channels // (group * group), task // group % group, task % group
        for r in range(regions):
            if image[r] != task // channels:
                continue
            top, bottom = rows[2 * (r * group + ph)], rows[2 * (r * group + ph) + 1]
            left, right = columns[2 * (r * group + pw)], columns[2 * (r * group + pw) + 1]
            if top >= bottom or left >= right:
                continue
            share = dy[((r * outputs + d) * group + ph) * group + pw] / ((bottom - top) * (right - left))
            for h in range(top, bottom):
                for i in range(start + h * width + left, start + h * width + right):
                    dx[i] += share


@layer("PSROIPooling")
class PSROIPooling(Regions):
    """The mean of each of ``group_size × group_size`` bins of each region, each bin in channels of its own.

    Bottoms: features ``N × D·G·G × H × W``; regions as for ROIPooling. Top ``R × D × G × G``: bin (h, w) of output d is
    taken from channel ``(d·G + h)·G + w``. ``psroi_pooling_param``: ``spatial_scale``, ``output_dim`` (D),
    ``group_size`` (G). Coordinates are rounded before they are multiplied by ``spatial_scale``; an empty bin is 0.

    From the R-FCN fork; Dai et al., "R-FCN: Object Detection via Region-based Fully Convolutional Networks", 2016.
    """

    facts = Regions.facts.but(kind="pooling", settings=("psroi_pooling_param",))

    def setup(self) -> None:
        p = self.param.psroi_pooling_param
        for name in ("output_dim", "group_size"):
            if getattr(p, name) < 1:
                self.error(f"psroi_pooling_param needs {name} of at least 1", name)
        self._check_scale(p)
        self.pooled, self.scale, self.outputs = (p.group_size, p.group_size), p.spatial_scale, p.output_dim

    def channels(self, given: int) -> int:
        expected = self.outputs * count(self.pooled)
        if given != expected:
            self.shape_error(
                f"its features have {given} channels, expected output_dim × group_size², {expected}", "bottom", 0
            )
        return self.outputs

    def locate_along(self, axis: int, bins: np.ndarray, low: np.ndarray, high: np.ndarray, size: int) -> None:
        kind = low.dtype.type
        first, last = rounded(low) * kind(self.scale), (rounded(high) + 1) * kind(self.scale)
        length = np.maximum(last - first, kind(0.1)) / kind(bins.shape[1])
        self._cut(bins, first, length, np.zeros_like(length), size)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        _, _, height, width = x.shape
        locate = self._locating(bottoms)
        work = 4 * y.data.size / max(count(self.pooled), 1) * height * width
        return [
            locate,
            call(
                _means,
                len(self.image) * self.outputs,
                x.flat,
                y.flat,
                self.image,
                self.rows.reshape(-1),
                self.columns.reshape(-1),
                self.outputs,
                height,
                width,
                self.pooled[0],
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
                _means_gradient,
                images * channels,
                dy,
                x.flat_diff,
                self.image,
                self.rows.reshape(-1),
                self.columns.reshape(-1),
                self.outputs,
                height,
                width,
                self.pooled[0],
                len(self.image),
                work=x.data.size * max(len(self.image), 1),
            )
        ]
