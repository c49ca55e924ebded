"""ROIAlign: the corners of the bins of a region, each between four values."""

from typing import NamedTuple

import numpy as np

from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.registry import layer
from caffelite.layers.forks.detection.regions import Interpolated, Regions
from caffelite.words import Shape


class Grid(NamedTuple):
    """How the corners of bins lie in a map; ``ROIAlign`` computes it.

    Attributes
    ----------
    channels, height, width : int
        Of an image.
    regions : int
        How many there are.
    grid_h, grid_w : int
        Corners of each region along each axis.
    """

    channels: int
    height: int
    width: int
    regions: int
    grid_h: int
    grid_w: int


@kernel
def _interpolate(begin, end, worker, x, y, image, rows, row_shares, columns, column_shares, g):
    """y = x between four places, at each corner; a task is a channel of a region.

    Parameters
    ----------
    x : ndarray of float, [images][channels][height][width]
    y : ndarray of float, [regions][channels][grid_h][grid_w]
        Is set.
    image : ndarray of int64, [regions]
    rows, columns : ndarray of int64, [regions][grid_h or grid_w][2]
        The two rows, or columns, that a corner lies between.
    row_shares, column_shares : ndarray of float, of the same shapes
        The share of each.
    g : Grid
    """
    for task in range(begin, end):
        r = task // g.channels
        start = (image[r] * g.channels + task % g.channels) * g.height * g.width
        for gh in range(g.grid_h):
            k = r * g.grid_h + gh
            above, below = start + rows[2 * k] * g.width, start + rows[2 * k + 1] * g.width
            for gw in range(g.grid_w):
                m = r * g.grid_w + gw
                left, right = columns[2 * m], columns[2 * m + 1]
                a, b = row_shares[2 * k], row_shares[2 * k + 1]
                c, d = column_shares[2 * m], column_shares[2 * m + 1]
                y[(task * g.grid_h + gh) * g.grid_w + gw] = a * (c * x[above + left] + d * x[above + right]) + b * (
                    c * x[below + left] + d * x[below + right]
                )


@kernel
def _interpolate_gradient(begin, end, worker, dx, dy, image, rows, row_shares, columns, column_shares, g):
    """dx = the sum over corners of the shares that its values had in dy; a task is a channel of an image.

    ``dx`` is set; arrays as in :func:`_interpolate`.
    """
    for task in range(begin, end):
        start = task * g.height * g.width
        for i in range(start, start + g.height * g.width):
            dx[i] = 0
        for r in range(g.regions):
            if image[r] != task // g.channels:
                continue
            for gh in range(g.grid_h):
                k = r * g.grid_h + gh
                above, below = start + rows[2 * k] * g.width, start + rows[2 * k + 1] * g.width
                for gw in range(g.grid_w):
                    m = r * g.grid_w + gw
                    left, right = columns[2 * m], columns[2 * m + 1]
                    i = ((r * g.channels + task % g.channels) * g.grid_h + gh) * g.grid_w + gw
                    a, b = row_shares[2 * k], row_shares[2 * k + 1]
                    c, d = column_shares[2 * m], column_shares[2 * m + 1]
                    dx[above + left] += a * c * dy[i]
                    dx[above + right] += a * d * dy[i]
                    dx[below + left] += b * c * dy[i]
                    dx[below + right] += b * d * dy[i]


@layer("ROIAlign")
class ROIAlign(Interpolated):
    """The features at the corners of ``pooled_h × pooled_w`` bins of each region, interpolated between four places.

    Bottoms as for ROIPooling. Top ``R × C × (pooled_h + 1) × (pooled_w + 1)``; an average pooling of 2 × 2 with stride
    1 comes behind it. ``roi_pooling_param``: ``pooled_h``, ``pooled_w``, ``spatial_scale``, ``pad_ratio``, as for
    ROIPooling. Element i of the map lies at i + 0.5. A corner outside the map, and a region without size, is 0.

    From the MSCNN and Cascade R-CNN fork; He et al., "Mask R-CNN", 2017; Cai and Vasconcelos, "Cascade R-CNN: Delving
    into High Quality Object Detection", 2018. Layers of this name in other forks compute something else; their settings
    (``roi_align_param``, ``bi_type``, ``is_multi_interpolate``) are an error.
    """

    facts = Regions.facts.but(kind="pooling", settings=("roi_pooling_param",))
    kernels = _interpolate, _interpolate_gradient

    def setup(self) -> None:
        p = self.param.roi_pooling_param
        for owner, name in ((self.param, "roi_align_param"), (p, "bi_type"), (p, "is_multi_interpolate")):
            if owner.HasField(name):
                self.error(f"{name} belongs to a ROIAlign of another fork, which caffelite lacks", name)
        if min(p.pooled_h, p.pooled_w) < 1:
            self.error("roi_pooling_param needs pooled_h and pooled_w of at least 1", "roi_pooling_param")
        self._check_scale(p)
        self.pooled, self.scale, self.pad = (p.pooled_h + 1, p.pooled_w + 1), p.spatial_scale, p.pad_ratio

    def locate_along(self, axis: int, bins: np.ndarray, low: np.ndarray, high: np.ndarray, size: int) -> None:
        kind = low.dtype.type
        pad = (high - low + 1) * kind(self.pad)
        first, last = (low - pad) * kind(self.scale) - kind(0.5), (high + pad) * kind(self.scale) - kind(0.5)
        corners = bins.shape[1]
        place = first[:, None] + np.arange(corners, dtype=low.dtype) * ((last - first) / kind(corners - 1))[:, None]
        inside = (place >= -0.5) & (place <= size - 0.5) & (last > first)[:, None]
        place = np.where(inside, place, 0)
        near = np.floor(place)
        bins[:, :, 0], bins[:, :, 1] = np.clip(near, 0, size - 1), np.clip(near + 1, 0, size - 1)
        self._share(axis, np.clip(place, 0, size - 1) - bins[:, :, 0], inside)

    def _record(self, shape: Shape) -> Grid:
        _, channels, height, width = shape
        return Grid(channels, height, width, len(self.image), *self.pooled)
