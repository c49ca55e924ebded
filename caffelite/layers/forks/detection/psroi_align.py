"""PSROIAlign: the mean of some points of each bin of a region, each bin in channels of its own."""

from collections.abc import Callable, Sequence

import numpy as np

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.forks.detection.regions import PSROIPooling
from caffelite.words import count

_ZERO = np.float32(0)


@specialised
def _sample(gradient: bool) -> Callable[..., None]:
    def sample(
        begin,
        end,
        worker,
        x,
        y,
        image,
        rows,
        row_shares,
        columns,
        column_shares,
        outputs,
        height,
        width,
        regions,
        group,
        points,
    ):
        """y = the mean of x at the points of each bin; or, as ``gradient``, x = the sum of the shares of y.

        A task is an output of a region, or (gradient) a channel of an image.
        """
        channels = outputs * group * group
        for task in range(begin, end):
            first, last, d = task // outputs, task // outputs + 1, task % outputs
            first_h, last_h, first_w, last_w = 0, group, 0, group
            if gradient:
                first, last, d = 0, regions, task % channels // (group * group)
                first_h, first_w = task // group % group, task % group
                last_h, last_w = first_h + 1, first_w + 1
                for i in range(task * height * width, (task + 1) * height * width):
                    x[i] = 0
            for r in range(first, last):
                if gradient and image[r] != task // channels:
                    continue
                for ph in range(first_h, last_h):
                    for pw in range(first_w, last_w):
                        start = (image[r] * channels + (d * group + ph) * group + pw) * height * width
                        target = ((r * outputs + d) * group + ph) * group + pw
                        part, total = y[target] / (points * points), _ZERO
                        for k in range((r * group + ph) * points, (r * group + ph + 1) * points):
                            above, below = start + rows[2 * k] * width, start + rows[2 * k + 1] * width
                            a, b = row_shares[2 * k], row_shares[2 * k + 1]
                            for m in range((r * group + pw) * points, (r * group + pw + 1) * points):
                                left, right = columns[2 * m], columns[2 * m + 1]
                                c, e = column_shares[2 * m], column_shares[2 * m + 1]
                                if gradient:
                                    x[above + left] += a * c * part
                                    x[above + right] += a * e * part
                                    x[below + left] += b * c * part
                                    x[below + right] += b * e * part
                                else:
                                    total += a * (c * x[above + left] + e * x[above + right])
                                    total += b * (c * x[below + left] + e * x[below + right])
                        if not gradient:
                            y[target] = total / (points * points)

    return sample


@layer("PSROIAlign")
class PSROIAlign(PSROIPooling):
    """The mean of ``sample_num × sample_num`` points of each of ``group_size × group_size`` bins of each region.

    Bottoms and top as for PSROIPooling. ``psroi_align_param``: ``spatial_scale``, ``output_dim``, ``group_size``,
    ``sample_num`` (2). Nothing is rounded: a point is interpolated between four places. Where a bin is cut off by the
    edge of the map, its points begin at the edge; those beyond the bin's other end count as 0.

    From the makefile/frcnn fork, whose gradient leaves out places beyond the bin that the interpolation reads; here it
    has them.
    """

    facts = PSROIPooling.facts.but(kind="pooling", settings=("psroi_align_param",))

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
        further = place - bins[:, :, 0]
        self.shares[axis][:, :, 1] = further * inside
        self.shares[axis][:, :, 0] = (1 - further) * inside

    def _call(self, x: Blob, data: np.ndarray, top: np.ndarray, tasks: int, gradient: bool) -> Step:
        _, _, height, width = x.shape
        return call(
            _sample(gradient),
            tasks,
            data,
            top,
            self.image,
            self.rows.reshape(-1),
            self.shares[0].reshape(-1),
            self.columns.reshape(-1),
            self.shares[1].reshape(-1),
            self.outputs,
            height,
            width,
            len(self.image),
            self.pooled[0],
            self.points,
            work=10 * top.size * self.points**2,
        )

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        locate = self._locating(bottoms, self.points)
        self.shares = tuple(np.zeros(bins.shape, x.data.dtype) for bins in (self.rows, self.columns))
        return [locate, self._call(x, x.flat, tops[0].flat, len(self.image) * self.outputs, False)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        if x.diff is None:
            return []
        return [self._call(x, x.flat_diff, tops[0].flat_diff, count(x.shape[:2]), True)]
