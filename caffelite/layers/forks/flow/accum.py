"""Accum: bring maps to one size and put them one behind the other."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from caffelite.kernels import resize
from caffelite.kernels.resize import Places
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of


@layer("Accum")
class Accum(Layer):
    """Enlarge each bottom to the size of the largest (bilinear, corners stay), then join the channels.

    ``accum_param``: ``top_height`` and ``top_width``, or ``size_divisible_by`` (the largest bottom, rounded up to a
    multiple of it): a larger size than that, which counts only if both height and width are larger;
    ``have_reference``: the last bottom only gives the size.

    lmb-freiburg/flownet2.
    """

    facts = Facts(bottoms=(1, None), backward_reads=frozenset(), settings=("accum_param",))

    def setup(self) -> None:
        self.settings = self.param.accum_param
        self.joined = len(self.param.bottom) - bool(self.settings.have_reference)
        if not self.joined:
            self.error("have_reference needs at least two bottoms", "have_reference")
        if self.settings.HasField("size_divisible_by") and not self.settings.size_divisible_by:
            self.error("size_divisible_by is 0, expected at least 1", "size_divisible_by")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        for j, x in enumerate(bottoms):
            if len(x) != 4 or (x[0] != bottoms[0][0] and j < self.joined):
                self.shape_error(
                    f"takes bottoms of 4 axes (images × channels × height × width) with as many images, not "
                    f"{text_of(bottoms[0])} and {text_of(x)}",
                    "bottom",
                    j,
                )
        p, last = self.settings, bottoms[-1]
        if p.have_reference:
            size = last[2:]
        else:
            size = (max(x[2] for x in bottoms), max(x[3] for x in bottoms))
            step = p.size_divisible_by
            given = tuple(-(-n // step) * step for n in size) if step else (p.top_height, p.top_width)
            if all(w > n for w, n in zip(given, size, strict=True)):
                size = given
        return [(bottoms[0][0], sum(x[1] for x in bottoms[: self.joined]), *size)]

    def _parts(self, bottoms: Sequence[Blob], top: np.ndarray) -> list[tuple[Blob, int, np.ndarray]]:
        """Return each bottom, the number of an image, and its part of the top."""
        parts, first = [], 0
        for x in bottoms[: self.joined]:
            end = first + x.shape[1]
            parts += [(x, n, top[n, first:end]) for n in range(len(top))]
            first = end
        return parts

    @staticmethod
    def _places(x: Blob, y: np.ndarray) -> list[Places]:
        places = []
        for size, number in zip(x.shape[2:], y.shape[1:], strict=True):
            position = np.arange(number, dtype=np.float32) / np.float32(max(number - 1, 1)) * np.float32(size - 1)
            places.append(resize.between(position, 0, size - 1, size, x.data.dtype))
        return places

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return [
            resize.forward(x.data[n], part, *self._places(x, part)) for x, n, part in self._parts(bottoms, tops[0].data)
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if tops[0].diff is None:
            return []
        steps: list[Step] = [
            resize.backward(part, x.diff[n], *self._places(x, part))
            for x, n, part in self._parts(bottoms, tops[0].diff)
            if x.diff is not None
        ]
        steps += [partial(x.diff.fill, 0) for x in bottoms[self.joined :] if x.diff is not None]
        return steps
