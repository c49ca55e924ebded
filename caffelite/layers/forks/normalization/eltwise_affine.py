"""EltwiseAffine: a learned factor and offset for each channel."""

from collections.abc import Sequence

from caffelite.kernels import scale as kernels
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.schema.messages import FillerParameter
from caffelite.words import Shape, count, text_of


@layer("EltwiseAffine")
class EltwiseAffine(Layer):
    """``y = slope * x + bias``, learned for each channel, or, with ``channel_shared``, one for all.

    ``eltwise_affine_param``: ``slope_filler`` (1.0001), ``bias_filler`` (0.0001), ``channel_shared`` (false). Blobs:
    slope, bias. ducha-aiki's and happynear's forks; it is Scale with other names.
    """

    facts = Facts(
        in_place=True, backward_reads=frozenset({"bottom"}), kind="normalization", settings=("eltwise_affine_param",)
    )

    def setup(self) -> None:
        self.settings = self.param.eltwise_affine_param

    def _sizes(self, x: Shape) -> tuple[int, int]:
        """Return how many slopes there are, and how many values in a row share one."""
        return (1, count(x)) if self.settings.channel_shared else (x[1], count(x[2:]))

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if len(bottoms[0]) < 2:
            self.shape_error(f"takes a bottom of at least 2 axes (images × channels × …), not {text_of(bottoms[0])}")
        return bottoms[:1]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        p = self.settings
        shape = () if p.channel_shared else bottoms[0][1:2]
        slope = p.slope_filler if p.HasField("slope_filler") else FillerParameter(type="constant", value=1.0001)
        bias = p.bias_filler if p.HasField("bias_filler") else FillerParameter(type="constant", value=0.0001)
        return [Parameter(shape, slope), Parameter(shape, bias)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        slope, bias = self.blobs
        return [kernels.forward(bottoms[0].flat, tops[0].flat, slope.data, bias.data, *self._sizes(bottoms[0].shape))]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, dy, (slope, bias) = bottoms[0], tops[0].flat_diff, self.blobs
        dx, sizes = None if x.diff is None else x.flat_diff, self._sizes(x.shape)
        if slope.diff is None and bias.diff is None:
            return [] if dx is None else [kernels.forward(dy, dx, slope.data, None, *sizes)]
        return [kernels.backward(x.flat, dy, dx, slope.data, slope.diff, bias.diff, *sizes, add=True)]
