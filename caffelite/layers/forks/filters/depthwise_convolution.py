"""DepthwiseConvolution: a convolution in which each channel has filters of its own."""

from caffelite.layers.contract.registry import layer
from caffelite.layers.convolution import Convolution


@layer("DepthwiseConvolution", "ConvolutionDepthwise")
class DepthwiseConvolution(Convolution):
    """Convolution with as many groups as channels: ``y[o] = b[o] + sum over i, j of w[o, i, j] * x[o * C / O, …]``.

    Settings are those of Convolution; ``group`` need not be given. ``num_output`` is the number of channels, C, if
    unset, or a multiple of it: output o reads channel ``o * C / num_output``, rounded down.

    Blobs: filters, ``num_output × 1 × kernel``; bias, ``num_output``: those of a Convolution with ``group`` = C, which
    computes the same, and as fast.

    DepthwiseConvolution is yonghenglh6's, ConvolutionDepthwise that of BVLC's pull request 5665. Howard et al.,
    "MobileNets", 2017.
    """

    facts = Convolution.facts.but(kind="weights", settings=("convolution_param",), folds=frozenset({"behind"}))

    def _check_counts(self) -> None:
        """What there is to check takes the number of channels: see ``_counts``."""

    def counts(self, channels: int) -> tuple[int, int]:
        settings = self.settings
        outputs = settings.num_output or channels
        if settings.HasField("group") and settings.group not in (1, channels):
            self.shape_error(f"group is {settings.group}, but its bottom has {channels} channels", "group")
        if outputs % channels:
            self.shape_error(
                f"num_output {outputs} is not a multiple of its bottom's {channels} channels", "num_output"
            )
        return outputs, channels
