"""ContinuationIndicator: the second bottom of a recurrent layer whose sequences all fill a batch."""

from collections.abc import Sequence

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape


@layer("ContinuationIndicator")
class ContinuationIndicator(Layer):
    """``time_step × N`` numbers, 0 in the first step and 1 in all others; no gradient.

    ``continuation_indicator_param``: ``time_step``; ``axis`` (0), the one of the bottom that counts the streams, N.
    In jolibrain's fork.
    """

    facts = Facts(
        images_meet="axis 0 of its top is time", differentiable=False, settings=("continuation_indicator_param",)
    )

    def setup(self) -> None:
        self.settings = self.param.continuation_indicator_param
        if self.settings.time_step < 1:
            self.error("continuation_indicator_param needs time_step of at least 1", "time_step")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return [(self.settings.time_step, bottoms[0][self.axis(self.settings.axis, bottoms[0])])]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        y = tops[0].data

        def write() -> None:
            y[0] = 0
            y[1:] = 1

        return [write]
