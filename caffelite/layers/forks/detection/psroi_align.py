"""PSROIAlign: the mean of some points of each bin of a region, each bin in channels of its own."""

from typing import NamedTuple

import numpy as np

from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.registry import layer
from caffelite.layers.forks.detection.psroi_pooling import PSROIPooling
from caffelite.layers.forks.detection.regions import Interpolated
from caffelite.words import Shape

_ZERO = np.float32(0)


class Points(NamedTuple):
    """How the points lie in bins, channels and map; ``PSROIAlign`` computes it.

    Attributes
    ----------
    outputs, group : int
        D outputs of G × G bins each, so D·G·G channels.
    height, width : int
        Of a map, in elements.
    regions : int
        How many there are.
    points : int
        Points of a bin along each axis.
    """

    outputs: int
    group: int
    height: int
    width: int
    regions: int
    points: int


@kernel
def _means(begin, end, worker, x, y, image, rows, row_shares, columns, column_shares, g):
    """y = the mean of x at the points of each bin, each between four values; a task is an output of a region.

    Parameters
    ----------
    x : ndarray of float, [images][outputs · group · group][height][width]
    y : ndarray of float, [regions][outputs][group][group]
        Is set.
    image : ndarray of int64, [regions]
    rows, columns : ndarray of int64, [regions][group · points][2]
        The two rows, or columns, that the points of a bin lie between.
    row_shares, column_shares : ndarray of float, of the same shapes
        The share of each.
    g : Points
    """
    group, points, width = g.group, g.points, g.width
    channels = g.outputs * group * group
    for task in range(begin, end):
        r, d = task // g.outputs, task % g.outputs
        for ph in range(group):
            for pw in range(group):
                start = (image[r] * channels + (d * group + ph) * group + pw) * g.height * width
                total = _ZERO
                for k in range((r * group + ph) * points, (r * group + ph + 1) * points):
                    above, below = start + rows[2 * k] * width, start + rows[2 * k + 1] * width
                    a, b = row_shares[2 * k], row_shares[2 * k + 1]
                    for m in range((r * group + pw) * points, (r * group + pw + 1) * points):
                        left, right = columns[2 * m], columns[2 * m + 1]
                        c, e = column_shares[2 * m], column_shares[2 * m + 1]
                        total += a * (c * x[above + left] + e * x[above + right])
                        total += b * (c * x[below + left] + e * x[below + right])
                y[(task * group + ph) * group + pw] = total / (points * points)


@kernel
def _means_gradient(begin, end, worker, dx, dy, image, rows, row_shares, columns, column_shares, g):
    """dx = the sum over bins of the shares that its values had in dy; a task is a channel of an image.

    ``dx`` is set; arrays as in :func:`_means`.
    """
    group, points, width = g.group, g.points, g.width
    channels = g.outputs * group * group
    for task in range(begin, end):
        d, ph, pw = task % channels // (group * group), task // group % group, task % group
        start = task * g.height * width
        for i in range(start, start + g.height * width):
            dx[i] = 0
        for r in range(g.regions):
            if image[r] != task // channels:
                continue
            part = dy[((r * g.outputs + d) * group + ph) * group + pw] / (points * points)
            for k in range((r * group + ph) * points, (r * group + ph + 1) * points):
                above, below = start + rows[2 * k] * width, start + rows[2 * k + 1] * width
                a, b = row_shares[2 * k], row_shares[2 * k + 1]
                for m in range((r * group + pw) * points, (r * group + pw + 1) * points):
                    left, right = columns[2 * m], columns[2 * m + 1]
                    c, e = column_shares[2 * m], column_shares[2 * m + 1]
                    dx[above + left] += a * c * part
                    dx[above + right] += a * e * part
                    dx[below + left] += b * c * part
                    dx[below + right] += b * e * part


@layer("PSROIAlign")
class PSROIAlign(Interpolated, PSROIPooling):
    """The mean of ``sample_num × sample_num`` points of each of ``group_size × group_size`` bins of each region.

    Bottoms and top as for PSROIPooling. ``psroi_align_param``: ``spatial_scale``, ``output_dim``, ``group_size``,
    ``sample_num`` (2). Nothing is rounded: a point is interpolated between four places. Where a bin is cut off by the
    edge of the map, its points begin at the edge; those beyond the bin's other end count as 0.

    From the makefile/frcnn fork, whose gradient leaves out places beyond the bin that the interpolation reads; here it
    has them.
    """

    facts = PSROIPooling.facts.but(kind="pooling", settings=("psroi_align_param",))
    kernels = _means, _means_gradient

    def setup(self) -> None:
        p = self.param.psroi_align_param
        for name in ("output_dim", "group_size", "sample_num"):
            if getattr(p, name) < 1:
                self.error(f"psroi_align_param needs {name} of at least 1", name)
        self._check_scale(p)
        self.pooled, self.scale, self.outputs = (p.group_size, p.group_size), p.spatial_scale, p.output_dim
        self.points = p.sample_num

    def locate_along(self, axis: int, bins: np.ndarray, low: np.ndarray, high: np.ndarray, size: int) -> None:
        kind, group = low.dtype.type, self.pooled[axis]
        first, last = low * kind(self.scale), (high + 1) * kind(self.scale)
        length = (np.maximum(last - first, kind(0.1)) / kind(group))[:, None]
        edges = np.clip(np.arange(group + 1, dtype=low.dtype) * length + first[:, None], 0, size - 1)[:, :, None]
        steps = np.arange(1, self.points + 1, dtype=low.dtype) * (length / kind(self.points + 1))
        place = edges[:, :-1] + steps[:, None]
        inside = (place < edges[:, 1:]).reshape(len(low), -1)
        place = np.where(inside, place.reshape(len(low), -1), 0)
        bins[:, :, 0] = np.floor(place)
        bins[:, :, 1] = np.minimum(bins[:, :, 0] + 1, size - 1)
        self._share(axis, place - bins[:, :, 0], inside)

    def _record(self, shape: Shape) -> Points:
        _, _, height, width = shape
        return Points(self.outputs, self.pooled[0], height, width, len(self.image), self.points)
