"""Interp: resize a map so that its corners stay where they are."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import resize
from caffelite.kernels.resize import Places
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of

NEAREST = 3


@layer("Interp")
class Interp(Layer):
    """Resize the last two axes bilinearly: value i comes from position ``i * (in - 1) / (out - 1)``.

    ``interp_param``: ``pad_beg`` and ``pad_end`` (0 or below: so much is cut off at either end of both axes first),
    then the size, of what is left: ``height`` and ``width``; or ``shrink_factor``, ``(in - 1) / shrink + 1`` rounded
    down; or ``zoom_factor``, ``in + (in - 1) * (zoom - 1)``; or shrink and zoom, one after the other. A second bottom
    gives height and width instead. ``mode``: LINEAR, or NEAREST (the nearest position, the later one of two).

    One factor wins over ``height`` and ``width``; both factors do not. As in Caffe positions are float32, so that the
    last value can be a trace before the last one of the bottom.

    DeepLab v2 (Chen et al., 2016) and PSPNet; NEAREST is jolibrain's.
    """

    facts = Facts(
        bottoms=(1, 2),
        backward_reads=frozenset(),
        without_gradient=(1,),
        refuses_gradient=False,
        kind="pooling",
        settings=("interp_param",),
    )

    def setup(self) -> None:
        p = self.settings = self.param.interp_param
        for name in ("pad_beg", "pad_end"):
            if getattr(p, name) > 0:
                self.error(f"{name} is {getattr(p, name)}, expected 0 or below (it cuts off)", name)
        given = [name for name in ("height", "width", "zoom_factor", "shrink_factor") if p.HasField(name)]
        for name in given:
            if getattr(p, name) < 1:
                self.error(f"{name} is {getattr(p, name)}, expected at least 1", name)
        if len(self.param.bottom) == 2:
            if given:
                self.error(f"its second bottom gives the size, so it takes no {given[0]}", given[0])
        elif not p.HasField("zoom_factor") and not p.HasField("shrink_factor") and given != ["height", "width"]:
            self.error("interp_param needs height and width, or zoom_factor, or shrink_factor, or a second bottom")

    def _size(self, bottoms: Sequence[Shape]) -> tuple[int, int]:
        if len(bottoms) == 2:
            return bottoms[1][-2], bottoms[1][-1]
        p = self.settings
        zoom, shrink = p.HasField("zoom_factor"), p.HasField("shrink_factor")
        if zoom == shrink and p.HasField("height") and p.HasField("width"):
            return p.height, p.width
        sizes = [size + p.pad_beg + p.pad_end for size in bottoms[0][-2:]]
        if shrink:
            sizes = [(size - 1) // p.shrink_factor + 1 for size in sizes]
        if zoom:
            sizes = [(size - 1) * p.zoom_factor + 1 for size in sizes]
        return sizes[0], sizes[1]

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        for j, x in enumerate(bottoms):
            if len(x) < 2:
                self.shape_error(f"takes maps, with a height and a width, not {text_of(x)}", "bottom", j)
        cut = -self.settings.pad_beg - self.settings.pad_end
        if min(bottoms[0][-2:]) <= cut:
            self.shape_error(f"pad_beg and pad_end cut off {cut}, which leaves nothing of {text_of(bottoms[0])}")
        return [(*bottoms[0][:-2], *self._size(bottoms))]

    def places(self, x: Shape, y: Shape, dtype: np.dtype) -> list[Places]:
        """Return where the rows and the columns of the top come from."""
        return [self._along(*sizes, dtype) for sizes in zip(x[-2:], y[-2:], strict=True)]

    def _along(self, size: int, target: int, dtype: np.dtype) -> Places:
        first = -self.settings.pad_beg
        last = size - 1 + self.settings.pad_end
        if last - first + 1 == target:
            return resize.at(np.arange(first, last + 1), size, dtype)
        step = np.float32(last - first) / np.float32(target - 1) if target > 1 else np.float32(0)
        position = np.arange(target, dtype=np.float32) * step
        if self.settings.mode == NEAREST:
            low = np.floor(position)
            nearest = low + (position - low >= np.float32(0.5))
            return resize.at(np.minimum(nearest, last - first) + first, size, dtype)
        return resize.between(position, first, last, size, dtype)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0].data, tops[0].data
        return [resize.forward(x, y, *self.places(x.shape, y.shape, x.dtype))]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx, dy = bottoms[0].diff, tops[0].diff
        if dx is None or dy is None:
            return []
        return [resize.backward(dy, dx, *self.places(dx.shape, dy.shape, dx.dtype))]
