"""Accuracy: how many predictions are right."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.labels import class_numbers
from caffelite.words import Shape, count, text_of


@layer("Accuracy")
class Accuracy(Layer):
    """The share of predictions whose label is among the ``top_k`` highest scores.

    Bottoms: scores (classes along ``axis``, 1), labels. Tops: the share; a second top has it for each class.
    ``accuracy_param``: ``top_k`` (1), ``axis``, ``ignore_label``. A score equal to the label's counts as higher, so
    that a net that gives all classes the same score is right about nothing; so does one that is NaN, and a label whose
    own score is NaN is wrong. (Caffe asks which scores are at least the label's; none is at least NaN, so there a net
    that has diverged is right about everything.)
    """

    facts = Facts(
        bottoms=2,
        tops=(1, 2),
        differentiable=False,
        share=True,
        kind="measure",
        settings=("accuracy_param",),
    )

    def _sizes(self, x: Shape) -> tuple[int, int, int]:
        return self.around(self.param.accuracy_param.axis, x)

    def images_meet(self, *bottoms: Shape) -> str:
        return self.along_images(self.param.accuracy_param.axis, bottoms[0])

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        outer, classes, inner = self._sizes(bottoms[0])
        top_k = self.param.accuracy_param.top_k
        if top_k > classes or top_k < 1:
            self.error(f"top_k is {top_k}, expected 1 to the number of classes, {classes}", "top_k")
        if count(bottoms[1]) != outer * inner:
            self.shape_error(
                f"takes one label a prediction: {text_of(bottoms[0])} makes {outer * inner} predictions, but "
                f"the labels are {text_of(bottoms[1])}",
                "bottom",
                1,
            )
        return [(), (classes,)][: len(self.param.top)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        outer, classes, inner = self._sizes(bottoms[0].shape)
        settings = self.param.accuracy_param
        scores = bottoms[0].data.reshape(outer, classes, inner).transpose(0, 2, 1)
        labels = bottoms[1].data.reshape(outer, inner)
        ignored = [settings.ignore_label] if settings.HasField("ignore_label") else []

        part = self.context.part

        def measure() -> None:
            index, counted = class_numbers(self, labels, classes, ignored)
            own = np.take_along_axis(scores, np.where(counted, index, 0)[..., None], axis=2)
            # Asked this way round, NaN is never among the lower ones.
            right = ((scores < own).sum(axis=2) >= classes - settings.top_k) & ~np.isnan(own[..., 0]) & counted
            # Labels that are ignored, and classes, are not spread evenly over the processes that share a batch.
            number = self.context.over_batch(counted.sum()) * part if ignored else counted.sum()
            tops[0].flat[0] = right.sum() / max(number, part)
            if len(tops) > 1:
                all_of = self.context.over_batch(np.bincount(index[counted], minlength=classes))
                right_of = np.bincount(index[right], minlength=classes)
                tops[1].data[:] = right_of / (np.maximum(all_of, 1) * part)

        return [measure]
