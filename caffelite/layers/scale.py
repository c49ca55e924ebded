"""Scale: a factor and an offset for each channel, learned or from a second bottom."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import scale as kernels
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.broadcast import Broadcast
from caffelite.schema.messages import FillerParameter
from caffelite.words import Shape


@layer("Scale")
class Scale(Broadcast):
    """``y = x * factor + bias``, the factor spread over the axes before and after its own.

    ``scale_param``: ``axis`` (1), ``num_axes`` (1; -1: to the end; 0: a single factor), ``filler`` (1 by default),
    ``bias_term``, ``bias_filler``. With a second bottom the factor is that blob and only the bias is learned.

    Blobs: factor (unless there is a second bottom); bias, if ``bias_term``. Behind BatchNorm this is the learned scale
    and shift (γ and β) of the paper.
    """

    facts = Broadcast.facts.but(backward_reads=frozenset({"bottom"}), kind="normalization", settings=("scale_param",))

    def specific_facts(self) -> Facts:
        settings = self.param.scale_param
        return self.facts.but(affine=self.learned and settings.axis == 1 == settings.num_axes)

    def to_affine(self, factor: np.ndarray, offset: np.ndarray) -> None:
        factor *= self.blobs[0].data
        offset *= self.blobs[0].data
        if len(self.blobs) > 1:
            offset += self.blobs[1].data

    def learned_affine(self) -> tuple[Blob | None, Blob | None] | None:
        return self._blobs([]) if self.facts.affine else None

    def _sizes(self, *bottoms: Shape) -> tuple[Shape, int, int]:
        return self._small(bottoms, self.param.scale_param.axis, self.param.scale_param.num_axes)

    def images_meet(self, *bottoms: Shape) -> str:
        settings = self.param.scale_param
        return self.along_images(settings.axis, bottoms[0]) if self.learned and settings.num_axes else ""

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self._sizes(*bottoms)
        return bottoms[:1]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        shape, _, _ = self._sizes(*bottoms)
        settings = self.param.scale_param
        filler = settings.filler if settings.HasField("filler") else FillerParameter(type="constant", value=1)
        parameters = [Parameter(shape, filler)] if self.learned else []
        if settings.bias_term:
            parameters.append(Parameter(shape, settings.bias_filler))
        return parameters

    def _blobs(self, bottoms: Sequence[Blob]) -> tuple[Blob, Blob | None]:
        factor, *rest = self.blobs if self.learned else [bottoms[1], *self.blobs]
        return factor, rest[0] if rest else None

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        _, channels, length = self._sizes(*[b.shape for b in bottoms])
        factor, bias = self._blobs(bottoms)
        offset = None if bias is None else bias.data
        return [kernels.forward(bottoms[0].flat, tops[0].flat, factor.data, offset, channels, length)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        _, channels, length = self._sizes(*[b.shape for b in bottoms])
        factor, bias = self._blobs(bottoms)
        dx, dy = bottoms[0].diff, tops[0].flat_diff
        d_bias = None if bias is None else bias.diff
        if factor.diff is None and d_bias is None:
            return [] if dx is None else [kernels.forward(dy, dx.reshape(-1), factor.data, None, channels, length)]
        return [
            kernels.backward(
                bottoms[0].flat,
                dy,
                None if dx is None else dx.reshape(-1),
                factor.data,
                factor.diff,
                d_bias,
                channels,
                length,
                add=self.learned,
            )
        ]
