"""Resample and Downsample: resize maps by a filter."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from caffelite.kernels import filters, resize
from caffelite.kernels.engine.arrays import copy
from caffelite.kernels.filters import TriangularFilter
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of

NEAREST, _LINEAR, CUBIC = 1, 2, 3
_F = np.float32


class _Resized(Layer, ABC):
    """A layer whose second bottom, or settings, say how large maps become."""

    facts = Facts(bottoms=(1, 2), differentiable=False)

    def setup(self) -> None:
        self.given = self._given()
        if len(self.param.bottom) == 1 and min(self.given) < 1:
            self.error("needs a height and a width of at least 1, or a second bottom that has them")

    @abstractmethod
    def _given(self) -> tuple[int, int]:
        """Return the height and width that the settings give."""

    @abstractmethod
    def _weights(self, x: Shape, y: Shape, dtype: np.dtype) -> list[TriangularFilter]:
        """Return the weights along both axes."""

    def matrices(self, x: Shape, y: Shape) -> list[np.ndarray]:
        """Return the weights along both axes as matrices: a row for each value of the top, a column for each of x."""
        matrices = []
        for axis in self._weights(x, y, np.dtype(_F)):
            matrix = np.zeros((len(axis.first), axis.size), _F)
            places = axis.first[:, None] + np.arange(axis.weights.shape[1])
            np.put_along_axis(matrix, places, axis.weights, 1)
            matrices.append(matrix)
        return matrices

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        for j, x in enumerate(bottoms):
            if len(x) < 2:
                self.shape_error(f"takes maps, with a height and a width, not {text_of(x)}", "bottom", j)
        return [(*bottoms[0][:-2], *(self.given if len(bottoms) == 1 else bottoms[1][-2:]))]


def _round(x: np.ndarray) -> np.ndarray:
    """Round as C does: what lies half way, away from 0."""
    return np.trunc(x + np.copysign(_F(0.5), x)).astype(np.int64)


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    inner = x * x * (_F(1.5) * x - _F(2.5)) + 1
    outer = x * (x * (_F(-0.5) * x + _F(2.5)) - 4) + 2
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0))


@layer("Resample")
class Resample(_Resized):
    """Resize the last two axes, pixels being areas: value i lies at ``(i + 0.5) * in / out - 0.5``.

    ``resample_param``: ``height`` and ``width``, or a second bottom that has them; ``type`` NEAREST, LINEAR (the
    default) or CUBIC (Keys' filter with a = -0.5); ``antialias`` (true: where maps become smaller the filter becomes
    wider by as much). Weights of neighbours outside the map are left out and the others made up for it. ``factor`` is
    not read, as in FlowNet2.

    Kept from FlowNet2: the shift of one axis is computed with the scale of the other, ``i * in / out + (scale of the
    other axis) / 2 - 0.5``, which matters only where the scales differ. (NEAREST then reads beside the map; here it
    takes the edge.) No gradient, as there.

    lmb-freiburg/flownet2 (a GPU only there).
    """

    facts = _Resized.facts.but(kind="pooling", settings=("resample_param",))

    def setup(self) -> None:
        super().setup()
        if self.param.resample_param.type not in (NEAREST, _LINEAR, CUBIC):
            self.error("type must be NEAREST, LINEAR or CUBIC", "type")

    def _given(self) -> tuple[int, int]:
        return self.param.resample_param.height, self.param.resample_param.width

    @staticmethod
    def _centres(x: Shape, y: Shape) -> list[tuple[np.ndarray, float, int]]:
        """Return, for each axis, where the values lie, the scale, and the size of the bottom."""
        scales = [_F(n) / _F(m) for n, m in zip(x[-2:], y[-2:], strict=True)]
        return [
            (np.arange(number, dtype=_F) * scale + other / _F(2) - _F(0.5), float(scale), size)
            for number, scale, other, size in zip(y[-2:], scales, scales[::-1], x[-2:], strict=True)
        ]

    def nearest(self, x: Shape, y: Shape) -> list[np.ndarray]:
        """Return the rows and the columns of the bottom that the top has with NEAREST."""
        return [np.clip(_round(at), 0, size - 1) for at, _, size in self._centres(x, y)]

    def _weights(self, x: Shape, y: Shape, dtype: np.dtype) -> list[TriangularFilter]:
        p, axes = self.param.resample_param, self._centres(x, y)
        wider = p.antialias and max(scale for _, scale, _ in axes) > 1
        shape, support = (_cubic, 4) if p.type == CUBIC else (_triangle, 2)
        return [self._filter(*axis, wider, shape, support, dtype) for axis in axes]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0].data, tops[0].data
        if self.param.resample_param.type == NEAREST:
            places = self.nearest(x.shape, y.shape)
            down, across = (resize.at(at, size, x.dtype) for at, size in zip(places, x.shape[-2:], strict=True))
            return [resize.forward(x, y, down, across)]
        return [filters.smooth(x, y, *self._weights(x.shape, y.shape, x.dtype))]

    @staticmethod
    def _filter(
        at: np.ndarray,
        scale: float,
        size: int,
        wider: bool,
        shape: Callable[[np.ndarray], np.ndarray],
        support: int,
        dtype: np.dtype,
    ) -> TriangularFilter:
        narrow = _F(1) / _F(scale if wider else 1)
        reach = 2 if scale < 1 else math.ceil(_F(support) / narrow)
        first, places, exist = filters.windows(_round(at), reach, size)
        weights = shape(narrow * (at[:, None] - places)) * exist
        total = weights.sum(1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total != 0)
        return TriangularFilter(first, weights.astype(dtype), size)


@layer("Downsample")
class Downsample(_Resized):
    """Resize the last two axes by a triangular filter whose corners stay where they are, leaving out what is NaN.

    ``downsample_param``: ``top_height`` and ``top_width``, or a second bottom that has them. Value i lies at
    ``i * (in - 1) / (out - 1)`` and is the mean of its neighbours, with weights that fall to 0 over one pixel of the
    top; it is NaN where the weights of the NaN among them come to more than half of the others'.

    No gradient. lmb-freiburg/flownet2 (a GPU only there).
    """

    facts = _Resized.facts.but(kind="pooling", settings=("downsample_param",))

    def _given(self) -> tuple[int, int]:
        return self.param.downsample_param.top_height, self.param.downsample_param.top_width

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        tops = super().shapes(*bottoms)
        sizes = bottoms[0][-2:], tops[0][-2:]
        if sizes[0] != sizes[1] and min(*sizes[0], *sizes[1]) < 2:
            self.shape_error(f"both sizes must be at least 2, not {text_of(sizes[0])} and {text_of(sizes[1])}")
        return tops

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        if x.shape[-2:] == y.shape[-2:]:
            return [copy(x.data, y.data)]
        return [filters.smooth_known(x.data, y.data, *self._weights(x.shape, y.shape, x.data.dtype))]

    def _weights(self, x: Shape, y: Shape, dtype: np.dtype) -> list[TriangularFilter]:
        return [self._filter(size, number, dtype) for size, number in zip(x[-2:], y[-2:], strict=True)]

    @staticmethod
    def _filter(size: int, number: int, dtype: np.dtype) -> TriangularFilter:
        at = np.arange(number, dtype=_F) / _F(number - 1) * _F(size - 1)
        scale = _F(size - 1) / _F(number - 1)
        first, places, exist = filters.windows(_round(at), math.ceil(scale), size)
        weights = _triangle((places - at[:, None]) / scale) * exist
        return TriangularFilter(first, weights.astype(dtype), size)
