"""Softmax, and the loss on it."""

from collections.abc import Sequence

import numpy as np

from caffelite.errors import DataError
from caffelite.kernels import softmax as kernels
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import VALID, Loss
from caffelite.words import Shape, count, text_of


@layer("Softmax")
class Softmax(Layer):
    """``y = exp(x) / sum of exp(x)`` over ``softmax_param { axis: 1 }``, the largest x taken off first."""

    facts = Facts(
        in_place=True,
        backward_reads=frozenset({"top"}),
        kind="activation",
        settings=("softmax_param",),
        saturates=True,
        reads_own_output="always",
    )

    def _sizes(self, x: Shape) -> tuple[int, int, int]:
        axis = self.axis(self.param.softmax_param.axis, x)
        return count(x[:axis]), x[axis], count(x[axis + 1 :])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        self._sizes(bottoms[0])
        return bottoms[:1]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        return [kernels.forward(bottoms[0].data, tops[0].data, *self._sizes(bottoms[0].shape))]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        if bottoms[0].diff is None or tops[0].diff is None:
            return []
        return [kernels.backward(tops[0].data, tops[0].diff, bottoms[0].diff, *self._sizes(bottoms[0].shape))]


@layer("SoftmaxWithLoss", "SoftmaxLoss")
class SoftmaxWithLoss(Loss):
    """The multinomial logistic loss of the softmax: mean of ``-log p[label]``, in one layer for its stable gradient.

    Bottoms: scores (``N × C × …``, classes along ``softmax_param { axis: 1 }``), labels (``N × …``, whole numbers from
    0). Tops: the loss; the probabilities, if a second is named. ``loss_param``: see Loss; VALID by default.

    A probability counts as at least 1.2e-38, so a loss of 87.3365 means that the net has diverged.
    """

    facts = Loss.facts.but(
        bottoms=2,
        tops=(0, 2),
        without_gradient=(1,),
        settings=("loss_param", "softmax_param"),
        deploy="Softmax",
        deploy_top="prob",
    )

    def _sizes(self, x: Shape) -> tuple[int, int, int]:
        axis = self.axis(self.param.softmax_param.axis, x)
        return count(x[:axis]), x[axis], count(x[axis + 1 :])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        outer, channels, inner = self._sizes(bottoms[0])
        if count(bottoms[1]) != outer * inner:
            self.shape_error(
                f"takes one label a prediction: {text_of(bottoms[0])} makes {outer * inner} predictions of "
                f"{channels} classes, but the labels are {text_of(bottoms[1])}",
                "bottom",
                1,
            )
        return [(), bottoms[0]][: max(len(self.param.top), 1)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        scores, labels = bottoms
        outer, channels, inner = self._sizes(scores.shape)
        self.probabilities = tops[1].data if len(tops) > 1 else arrays.zeros(scores.shape, scores.data.dtype)
        losses, counts = np.zeros(outer, scores.data.dtype), np.zeros(outer, np.int64)
        wrong = np.zeros(1, np.int64)
        self.divided_by = 1.0
        mode = self.normalization(VALID)
        out = tops[0].flat

        def finish() -> None:
            if wrong[0]:
                label = labels.flat[wrong[0] - 1]
                wrong[0] = 0
                raise DataError(
                    f"{self.where('bottom', 1)}: label {label:g} is not one of its {channels} classes "
                    f"(0 to {channels - 1})"
                )
            self.divided_by = self.divisor(mode, outer, inner, int(counts.sum()))
            out[0] = losses.sum(dtype=np.float64) / self.divided_by

        return [
            kernels.forward(scores.data, self.probabilities, outer, channels, inner),
            kernels.loss(self.probabilities, labels.data, losses, counts, wrong, channels, inner, self.ignored),
            finish,
        ]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        scores, labels = bottoms
        if scores.diff is None:
            return []
        _, channels, inner = self._sizes(scores.shape)
        weight = tops[0].flat_diff
        scale = np.zeros(1, scores.data.dtype)

        def prepare() -> None:
            scale[0] = weight[0] / self.divided_by

        return [
            prepare,
            kernels.gradient(self.probabilities, labels.data, scores.diff, scale, channels, inner, self.ignored),
        ]
