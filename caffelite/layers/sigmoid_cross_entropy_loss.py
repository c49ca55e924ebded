"""SigmoidCrossEntropyLoss: independent yes-or-no predictions."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import losses as kernels
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import BATCH_SIZE, Loss
from caffelite.words import Shape, count, text_of


@layer("SigmoidCrossEntropyLoss")
class SigmoidCrossEntropyLoss(Loss):
    """``-sum of t log p + (1 - t) log (1 - p)`` with ``p = sigmoid(x)``, over the number of images.

    Bottoms: scores, targets from 0 to 1, of the same size. ``loss_param``: see Loss; BATCH_SIZE by default.
    """

    facts = Loss.facts.but(bottoms=2, tops=(0, 1), without_gradient=(1,), deploy="Sigmoid", settings=("loss_param",))

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if not bottoms[0]:
            self.shape_error("takes scores of one image after the other, not a scalar", "bottom", 0)
        if count(bottoms[0]) != count(bottoms[1]):
            self.shape_error(
                f"its bottoms must have as many elements, not {text_of(bottoms[0])} and {text_of(bottoms[1])}",
                "bottom",
                1,
            )
        return [()]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, t = bottoms
        rows = x.shape[0]
        sums, counts = np.zeros(rows, x.data.dtype), np.zeros(rows, np.int64)
        mode, out = self.normalization_by_labels(BATCH_SIZE), tops[0].flat
        self.divided_by = 1.0

        def finish() -> None:
            self.divided_by = self.divisor(mode, rows, count(x.shape[1:]), int(counts.sum()))
            out[0] = sums.sum(dtype=np.float64) / self.divided_by

        return [kernels.cross_entropy(x.data, t.data, sums, counts, self.ignored), finish]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        x, t = bottoms
        if x.diff is None:
            return []
        weight, scale = tops[0].flat_diff, np.zeros(1, tops[0].data.dtype)

        def prepare() -> None:
            scale[0] = weight[0] / self.divided_by

        return [prepare, kernels.cross_entropy_gradient(x.data, t.data, x.diff, scale, x.shape[0], self.ignored)]
