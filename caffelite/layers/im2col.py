"""Im2col: the patches of an image as channels."""

import itertools
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.contract.summary import plain_summary
from caffelite.layers.convolution import Convolution
from caffelite.schema.messages import LayerParameter
from caffelite.words import Shape


@layer("Im2col")
class Im2col(Convolution):
    """What each filter of a convolution sees: channel ``c * kernel + tap`` holds tap's pixel of channel c.

    ``convolution_param``: ``kernel_size``, ``stride``, ``pad``, ``dilation``, ``axis``, as in Convolution. The gradient
    of a pixel is the sum over the patches it is in.
    """

    facts = Convolution.facts.but(
        bottoms=1,
        tops=1,
        backward_reads=frozenset(),
        kind="weights",
        settings=("convolution_param",),
        folds=frozenset(),
    )

    @classmethod
    def summary(cls, param: LayerParameter) -> list[str]:
        return plain_summary(param, cls.facts.settings)

    def setup(self) -> None:
        self.settings = self.param.convolution_param

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        axis = self.axis(self.settings.axis, bottoms[0])
        _, channels, (spatial, kernel, stride, pad, dilation) = self.sizes(bottoms[0])
        sizes = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(spatial, kernel, stride, pad, dilation, strict=True)
        )
        return [(*bottoms[0][:axis], channels * int(np.prod(kernel)), *sizes)]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        return []

    def _taps(self, x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, for each tap, the pixels it sees and where they go, without those in the padding."""
        images, channels, (spatial, kernel, stride, pad, dilation) = self.sizes(x.shape)
        source = x.reshape(images, channels, *spatial)
        result = y.shape[len(y.shape) - len(spatial) :]
        target = y.reshape(images, channels, -1, *result)
        for tap, place in enumerate(itertools.product(*map(range, kernel))):
            reads = [slice(None), slice(None)]
            writes: list[slice | int] = [slice(None), slice(None), tap]
            for n, m, k, s, p, d in zip(spatial, result, place, stride, pad, dilation, strict=True):
                shift = k * d - p
                first = max(0, -(shift // s))
                last = min(m - 1, (n - 1 - shift) // s)
                reads.append(slice(first * s + shift, last * s + shift + 1, s) if last >= first else slice(0, 0))
                writes.append(slice(first, last + 1) if last >= first else slice(0, 0))
            yield source[tuple(reads)], target[tuple(writes)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, y = bottoms[0].data, tops[0].data
        return [partial(y.fill, 0), *(partial(np.copyto, target, source) for source, target in self._taps(x, y))]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx, dy = bottoms[0].diff, tops[0].diff
        if dx is None or dy is None:
            return []
        adds = (partial(np.add, pixels, gradient, out=pixels) for pixels, gradient in self._taps(dx, dy))
        return [partial(dx.fill, 0), *adds]

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        return 0, 0
