"""DeformablePSROIPooling: PSROIPooling whose bins are moved by a third bottom."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.registry import layer
from caffelite.layers.forks.detection.psroi_pooling import PSROIPooling
from caffelite.layers.forks.detection.regions import rounded
from caffelite.words import Shape, count, text_of

_ZERO, _HALF = np.float32(0), np.float32(0.5)


class Bins(NamedTuple):
    """How the bins lie in channels, map and shifts; :class:`DeformablePSROIPooling` computes it.

    Attributes
    ----------
    outputs, group : int
        D outputs of G × G bins each, so D·G·G channels.
    height, width : int
        Of a map, in elements.
    regions : int
        How many there are.
    classes : int
        K classes of shifts, each for D / K outputs; 1 without shifts.
    part_size : int
        Shifts along each axis of a region, P; 0 without shifts.
    points : int
        Points of a bin along each axis.
    """

    outputs: int
    group: int
    height: int
    width: int
    regions: int
    classes: int
    part_size: int
    points: int


@register_jitable
def _between(position, size):
    """The two places that a position lies between, and how far from the first; -1 outside the map."""
    if not (position >= -_HALF and position <= size - _HALF):
        return -1, -1, position * _ZERO
    position = min(max(position, position * _ZERO), position * _ZERO + (size - 1))
    near = int(np.floor(position))
    return near, int(np.ceil(position)), position - near


@register_jitable
def _shift_of(g, parts, r, d, ph, pw):
    """The place of a bin's shift to the right; that of its shift down lies part_size² further on."""
    k = 2 * (r * g.classes + d // (g.outputs // g.classes)) * g.part_size * g.part_size
    return k + parts[ph] * g.part_size + parts[pw]


@register_jitable
def _inside(g, start_h, start_w, bin_h, bin_w):
    """How many points of a bin lie in the map."""
    count = 0
    for i in range(g.points):
        above, _, _ = _between(start_h + i * (bin_h / g.points), g.height)
        for j in range(g.points):
            near, _, _ = _between(start_w + j * (bin_w / g.points), g.width)
            count += above >= 0 and near >= 0
    return count


@kernel
def _values(begin, end, worker, x, y, shifts, image, boxes, parts, scale, g):
    """y = the mean of the points of each bin that lie in the map, each between four values; 0 where none does.

    A task is an output of a region.

    Parameters
    ----------
    x : ndarray of float, [images][outputs · group · group][height][width]
        Channel ``(d · group + ph) · group + pw`` is that of bin (ph, pw) of output d.
    y : ndarray of float, [regions][outputs][group][group]
        Is set.
    shifts : ndarray of float, [regions][2 · classes][part_size][part_size]
        For each class to the right, then down, in sizes of the region; not read where ``part_size`` is 0.
    image : ndarray of int64, [regions]
    boxes : ndarray of float, [regions][4]
        Left, top, width and height of each region in places of the map.
    parts : ndarray of int64, [group]
        The row or column of the shifts that each row or column of bins is moved by.
    scale : ndarray of float, [1]
        What shifts are multiplied by.
    g : Bins
    """
    for task in range(begin, end):
        r, d = task // g.outputs, task % g.outputs
        left, top, wide, high = boxes[4 * r], boxes[4 * r + 1], boxes[4 * r + 2], boxes[4 * r + 3]
        bin_h, bin_w = high / g.group, wide / g.group
        for ph in range(g.group):
            for pw in range(g.group):
                k = _shift_of(g, parts, r, d, ph, pw)
                start_w, start_h = pw * bin_w + left, ph * bin_h + top
                if g.part_size > 0:
                    start_w += shifts[k] * scale[0] * wide
                    start_h += shifts[k + g.part_size * g.part_size] * scale[0] * high
                channel = image[r] * g.outputs * g.group * g.group + (d * g.group + ph) * g.group + pw
                plane = channel * g.height * g.width
                target = (task * g.group + ph) * g.group + pw
                inside = _inside(g, start_h, start_w, bin_h, bin_w)
                if inside == 0:
                    y[target] = 0
                    continue
                total = x.dtype.type(0)
                for i in range(g.points):
                    above, below, b = _between(start_h + i * (bin_h / g.points), g.height)
                    for j in range(g.points):
                        near, far, e = _between(start_w + j * (bin_w / g.points), g.width)
                        if above < 0 or near < 0:
                            continue
                        upper, lower = plane + above * g.width, plane + below * g.width
                        a, c = 1 - b, 1 - e
                        total += a * (c * x[upper + near] + e * x[upper + far])
                        total += b * (c * x[lower + near] + e * x[lower + far])
                y[target] = total / inside


@kernel
def _gradient_of_features(begin, end, worker, dx, dy, shifts, image, boxes, parts, scale, g):
    """dx = the sum over bins of the shares that its values had in dy; a task is a channel of an image.

    Parameters
    ----------
    dx : ndarray of float, [images][outputs · group · group][height][width]
        Is set.
    dy : ndarray of float, [regions][outputs][group][group]
    shifts, image, boxes, parts, scale, g
        As in :func:`_values`.
    """
    channels = g.outputs * g.group * g.group
    for task in range(begin, end):
        d, ph, pw = task % channels // (g.group * g.group), task // g.group % g.group, task % g.group
        plane = task * g.height * g.width
        for i in range(plane, plane + g.height * g.width):
            dx[i] = 0
        for r in range(g.regions):
            if image[r] != task // channels:
                continue
            left, top, wide, high = boxes[4 * r], boxes[4 * r + 1], boxes[4 * r + 2], boxes[4 * r + 3]
            bin_h, bin_w = high / g.group, wide / g.group
            k = _shift_of(g, parts, r, d, ph, pw)
            start_w, start_h = pw * bin_w + left, ph * bin_h + top
            if g.part_size > 0:
                start_w += shifts[k] * scale[0] * wide
                start_h += shifts[k + g.part_size * g.part_size] * scale[0] * high
            inside = _inside(g, start_h, start_w, bin_h, bin_w)
            if inside == 0:
                continue
            share = dy[((r * g.outputs + d) * g.group + ph) * g.group + pw] / inside
            for i in range(g.points):
                above, below, b = _between(start_h + i * (bin_h / g.points), g.height)
                for j in range(g.points):
                    near, far, e = _between(start_w + j * (bin_w / g.points), g.width)
                    if above < 0 or near < 0:
                        continue
                    upper, lower = plane + above * g.width, plane + below * g.width
                    a, c = 1 - b, 1 - e
                    dx[upper + near] += a * c * share
                    dx[upper + far] += a * e * share
                    dx[lower + near] += b * c * share
                    dx[lower + far] += b * e * share


@register_jitable
def _slopes(x, g, plane, start_h, start_w, bin_h, bin_w):
    """How much the sum over a bin's points grows when they move down, and to the right."""
    along, aside = x.dtype.type(0), x.dtype.type(0)
    for i in range(g.points):
        above, below, b = _between(start_h + i * (bin_h / g.points), g.height)
        for j in range(g.points):
            near, far, e = _between(start_w + j * (bin_w / g.points), g.width)
            if above < 0 or near < 0:
                continue
            upper, lower = plane + above * g.width, plane + below * g.width
            a, c = 1 - b, 1 - e
            aside += a * (x[upper + far] - x[upper + near])
            aside += b * (x[lower + far] - x[lower + near])
            along += c * (x[lower + near] - x[upper + near])
            along += e * (x[lower + far] - x[upper + far])
    return along, aside


@kernel
def _gradient_of_shifts(begin, end, worker, x, dy, shifts, d_shifts, image, boxes, parts, scale, g):
    """d_shifts = the sum of dy · how a bin's mean changes with its shift; a task is a class of a region.

    Parameters
    ----------
    x : ndarray of float, [images][outputs · group · group][height][width]
    dy : ndarray of float, [regions][outputs][group][group]
    d_shifts : ndarray of float, [regions][2 · classes][part_size][part_size]
        Is set.
    shifts, image, boxes, parts, scale, g
        As in :func:`_values`.
    """
    each, size = g.outputs // g.classes, g.part_size * g.part_size
    for task in range(begin, end):
        r = task // g.classes
        left, top, wide, high = boxes[4 * r], boxes[4 * r + 1], boxes[4 * r + 2], boxes[4 * r + 3]
        bin_h, bin_w = high / g.group, wide / g.group
        for i in range(2 * task * size, 2 * (task + 1) * size):
            d_shifts[i] = 0
        for d in range(task % g.classes * each, (task % g.classes + 1) * each):
            for ph in range(g.group):
                for pw in range(g.group):
                    k = _shift_of(g, parts, r, d, ph, pw)
                    start_w, start_h = pw * bin_w + left, ph * bin_h + top
                    if g.part_size > 0:
                        start_w += shifts[k] * scale[0] * wide
                        start_h += shifts[k + g.part_size * g.part_size] * scale[0] * high
                    inside = _inside(g, start_h, start_w, bin_h, bin_w)
                    if inside == 0:
                        continue
                    channel = image[r] * g.outputs * g.group * g.group + (d * g.group + ph) * g.group + pw
                    share = dy[((r * g.outputs + d) * g.group + ph) * g.group + pw] / inside
                    along, aside = _slopes(x, g, channel * g.height * g.width, start_h, start_w, bin_h, bin_w)
                    d_shifts[k] += aside * share * scale[0] * wide
                    d_shifts[k + size] += along * share * scale[0] * high


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

        shifts = np.zeros(2, kind) if self.settings.no_trans else bottoms[2].flat
        self.places = shifts, self.image, self.boxes.reshape(-1), self.parts, np.array([self.settings.trans_std], kind)
        self.bins = self._bins(bottoms)
        tasks, y = len(regions) * self.outputs, tops[0].flat
        return [locate, call(_values, tasks, x.flat, y, *self.places, self.bins, work=self._work(y))]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, dy, bins = bottoms[0], tops[0].flat_diff, self.bins
        steps: list[Step] = []
        if x.diff is not None:
            values = x.flat_diff, dy, *self.places, bins
            steps.append(call(_gradient_of_features, count(x.shape[:2]), *values, work=self._work(dy)))
        if len(bottoms) > 2 and bottoms[2].diff is not None:
            shifts, *places = self.places
            values = x.flat, dy, shifts, bottoms[2].flat_diff, *places, bins
            steps.append(call(_gradient_of_shifts, bins.regions * bins.classes, *values, work=self._work(dy)))
        return steps

    def _bins(self, bottoms: Sequence[Blob]) -> Bins:
        p = self.settings
        classes, part_size = (1, 0) if p.no_trans else (bottoms[2].shape[1] // 2, p.part_size)
        height, width = bottoms[0].shape[2:]
        regions = len(self.image)
        return Bins(self.outputs, self.pooled[0], height, width, regions, classes, part_size, p.sample_per_part)

    def _work(self, y: np.ndarray) -> float:
        return 20 * y.size * self.settings.sample_per_part**2
