"""DeformablePSROIPooling: PSROIPooling whose bins are moved by a third bottom."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import specialised
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.registry import layer
from caffelite.layers.forks.detection.regions import PSROIPooling, rounded
from caffelite.words import Shape, count, text_of

_ZERO, _HALF = np.float32(0), np.float32(0.5)
#: What a kernel computes.
_VALUES, _FEATURES, _SHIFTS = range(3)


@register_jitable
def _between(position, size):
    """The two places that a position lies between, and how far from the first; -1 outside the map."""
    if not (position >= -_HALF and position <= size - _HALF):
        return -1, -1, position * _ZERO
    position = min(max(position, position * _ZERO), position * _ZERO + (size - 1))
    near = int(np.floor(position))
    return near, int(np.ceil(position)), position - near


@specialised
def _pool(what: int) -> Callable[..., None]:
    def pool(
        begin,
        end,
        worker,
        x,
        y,
        shifts,
        shift_gradient,
        image,
        boxes,
        parts,
        scale,
        outputs,
        classes,
        height,
        width,
        regions,
        group,
        part_size,
        points,
    ):
        """y = the mean of the points of each bin that lie in the map, or a gradient of it.

        A task is an output of a region; for the gradient of x a channel of an image, for that of the shifts a class
        of a region. ``boxes`` has left, top, width and height of each region in places of the map.
        """
        channels, each = outputs * group * group, outputs // classes
        for task in range(begin, end):
            first, last, first_d, last_d = task // outputs, task // outputs + 1, task % outputs, task % outputs + 1
            first_h, last_h, first_w, last_w = 0, group, 0, group
            if what == _FEATURES:
                first, last, first_d = 0, regions, task % channels // (group * group)
                first_h, first_w = task // group % group, task % group
                last_d, last_h, last_w = first_d + 1, first_h + 1, first_w + 1
                for i in range(task * height * width, (task + 1) * height * width):
                    x[i] = 0
            if what == _SHIFTS:
                first, last, first_d = task // classes, task // classes + 1, task % classes * each
                last_d = first_d + each
                for i in range(2 * task * part_size * part_size, 2 * (task + 1) * part_size * part_size):
                    shift_gradient[i] = 0
            for r in range(first, last):
                if what == _FEATURES and image[r] != task // channels:
                    continue
                left, top, wide, high = boxes[4 * r], boxes[4 * r + 1], boxes[4 * r + 2], boxes[4 * r + 3]
                bin_h, bin_w = high / group, wide / group
                for d in range(first_d, last_d):
                    for ph in range(first_h, last_h):
                        for pw in range(first_w, last_w):
                            k = 2 * (r * classes + d // each) * part_size * part_size
                            k += parts[ph] * part_size + parts[pw]
                            start_w, start_h = pw * bin_w + left, ph * bin_h + top
                            if part_size > 0:
                                start_w += shifts[k] * scale[0] * wide
                                start_h += shifts[k + part_size * part_size] * scale[0] * high
                            plane = (image[r] * channels + (d * group + ph) * group + pw) * height * width
                            target = ((r * outputs + d) * group + ph) * group + pw
                            total, many = _ZERO * left, 0
                            for i in range(points):
                                above, _, _ = _between(start_h + i * (bin_h / points), height)
                                for j in range(points):
                                    near, _, _ = _between(start_w + j * (bin_w / points), width)
                                    many += above >= 0 and near >= 0
                            if many == 0:
                                if what == _VALUES:
                                    y[target] = 0
                                continue
                            share = _ZERO * left if what == _VALUES else y[target] / many
                            along, aside = _ZERO * left, _ZERO * left
                            for i in range(points):
                                above, below, b = _between(start_h + i * (bin_h / points), height)
                                for j in range(points):
                                    near, far, e = _between(start_w + j * (bin_w / points), width)
                                    if above < 0 or near < 0:
                                        continue
                                    upper, lower = plane + above * width, plane + below * width
                                    a, c = 1 - b, 1 - e
                                    if what == _FEATURES:
                                        x[upper + near] += a * c * share
                                        x[upper + far] += a * e * share
                                        x[lower + near] += b * c * share
                                        x[lower + far] += b * e * share
                                    elif what == _VALUES:
                                        total += a * (c * x[upper + near] + e * x[upper + far])
                                        total += b * (c * x[lower + near] + e * x[lower + far])
                                    else:
                                        aside += a * (x[upper + far] - x[upper + near])
                                        aside += b * (x[lower + far] - x[lower + near])
                                        along += c * (x[lower + near] - x[upper + near])
                                        along += e * (x[lower + far] - x[upper + far])
                            if what == _VALUES:
                                y[target] = total / many
                            if what == _SHIFTS:
                                shift_gradient[k] += aside * share * scale[0] * wide
                                shift_gradient[k + part_size * part_size] += along * share * scale[0] * high

    return pool


@layer("DeformablePSROIPooling")
class DeformablePSROIPooling(PSROIPooling):
    """The mean of ``sample_per_part × sample_per_part`` points of each bin of a region, the bins moved by a shift.

    Bottoms: features ``N × D·G·G × H × W``; regions as for ROIPooling; shifts ``R × 2·K × P × P`` (to the right, then
    down, for each of K classes that share the D outputs), not needed with ``no_trans``. Top as for PSROIPooling.

    ``deformable_psroi_pooling_param``: ``spatial_scale``; ``output_dim`` (D); ``group_size`` (G); ``sample_per_part``
    (1); ``part_size`` (P); ``trans_std`` (0: nothing moves), what a shift is multiplied by, besides width or height of
    the region; ``no_trans`` (false). Coordinates are rounded before they are multiplied by ``spatial_scale``; element i
    of the map lies at i. Points outside the map do not count. ``pooled_size`` is without effect: there are ``G × G``
    bins.

    From the makefile/frcnn fork; Dai et al., "Deformable Convolutional Networks", 2017.
    """

    facts = PSROIPooling.facts.but(
        bottoms=(2, 3),
        backward_reads=frozenset({"bottom"}),
        kind="pooling",
        settings=("deformable_psroi_pooling_param",),
    )

    def setup(self) -> None:
        p = self.settings = self.param.deformable_psroi_pooling_param
        needed = ["output_dim", "group_size", "sample_per_part"] + ["part_size"] * (not p.no_trans)
        for name in needed:
            if getattr(p, name) < 1:
                self.error(f"deformable_psroi_pooling_param needs {name} of at least 1", name)
        self._check_scale(p)
        if p.HasField("pooled_size") and p.pooled_size != p.group_size:
            warnings.warn(
                f"{self.where('pooled_size')}: pooled_size {p.pooled_size} is ignored, as in Caffe: there are as many "
                f"bins as group_size, {p.group_size}, along each axis",
                stacklevel=2,
            )
        if not p.no_trans and len(self.param.bottom) < 3:
            self.error("needs a third bottom, the shifts, or no_trans: true")
        self.pooled, self.scale, self.outputs = (p.group_size, p.group_size), p.spatial_scale, p.output_dim

    def specific_facts(self) -> Facts:
        return self.facts.but(without_gradient=(1, 2)) if self.settings.no_trans else self.facts

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        result = super().shapes(*bottoms[:2])
        p = self.settings
        if not p.no_trans:
            shifts = bottoms[2]
            size = (p.part_size, p.part_size)
            if len(shifts) != 4 or shifts[0] != bottoms[1][0] or shifts[1] % 2 or shifts[2:] != size or not shifts[1]:
                self.shape_error(
                    f"{bottoms[1][0]} regions need shifts of {bottoms[1][0]}×2K×{text_of(size)}, not {text_of(shifts)}",
                    "bottom",
                    2,
                )
            if p.output_dim % (shifts[1] // 2):
                self.shape_error(
                    f"output_dim {p.output_dim} is not divisible by the {shifts[1] // 2} classes of shifts",
                    "output_dim",
                )
        return result

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x = bottoms[0]
        regions, kind = bottoms[1].data.reshape(-1, 5), x.data.dtype.type
        self.image = np.zeros(len(regions), np.int64)
        self.boxes = np.zeros((len(regions), 4), kind)
        group = self.pooled[0]
        #: The part of the shifts that each row or column of bins is moved by.
        self.parts = np.floor(np.arange(group, dtype=kind) / kind(group) * kind(self.settings.part_size)).astype(int)

        def locate() -> None:
            corners = rounded(self._read(regions, x.shape[0])).T
            self.boxes[:, :2] = corners[:, :2] * kind(self.scale) - kind(0.5)
            end = (corners[:, 2:] + 1) * kind(self.scale) - kind(0.5)
            self.boxes[:, 2:] = np.maximum(end - self.boxes[:, :2], kind(0.1))

        tasks = len(regions) * self.outputs
        return [locate, self._call(_VALUES, bottoms, x.flat, tops[0].flat, tasks)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, steps = bottoms[0], []
        if x.diff is not None:
            steps.append(self._call(_FEATURES, bottoms, x.flat_diff, tops[0].flat_diff, count(x.shape[:2])))
        if len(bottoms) > 2 and bottoms[2].diff is not None:
            tasks = len(self.image) * (bottoms[2].shape[1] // 2)
            steps.append(self._call(_SHIFTS, bottoms, x.flat, tops[0].flat_diff, tasks))
        return steps

    def _call(self, what: int, bottoms: Sequence[Blob], x: np.ndarray, y: np.ndarray, tasks: int) -> Step:
        p, kind = self.settings, x.dtype
        _, _, height, width = bottoms[0].shape
        shifts = shift_gradient = np.zeros(2, kind)
        classes, part_size = 1, 0
        if not p.no_trans:
            shifts, classes, part_size = bottoms[2].flat, bottoms[2].shape[1] // 2, p.part_size
            if what == _SHIFTS:
                shift_gradient = bottoms[2].flat_diff
        return call(
            _pool(what),
            tasks,
            x,
            y,
            shifts,
            shift_gradient,
            self.image,
            self.boxes.reshape(-1),
            self.parts,
            np.array([p.trans_std], kind),
            self.outputs,
            classes,
            height,
            width,
            len(self.image),
            self.pooled[0],
            part_size,
            p.sample_per_part,
            work=20 * y.size * p.sample_per_part**2,
        )
