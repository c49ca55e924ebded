"""Bias: an offset for each channel, learned or from a second bottom."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import scale as kernels
from caffelite.kernels.engine.arrays import copy
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.broadcast import Broadcast
from caffelite.words import Shape


@layer("Bias")
class Bias(Broadcast):
    """``y = x + bias``, spread as in Scale.

    ``bias_param``: ``axis`` (1), ``num_axes`` (1), ``filler`` (0). With a second bottom the bias is that blob.
    """

    facts = Broadcast.facts.but(backward_reads=frozenset(), kind="normalization", settings=("bias_param",))

    def specific_facts(self) -> Facts:
        settings = self.param.bias_param
        return self.facts.but(affine=self.learned and settings.axis == 1 == settings.num_axes)

    def to_affine(self, factor: np.ndarray, offset: np.ndarray) -> None:
        offset += self.blobs[0].data

    def learned_affine(self) -> tuple[Blob | None, Blob | None] | None:
        return (None, self.blobs[0]) if self.facts.affine else None

    def _sizes(self, *bottoms: Shape) -> tuple[Shape, int, int]:
        return self._small(bottoms, self.param.bias_param.axis, self.param.bias_param.num_axes)

    def images_meet(self, *bottoms: Shape) -> str:
        settings = self.param.bias_param
        return self.along_images(settings.axis, bottoms[0]) if self.learned and settings.num_axes else ""

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self._sizes(*bottoms)
        return bottoms[:1]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        shape, _, _ = self._sizes(*bottoms)
        return [Parameter(shape, self.param.bias_param.filler)] if self.learned else []

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        _, channels, length = self._sizes(*[b.shape for b in bottoms])
        bias = self.blobs[0] if self.learned else bottoms[1]
        return [kernels.forward(bottoms[0].flat, tops[0].flat, None, bias.data, channels, length)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        _, channels, length = self._sizes(*[b.shape for b in bottoms])
        bias = self.blobs[0] if self.learned else bottoms[1]
        dx, dy = bottoms[0].diff, tops[0].flat_diff
        steps: list[Step] = []
        if bias.diff is not None:
            steps.append(kernels.sums(dy, channels, length, bias.diff, add=self.learned))
        if dx is not None and dx.ctypes.data != dy.ctypes.data:
            steps.append(copy(dy, dx))
        return steps
