"""MultinomialLogisticLoss: the logarithm of what is predicted for the label."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import LEAST_PROBABILITY, Loss
from caffelite.words import Shape


@layer("MultinomialLogisticLoss")
class MultinomialLogisticLoss(Loss):
    """``-1/N sum of log p[label]``, of probabilities (SoftmaxWithLoss takes scores, and is the one to use).

    Bottoms: probabilities (``N × C``), labels (N). A probability counts as at least 1e-20.
    """

    facts = Loss.facts.but(bottoms=2, tops=(0, 1), without_gradient=(1,))

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self.check_labels_of_images(*bottoms)
        return [()]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        images = bottoms[0].shape[0]
        p, labels, out = bottoms[0].data.reshape(images, -1), bottoms[1].flat, tops[0].flat
        each = np.arange(images)

        def forward() -> None:
            chosen = np.maximum(p[each, labels.astype(np.int64)], LEAST_PROBABILITY)
            out[0] = -np.log(chosen).sum(dtype=np.float64) / images

        return [self.class_checker(labels, p.shape[1]), forward]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx = bottoms[0].diff
        if dx is None:
            return []
        images = bottoms[0].shape[0]
        p, labels, weight = bottoms[0].data.reshape(images, -1), bottoms[1].flat, tops[0].flat_diff
        gradient, each = dx.reshape(images, -1), np.arange(images)

        def backward() -> None:
            gradient.fill(0)
            chosen = labels.astype(np.int64)
            gradient[each, chosen] = -weight[0] / images / np.maximum(p[each, chosen], LEAST_PROBABILITY)

        return [backward]
