"""SoftmaxWithLoss: the multinomial logistic loss of the softmax."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import softmax as kernels
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import VALID, SoftmaxLoss


@layer("SoftmaxWithLoss", "SoftmaxLoss")
class SoftmaxWithLoss(SoftmaxLoss):
    """The multinomial logistic loss of the softmax: mean of ``-log p[label]``, in one layer for its stable gradient.

    Bottoms: scores (``N × C × …``, classes along ``softmax_param { axis: 1 }``), labels (``N × …``, whole numbers from
    0). Tops: the loss; the probabilities, if a second is named. ``loss_param``: see Loss; VALID by default.

    A probability counts as at least 1.2e-38, so a loss of 87.3365 means that the net has diverged.
    """

    facts = SoftmaxLoss.facts.but(deploy="Softmax", deploy_top="prob")

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        scores, labels = bottoms
        outer, channels, inner = self.sizes(scores.shape)
        self.probabilities = tops[1].data if len(tops) > 1 else arrays.zeros(scores.shape, scores.data.dtype)
        losses, counts = np.zeros(outer, scores.data.dtype), np.zeros(outer, np.int64)
        wrong = np.zeros(1, np.int64)
        self.divisors = np.ones(1)
        mode = self.normalization_by_labels(VALID)
        fixed = 0.0 if mode == VALID else self.divisor(mode, outer, inner, 0)

        def check() -> None:
            if wrong[0]:
                label = labels.flat[wrong[0] - 1]
                wrong[0] = 0
                self.label_error(label, channels)

        def finish() -> None:
            self.divisors[0] = self.divisor(mode, outer, inner, int(counts.sum()))
            tops[0].flat[0] = losses.sum(dtype=np.float64) / self.divisors[0]

        alone = self.context.together.size == 1
        return [
            kernels.forward(scores.data, self.probabilities, outer, channels, inner),
            kernels.loss(self.probabilities, labels.data, losses, counts, wrong, channels, inner, self.ignored),
            kernels.mean(losses, counts, fixed, self.divisors, tops[0].flat) if alone else finish,
            check,
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        scores, labels = bottoms
        if scores.diff is None:
            return []
        _, channels, inner = self.sizes(scores.shape)
        sizes = channels, inner, self.ignored
        weight = tops[0].flat_diff
        return [kernels.gradient(self.probabilities, labels.data, scores.diff, weight, self.divisors, *sizes)]
