"""Normalize: length one for each image or each place of it, times a scale that is learned."""

from collections.abc import Callable, Sequence

import numpy as np

from caffelite.kernels import arrays
from caffelite.kernels.launch import call, specialised
from caffelite.layers.base import Blob, Layer, Parameter, Shape, Step, count, layer, text_of
from caffelite.schema.messages import FillerParameter


@specialised
def _forward(across: bool, shared: bool) -> Callable[..., None]:
    def forward(begin, end, worker, x, y, scale, norms, channels, length, eps):
        """y = scale * x / norm; a task is an image of ``channels`` maps of ``length``."""
        for n in range(begin, end):
            start = n * channels * length
            if across:
                total = 0.0
                for i in range(start, start + channels * length):
                    total += np.float64(x[i]) * x[i]
                norms[n] = np.sqrt(total + eps)
            else:
                for i in range(length):
                    norms[n * length + i] = eps
                for c in range(channels):
                    for i in range(length):
                        value = x[start + c * length + i]
                        norms[n * length + i] += value * value
                for i in range(length):
                    norms[n * length + i] = np.sqrt(norms[n * length + i])
            for c in range(channels):
                factor = scale[0] if shared else scale[c]
                for i in range(length):
                    norm = norms[n] if across else norms[n * length + i]
                    y[start + c * length + i] = x[start + c * length + i] / norm * factor

    return forward


@specialised
def _backward(across: bool, shared: bool) -> Callable[..., None]:
    def backward(begin, end, worker, x, dy, dx, scale, norms, products, channels, length):
        """dx = scale / norm * (dy - x * sum(x * dy) / norm²); a task is an image."""
        for n in range(begin, end):
            start = n * channels * length
            if across:
                total = 0.0
                for i in range(start, start + channels * length):
                    total += np.float64(x[i]) * dy[i]
                products[n] = total / (np.float64(norms[n]) * norms[n])
            else:
                for i in range(length):
                    products[n * length + i] = 0
                for c in range(channels):
                    for i in range(length):
                        products[n * length + i] += x[start + c * length + i] * dy[start + c * length + i]
                for i in range(length):
                    products[n * length + i] /= norms[n * length + i] * norms[n * length + i]
            for c in range(channels):
                factor = scale[0] if shared else scale[c]
                for i in range(length):
                    place = n if across else n * length + i
                    j = start + c * length + i
                    dx[j] = (dy[j] - x[j] * products[place]) / norms[place] * factor

    return backward


@specialised
def _scale_gradient(across: bool) -> Callable[..., None]:
    def scale_gradient(begin, end, worker, x, dy, norms, sums, images, length, channels):
        """sums[c] = sum of x / norm * dy; a task is a channel."""
        for c in range(begin, end):
            total = 0.0
            for n in range(images):
                start = (n * channels + c) * length
                for i in range(length):
                    norm = norms[n] if across else norms[n * length + i]
                    total += np.float64(x[start + i]) * dy[start + i] / norm
            sums[c] = total

    return scale_gradient


@layer("Normalize")
class Normalize(Layer):
    """``y = scale * x / sqrt(sum of x² + eps)``.

    ``norm_param``: ``across_spatial`` (true: the sum is over the whole image; false: over the channels at each place),
    ``channel_shared`` (true: one scale; false: one for each channel), ``scale_filler`` (1), ``eps`` (1e-10). One blob,
    the scale.

    As in SSD, the gradient to x takes the scale to be the same for all channels; where ``channel_shared: false`` has
    made them different it is off by their differences.

    From the SSD fork; Liu, Rabinovich and Berg, "ParseNet: Looking Wider to See Better", 2015.
    """

    backward_reads = frozenset({"bottom"})

    def setup(self) -> None:
        self.settings = self.param.norm_param
        if self.param.HasField("normalize_param"):
            self.error(
                "normalize_param belongs to another layer of this name, that of caffe-windows, which caffelite lacks; "
                "the Normalize of SSD has norm_param", "normalize_param",
            )  # fmt: skip

    @staticmethod
    def _sizes(x: Shape) -> tuple[int, int, int]:
        """Return images, channels, and the values of a map."""
        return x[0], x[1], count(x[2:])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if len(bottoms[0]) < 2:
            self.shape_error(f"takes a bottom of at least 2 axes (images × channels × …), not {text_of(bottoms[0])}")
        return bottoms[:1]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        if self.settings.HasField("scale_filler"):
            filler = self.settings.scale_filler
        else:
            filler = FillerParameter(type="constant", value=1)
        return [Parameter(() if self.settings.channel_shared else bottoms[0][1:2], filler)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0], tops[0]
        images, channels, length = self._sizes(x.shape)
        across, shared = self.settings.across_spatial, self.settings.channel_shared
        self.norms = arrays.zeros(images if across else images * length, x.data.dtype)
        return [call(_forward(across, shared), images, x.flat, y.flat, self.blobs[0].flat, self.norms, channels, length,
                     float(self.settings.eps), work=4 * x.data.size)]  # fmt: skip

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, dy, scale = bottoms[0], tops[0].flat_diff, self.blobs[0]
        images, channels, length = self._sizes(x.shape)
        across, shared = self.settings.across_spatial, self.settings.channel_shared
        steps: list[Step] = []
        if scale.diff is not None:
            steps += self._scale_steps(x, dy, scale.flat_diff)
        if x.diff is not None:
            products = np.zeros_like(self.norms)
            steps.append(
                call(_backward(across, shared), images, x.flat, dy, x.flat_diff, scale.flat, self.norms, products,
                     channels, length, work=6 * x.data.size)
            )  # fmt: skip
        return steps

    def _scale_steps(self, x: Blob, dy: np.ndarray, diff: np.ndarray) -> list[Step]:
        images, channels, length = self._sizes(x.shape)
        sums = np.zeros(channels, x.data.dtype)

        def add() -> None:
            diff[:] += sums.sum(dtype=np.float64) if self.settings.channel_shared else sums

        return [call(_scale_gradient(self.settings.across_spatial), channels, x.flat, dy, self.norms, sums, images,
                     length, channels, work=4 * x.data.size), add]  # fmt: skip
