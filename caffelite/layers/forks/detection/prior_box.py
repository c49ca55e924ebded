"""PriorBox: the boxes that a detector starts from."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of

_F = np.float32
_SAME = 1e-6


@layer("PriorBox")
class PriorBox(Layer):
    """Boxes of several sizes and shapes at every place of a feature map.

    Bottoms: the features (``N × C × H × W``) and the image (``N × c × h × w``); only their sizes count. Top
    ``1 × 2 × 4HWB``: xmin, ymin, xmax, ymax of the boxes as shares of the image, place after place, then the four
    variances of each box.

    ``prior_box_param``: for each ``min_size`` m the B boxes are m × m; √(m·M) × √(m·M), if ``max_size`` M is given
    (as often as ``min_size``); and m√r × m/√r for each ``aspect_ratio`` r, and 1/r with ``flip`` (true). The centre of
    place i is ``(i + offset) * step``: ``offset`` (0.5), ``step`` or ``step_h`` and ``step_w`` (image / features).
    ``clip`` (false): boxes end at the edge of the image. ``variance`` (0.1): one number, or one for each coordinate.
    ``img_size`` or ``img_h`` and ``img_w`` take the place of the image's size.

    As in SSD, what comes after the point of ``min_size`` and ``max_size`` is ignored.

    From the SSD fork; Liu et al., "SSD: Single Shot MultiBox Detector", 2016.
    """

    facts = Facts(bottoms=2, differentiable=False, settings=("prior_box_param",), constant=True)

    def setup(self) -> None:
        p = self.settings = self.param.prior_box_param
        if not p.min_size:
            self.error("prior_box_param needs min_size")
        for i, size in enumerate(p.min_size):
            if int(size) < 1:
                self.error(f"min_size is {size:g}, expected at least 1", "min_size", i)
        if p.max_size and len(p.max_size) != len(p.min_size):
            self.error(
                f"max_size is given {len(p.max_size)} times, min_size {len(p.min_size)} times; they go together",
                "max_size",
            )
        for i, (low, high) in enumerate(zip(p.min_size, p.max_size, strict=False)):
            if high <= low:
                self.error(f"max_size is {high:g}, expected more than min_size, {low:g}", "max_size", i)
        if len(p.variance) not in (0, 1, 4):
            self.error(f"variance is given {len(p.variance)} times, expected 1 or 4", "variance")
        for name, values in (("variance", p.variance), ("aspect_ratio", p.aspect_ratio)):
            for i, value in enumerate(values):
                if not value > 0:
                    self.error(f"{name} is {value:g}, expected above 0", name, i)
        self.image = self._pair("img_size", "img")
        self.step = self._pair("step", "step")

    def _pair(self, both: str, short: str) -> tuple[float, float] | None:
        """Return height and width as set, or None where nothing is."""
        p, names = self.settings, (f"{short}_h", f"{short}_w")
        if any(p.HasField(name) for name in names):
            if p.HasField(both):
                self.error(f"give either {both} or {names[0]} and {names[1]}, not both", both)
        elif p.HasField(both):
            names = (both, both)
        else:
            return None
        for name in names:
            if not getattr(p, name) > 0:
                self.error(f"{name} is {getattr(p, name):g}, expected above 0", name)
        return getattr(p, names[0]), getattr(p, names[1])

    def _ratios(self) -> list[np.float32]:
        """Return the aspect ratios other than 1, in SSD's order."""
        ratios = [_F(1)]
        for value in self.settings.aspect_ratio:
            if all(abs(value - other) >= _SAME for other in ratios):
                ratios += [_F(value), _F(1 / value)] if self.settings.flip else [_F(value)]
        return [ratio for ratio in ratios if abs(ratio - 1) >= _SAME]

    def _sizes(self) -> np.ndarray:
        """Return width and height of the boxes at one place, in pixels."""
        sizes = []
        for s, size in enumerate(self.settings.min_size):
            side = int(size)
            sizes.append((_F(side), _F(side)))
            if self.settings.max_size:
                sizes.append((_F(math.sqrt(side * int(self.settings.max_size[s]))),) * 2)
            sizes += [(_F(side) * np.sqrt(ratio), _F(side) / np.sqrt(ratio)) for ratio in self._ratios()]
        return np.array(sizes, np.float32)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x, image = bottoms
        if len(x) != 4 or not x[2] * x[3]:
            self.shape_error(f"takes features of 4 axes (images × channels × height × width), not {text_of(x)}")
        if self.image is None and len(image) != 4:
            self.shape_error(
                f"takes an image of 4 axes (images × channels × height × width), not {text_of(image)}", "bottom", 1
            )
        return [(1, 2, x[2] * x[3] * len(self._sizes()) * 4)]

    def boxes(self, features: tuple[int, int], image: tuple[float, float]) -> np.ndarray:
        """Return the boxes for features and an image of these heights and widths, one a row."""
        step = self.step or (_F(image[0]) / _F(features[0]), _F(image[1]) / _F(features[1]))
        half = self._sizes().astype(np.float64) / 2
        result = np.empty((*features, len(half), 4))
        for axis in (0, 1):  # y, x
            centres = (np.arange(features[axis], dtype=np.float32) + _F(self.settings.offset)) * _F(step[axis])
            centres = centres.astype(np.float64)[:, None] if axis else centres.astype(np.float64)[:, None, None]
            result[..., 1 - axis] = (centres - half[:, 1 - axis]) / image[axis]
            result[..., 3 - axis] = (centres + half[:, 1 - axis]) / image[axis]
        if self.settings.clip:
            np.clip(result, 0, 1, out=result)
        return result.reshape(-1, 4)

    def priors(self, features: Shape, image: Shape) -> np.ndarray:
        """Return the top for bottoms of these shapes, in float64."""
        values = np.empty(self.shapes(features, image)[0])
        values[0, 0] = self.boxes((features[2], features[3]), self.image or (image[2], image[3])).reshape(-1)
        values[0, 1].reshape(-1, 4)[:] = list(self.settings.variance) or [float(_F(0.1))]
        return values

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        y = tops[0].data
        # The memory of the top may serve other blobs between passes.
        return [partial(np.copyto, y, self.priors(*(x.shape for x in bottoms)).astype(y.dtype))]
