"""LRN: local response normalization."""

from collections.abc import Sequence

from caffelite.kernels import lrn
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of

_ACROSS = 0


@layer("LRN")
class LRN(Layer):
    """Divide each value by the energy around it: ``y = x / (k + alpha / n * sum of squares) ** beta``.

    ``lrn_param``: ``norm_region`` ACROSS_CHANNELS (n neighbouring channels) or WITHIN_CHANNEL (n × n neighbouring
    pixels, n² in place of n, and k is 1 whatever is set, as in Caffe); ``local_size`` n (5, odd), ``alpha`` (1),
    ``beta`` (0.75), ``k`` (1).

    Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012, section 3.3.
    """

    facts = Facts(kind="normalization", settings=("lrn_param",), reads_own_output="always")

    def setup(self) -> None:
        self.settings = self.param.lrn_param
        if self.settings.local_size % 2 == 0:
            self.error(f"local_size is {self.settings.local_size}, expected an odd number", "local_size")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if len(bottoms[0]) != 4:
            self.shape_error(
                f"takes a bottom of 4 axes (images × channels × height × width), not {text_of(bottoms[0])}"
            )
        return bottoms[:1]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        p, x, y = self.settings, bottoms[0], tops[0]
        self.scale = arrays.zeros(x.shape, x.data.dtype)
        if p.norm_region == _ACROSS:
            return [lrn.across_forward(x.data, y.data, self.scale, p.local_size, p.alpha, p.beta, p.k)]
        return [lrn.within_forward(x.data, y.data, self.scale, p.local_size, p.alpha, p.beta)]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        p, x, y = self.settings, bottoms[0], tops[0]
        if x.diff is None or y.diff is None:
            return []
        call = lrn.across_backward if p.norm_region == _ACROSS else lrn.within_backward
        return [call(x.data, y.data, y.diff, x.diff, self.scale, p.local_size, p.alpha, p.beta)]
