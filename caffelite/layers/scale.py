"""Scale and Bias: a factor and an offset for each channel, learned or from a second bottom."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import scale as kernels
from caffelite.kernels.engine.arrays import copy
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.schema.messages import FillerParameter
from caffelite.words import Shape, count, quoted, text_of


class _Broadcast(Layer):
    """A small array, learned or the second bottom, spread over the axes of the first."""

    facts = Facts(bottoms=(1, 2), in_place=True)

    @property
    def learned(self) -> bool:
        return len(self.param.bottom) == 1

    def _small(self, bottoms: Sequence[Shape], axis: int, num_axes: int) -> tuple[Shape, int, int]:
        """Return the shape of the small array, its size, and what comes after it in the large one."""
        x = bottoms[0]
        first = self.axis(axis, x) if x else 0
        if self.learned:
            if num_axes < -1:
                self.error(f"num_axes is {num_axes}, expected -1 or more", "num_axes")
            last = len(x) if num_axes == -1 else first + num_axes
            if last > len(x):
                self.shape_error(
                    f"axis {first} and num_axes {num_axes} go beyond its bottom of shape {text_of(x)}", "num_axes"
                )
            small = x[first:last]
        else:
            small = bottoms[1]
            last = first + len(small)
            if x[first:last] != small:
                self.shape_error(
                    f"its second bottom {quoted(self.param.bottom[1])} of shape {text_of(small)} does not fit into "
                    f"{text_of(x)} from axis {first}",
                    "bottom",
                    1,
                )
        return small, count(small), count(x[last:])


@layer("Scale")
class Scale(_Broadcast):
    """``y = x * factor + bias``, the factor spread over the axes before and after its own.

    ``scale_param``: ``axis`` (1), ``num_axes`` (1; -1: to the end; 0: a single factor), ``filler`` (1 by default),
    ``bias_term``, ``bias_filler``. With a second bottom the factor is that blob and only the bias is learned.

    Blobs: factor (unless there is a second bottom); bias, if ``bias_term``. Behind BatchNorm this is the learned scale
    and shift (γ and β) of the paper.
    """

    facts = _Broadcast.facts.but(backward_reads=frozenset({"bottom"}), kind="normalization", settings=("scale_param",))

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

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self._sizes(*bottoms)
        return bottoms[:1]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        shape, _, _ = self._sizes(*bottoms)
        settings = self.param.scale_param
        filler = settings.filler if settings.HasField("filler") else FillerParameter(type="constant", value=1)
        found = [Parameter(shape, filler)] if self.learned else []
        if settings.bias_term:
            found.append(Parameter(shape, settings.bias_filler))
        return found

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


@layer("Bias")
class Bias(_Broadcast):
    """``y = x + bias``, spread as in Scale.

    ``bias_param``: ``axis`` (1), ``num_axes`` (1), ``filler`` (0). With a second bottom the bias is that blob.
    """

    facts = _Broadcast.facts.but(backward_reads=frozenset(), kind="normalization", settings=("bias_param",))

    def specific_facts(self) -> Facts:
        settings = self.param.bias_param
        return self.facts.but(affine=self.learned and settings.axis == 1 == settings.num_axes)

    def to_affine(self, factor: np.ndarray, offset: np.ndarray) -> None:
        offset += self.blobs[0].data

    def learned_affine(self) -> tuple[Blob | None, Blob | None] | None:
        return (None, self.blobs[0]) if self.facts.affine else None

    def _sizes(self, *bottoms: Shape) -> tuple[Shape, int, int]:
        return self._small(bottoms, self.param.bias_param.axis, self.param.bias_param.num_axes)

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
