"""ROIPooling, PSROIPooling and ROIAlign: one small map for each region of interest."""

from collections.abc import Callable, Sequence

import numpy as np

from caffelite.errors import DataError
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.schema.messages import (
    DeformablePSROIPoolingParameter,
    PSROIAlignParameter,
    PSROIPoolingParameter,
    ROIPoolingParameter,
)
from caffelite.words import Shape, count, text_of

_ZERO, _LOWEST = np.float32(0), np.float32(-3.4028234663852886e38)
#: Coordinates this far out are a mistake.
_FAR = 1e9


@kernel
def _largest(begin, end, worker, x, y, places, image, rows, columns, channels, height, width, pooled_h, pooled_w):
    """The largest value of each bin and its place in the map, -1 in an empty bin; a task is a channel of a region."""
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
    """dx = the sum of dy of the bins whose largest value this is; a task is a channel of an image."""
    for task in range(begin, end):
        for i in range(task * size, (task + 1) * size):
            dx[i] = 0
        for r in range(regions):
            if image[r] == task // channels:
                start = (r * channels + task % channels) * bins
                for i in range(start, start + bins):
                    if places[i] >= 0:
                        dx[task * size + places[i]] += dy[i]


@kernel
def _means(begin, end, worker, x, y, image, rows, columns, outputs, height, width, group):
    """The mean of each bin, bin (h, w) of output d in channel (d * group + h) * group + w; a task is an output."""
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
    """dx = the sum of dy / size of the bins that a value lies in; a task is a channel of an image."""
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


@specialised
def _interpolate(gradient: bool) -> Callable[..., None]:
    def interpolate(
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
        channels,
        height,
        width,
        regions,
        grid_h,
        grid_w,
    ):
        """y = x between four places; or, as ``gradient``, x = the sum of the shares of y. A task is a channel.

        Of an image (gradient) or of a region.
        """
        for task in range(begin, end):
            first, last = task // channels, task // channels + 1
            if gradient:
                first, last = 0, regions
                for i in range(task * height * width, (task + 1) * height * width):
                    x[i] = 0
            for r in range(first, last):
                if gradient and image[r] != task // channels:
                    continue
                start = (image[r] * channels + task % channels) * height * width
                for gh in range(grid_h):
                    k = r * grid_h + gh
                    above, below = start + rows[2 * k] * width, start + rows[2 * k + 1] * width
                    for gw in range(grid_w):
                        m = r * grid_w + gw
                        left, right = columns[2 * m], columns[2 * m + 1]
                        i = ((r * channels + task % channels) * grid_h + gh) * grid_w + gw
                        a, b = row_shares[2 * k], row_shares[2 * k + 1]
                        c, d = column_shares[2 * m], column_shares[2 * m + 1]
                        if gradient:
                            x[above + left] += a * c * y[i]
                            x[above + right] += a * d * y[i]
                            x[below + left] += b * c * y[i]
                            x[below + right] += b * d * y[i]
                        else:
                            y[i] = a * (c * x[above + left] + d * x[above + right]) + b * (
                                c * x[below + left] + d * x[below + right]
                            )

    return interpolate


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


@layer("ROIAlign")
class ROIAlign(Regions):
    """The features at the corners of ``pooled_h × pooled_w`` bins of each region, interpolated between four places.

    Bottoms as for ROIPooling. Top ``R × C × (pooled_h + 1) × (pooled_w + 1)``; an average pooling of 2 × 2 with stride
    1 comes behind it. ``roi_pooling_param``: ``pooled_h``, ``pooled_w``, ``spatial_scale``, ``pad_ratio``, as for
    ROIPooling. Element i of the map lies at i + 0.5. A corner outside the map, and a region without size, is 0.

    From the MSCNN and Cascade R-CNN fork; He et al., "Mask R-CNN", 2017; Cai and Vasconcelos, "Cascade R-CNN: Delving
    into High Quality Object Detection", 2018. Layers of this name in other forks compute something else; their settings
    (``roi_align_param``, ``bi_type``, ``is_multi_interpolate``) are an error.
    """

    facts = Regions.facts.but(kind="pooling", settings=("roi_pooling_param",))

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
        further = np.clip(place, 0, size - 1) - bins[:, :, 0]
        shares = self.shares[axis]
        shares[:, :, 1] = further * inside
        shares[:, :, 0] = (1 - further) * inside

    def _call(self, x: Blob, data: np.ndarray, top: np.ndarray, tasks: int, gradient: bool) -> Step:
        _, channels, height, width = x.shape
        return call(
            _interpolate(gradient),
            tasks,
            data,
            top,
            self.image,
            self.rows.reshape(-1),
            self.shares[0].reshape(-1),
            self.columns.reshape(-1),
            self.shares[1].reshape(-1),
            channels,
            height,
            width,
            len(self.image),
            *self.pooled,
            work=10 * top.size,
        )

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        locate = self._locating(bottoms)
        # A region without height has no values in any column either: its rows have no share in anything.
        self.shares = tuple(np.zeros(bins.shape, x.data.dtype) for bins in (self.rows, self.columns))
        return [locate, self._call(x, x.flat, tops[0].flat, len(self.image) * x.shape[1], False)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        if x.diff is None:
            return []
        return [self._call(x, x.flat_diff, tops[0].flat_diff, x.shape[0] * x.shape[1], True)]
