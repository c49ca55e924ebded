"""Deconvolution: the gradient of a convolution, run forward."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from caffelite.kernels import scale
from caffelite.layers.contract.blobs import Blob, Parameter, Step, with_gradient
from caffelite.layers.contract.registry import layer
from caffelite.layers.convolution import Convolution
from caffelite.layers.shared.planes import Planes, planes
from caffelite.words import Shape, count, text_of


@layer("Deconvolution")
class Deconvolution(Convolution):
    """Each input value puts its multiple of a filter into the output, ``stride`` apart, and the overlaps are summed.

    Settings are those of Convolution; the output of an axis is ``stride * (n - 1) + dilation * (kernel - 1) + 1 -
    2 * pad``. Blobs: filters, ``channels × num_output / group × kernel``; bias, ``num_output``. With filler
    ``bilinear``, ``group`` = channels, ``kernel_size`` 2f - f % 2, ``stride`` f and ``pad`` ceil((f - 1) / 2) it
    enlarges maps f times.

    Also called transposed convolution. Long et al., "Fully Convolutional Networks for Semantic Segmentation", 2015.
    """

    # At the edges of the output fewer inputs are summed, so a shift of the input is no shift of the output.
    facts = Convolution.facts.but(kind="weights", settings=("convolution_param",), folds=frozenset({"behind"}))

    def _check_fit(self, spatial: Shape, kernel: Shape, pad: Shape, dilation: Shape) -> None:
        """Any kernel fits; what must not be empty is the output: see ``shapes``."""

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if any(x != bottoms[0] for x in bottoms):
            self.shape_error(f"its bottoms have different shapes: {', '.join(map(text_of, bottoms))}")
        axis = self.axis(self.settings.axis, bottoms[0])
        _, _, (spatial, kernel, stride, pad, dilation) = self.sizes(bottoms[0])
        sizes = tuple(
            s * (n - 1) + d * (k - 1) + 1 - 2 * p
            for n, k, s, p, d in zip(spatial, kernel, stride, pad, dilation, strict=True)
        )
        if min(sizes) < 1:
            self.shape_error(f"pad {text_of(pad)} leaves nothing of the output: {text_of(sizes)}", "pad")
        return [(*bottoms[0][:axis], self.settings.num_output, *sizes)] * len(bottoms)

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        _, channels, (_, kernel, *_) = self.sizes(bottoms[0])
        weights = (channels, self.settings.num_output // self.settings.group, *kernel)
        parameters = [Parameter(weights, self.settings.weight_filler)]
        if self.settings.bias_term:
            parameters.append(Parameter((self.settings.num_output,), self.settings.bias_filler))
        return parameters

    def scale_outputs(self, weights: np.ndarray, factor: np.ndarray) -> np.ndarray:
        # Input channels, then the output channels of a group.
        groups = self.settings.group
        parts = weights.reshape(groups, -1, *weights.shape[1:])
        return (parts * factor.reshape(groups, 1, -1, *[1] * (weights.ndim - 2))).reshape(weights.shape)

    def _reversed(self, x: Blob, y: Blob) -> Planes:
        """Return the convolution from the top to the bottom."""
        images, channels, sizes = self.sizes(x.shape)
        spatial = y.shape[len(y.shape) - len(sizes[0]) :]
        return planes(
            images, self.settings.num_output, channels, self.settings.group, [spatial, *sizes[1:]], x.data.dtype
        )

    def _bias(self, x: Blob, y: Blob) -> tuple[int, int]:
        images, _, _ = self.sizes(x.shape)
        outputs = self.settings.num_output
        return outputs, count(y.shape) // (images * outputs)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        weights, bias = self._weights()
        steps: list[Step] = []
        for x, y in zip(bottoms, tops, strict=True):
            steps += self._reversed(x, y).backward(y.data, weights, x.data, y.data, None, None)
            if bias is not None:
                steps.append(scale.forward(y.flat, y.flat, None, bias, *self._bias(x, y)))
        return steps

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        weights, _ = self._weights()
        steps: list[Step] = []
        for x, y in zip(bottoms, tops, strict=True):
            assert y.diff is not None
            if self.blobs[0].diff is not None:
                steps += self._reversed(x, y).backward(y.diff, weights, x.data, None, self.blobs[0].diff, None)
            if len(self.blobs) > 1 and self.blobs[1].diff is not None:
                steps.append(scale.sums(y.flat_diff, *self._bias(x, y), self.blobs[1].diff, add=True))
            if x.diff is not None:
                steps += self._reversed(x, y).forward(y.diff, weights, None, x.diff)
        return steps

    def window(self, bottom: Shape) -> list[tuple[int, Fraction]]:
        return [(math.ceil(span / stride), 1 / stride) for span, stride in super().window(bottom)]

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        w = self.blobs[0]
        places = [(x, x.data.size * count(w.shape[1:])) for x in bottoms]
        return sum(n for _, n in places), sum(n * with_gradient(x, w) for x, n in places)
