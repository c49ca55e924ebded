"""Concat and Slice: join blobs along an axis, and cut one apart."""

from collections.abc import Iterator, Sequence

import numpy as np

from caffelite.kernels.engine.arrays import copy_rows
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, count, text_of

_Rows = tuple[np.ndarray, tuple[int, int]]


def _parts(
    whole: np.ndarray, parts: Sequence[np.ndarray | None], axis: int, sizes: Sequence[int]
) -> Iterator[tuple[_Rows, _Rows, int, int]]:
    """Yield for each part that is there its place in the whole, its own, and the number of rows and their width."""
    rows, inner = count(whole.shape[:axis]), count(whole.shape[axis + 1 :])
    pitch, begin = whole.shape[axis] * inner, 0
    for part, size in zip(parts, sizes, strict=True):
        width = size * inner
        if part is not None and part.size:
            yield (whole, (begin, pitch)), (part, (0, width)), rows, width
        begin += width


def _join(whole: np.ndarray, parts: Sequence[np.ndarray | None], axis: int, sizes: Sequence[int]) -> list[Step]:
    return [copy_rows(*part, *place, rows, width) for place, part, rows, width in _parts(whole, parts, axis, sizes)]


def _cut_apart(whole: np.ndarray, parts: Sequence[np.ndarray | None], axis: int, sizes: Sequence[int]) -> list[Step]:
    return [copy_rows(*place, *part, rows, width) for place, part, rows, width in _parts(whole, parts, axis, sizes)]


@layer("Concat")
class Concat(Layer):
    """Join bottoms along ``concat_param { axis: 1 }`` (older: ``concat_dim``)."""

    facts = Facts(bottoms=(1, None), backward_reads=frozenset(), settings=("concat_param",))

    def _axis(self, x: Shape) -> int:
        settings = self.param.concat_param
        if settings.HasField("concat_dim"):
            if settings.HasField("axis"):
                self.error("give either axis or the older concat_dim, not both", "axis")
            return self.axis(settings.concat_dim, x, "concat_dim")
        return self.axis(settings.axis, x)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        first = bottoms[0]
        axis = self._axis(first)
        for j, other in enumerate(bottoms):
            if len(other) != len(first) or other[:axis] + other[axis + 1 :] != first[:axis] + first[axis + 1 :]:
                self.shape_error(
                    f"its bottoms must agree outside axis {axis}, but {self.param.bottom[0]} is "
                    f"{text_of(first)} and {self.param.bottom[j]} is {text_of(other)}",
                    "bottom",
                    j,
                )
        return [(*first[:axis], sum(x[axis] for x in bottoms), *first[axis + 1 :])]

    def side_by_side(self, *bottoms: Shape) -> bool:
        return count(bottoms[0][: self._axis(bottoms[0])]) == 1

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        axis = self._axis(bottoms[0].shape)
        return _join(tops[0].data, [x.data for x in bottoms], axis, [x.shape[axis] for x in bottoms])

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if tops[0].diff is None:
            return []
        axis = self._axis(bottoms[0].shape)
        return _cut_apart(tops[0].diff, [x.diff for x in bottoms], axis, [x.shape[axis] for x in bottoms])


@layer("Slice")
class Slice(Layer):
    """Cut the bottom along ``slice_param { axis: 1 }`` (older: ``slice_dim``), at each ``slice_point`` or evenly."""

    facts = Facts(tops=(1, None), backward_reads=frozenset(), settings=("slice_param",))

    def _cut(self, x: Shape) -> tuple[int, list[int]]:
        settings, many = self.param.slice_param, len(self.param.top)
        if settings.HasField("slice_dim"):
            if settings.HasField("axis"):
                self.error("give either axis or the older slice_dim, not both", "axis")
            axis = self.axis(settings.slice_dim, x, "slice_dim")
        else:
            axis = self.axis(settings.axis, x)
        points = list(settings.slice_point)
        if not points:
            if x[axis] % many:
                self.shape_error(f"axis {axis} of {text_of(x)} cannot be cut into {many} equal parts")
            return axis, [x[axis] // many] * many
        if len(points) != many - 1:
            self.error(f"{many} tops need {many - 1} slice_point, not {len(points)}", "slice_point")
        edges = [0, *points, x[axis]]
        sizes = [b - a for a, b in zip(edges, edges[1:], strict=False)]
        if min(sizes) <= 0:
            self.shape_error(f"slice_point must rise from 1 to below {x[axis]}, the size of axis {axis}", "slice_point")
        return axis, sizes

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        axis, sizes = self._cut(bottoms[0])
        return [(*bottoms[0][:axis], size, *bottoms[0][axis + 1 :]) for size in sizes]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return _cut_apart(bottoms[0].data, [y.data for y in tops], *self._cut(bottoms[0].shape))

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None:
            return []
        return _join(bottoms[0].diff, [y.diff for y in tops], *self._cut(bottoms[0].shape))
