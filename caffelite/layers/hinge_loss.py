"""HingeLoss: margins of one class against the rest."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import Loss
from caffelite.words import Shape

_L1 = 1


@layer("HingeLoss")
class HingeLoss(Loss):
    """``1/N sum of max(0, 1 - t x)``, or of its squares, with t = 1 for the class of the label, -1 for the others.

    Bottoms: scores (``N × C``), labels (N). ``hinge_loss_param { norm: L1 }``, or ``L2`` for squares. ``loss_param``
    has no meaning here, as in Caffe.
    """

    facts = Loss.facts.but(bottoms=2, tops=(0, 1), without_gradient=(1,), settings=("hinge_loss_param",))

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self.check_labels_of_images(*bottoms)
        return [()]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        images = bottoms[0].shape[0]
        scores, labels, out = bottoms[0].data.reshape(images, -1), bottoms[1].flat, tops[0].flat
        self.margins = np.zeros_like(scores)
        each = np.arange(images)
        squared = self.param.hinge_loss_param.norm != _L1

        def forward() -> None:
            np.copyto(self.margins, scores)
            self.margins[each, labels.astype(np.int64)] *= -1
            self.margins += 1
            np.maximum(self.margins, 0, out=self.margins)
            total = np.square(self.margins).sum(dtype=np.float64) if squared else self.margins.sum(dtype=np.float64)
            out[0] = total / images

        return [self.class_checker(labels, scores.shape[1]), forward]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        dx = bottoms[0].diff
        if dx is None:
            return []
        images = bottoms[0].shape[0]
        labels, weight = bottoms[1].flat, tops[0].flat_diff
        gradient, each = dx.reshape(images, -1), np.arange(images)
        squared = self.param.hinge_loss_param.norm != _L1

        def backward() -> None:
            if squared:
                np.multiply(self.margins, 2 * weight[0] / images, out=gradient)
            else:
                np.multiply(self.margins > 0, weight[0] / images, out=gradient)
            gradient[each, labels.astype(np.int64)] *= -1

        return [backward]
