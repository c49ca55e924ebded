"""What losses share: what their sum is divided by, and what their labels must be."""

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from caffelite.errors import DataError
from caffelite.layers.contract.blobs import Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import ALONG_IMAGES, Layer
from caffelite.words import Shape, count, text_of

#: What a probability counts as at least, where its logarithm is taken: Caffe's kLOG_THRESHOLD.
LEAST_PROBABILITY = 1e-20
FULL, VALID, BATCH_SIZE, NONE, PRE_FIXED = 0, 1, 2, 3, 20004


class Loss(Layer):
    """A layer whose top is a loss, averaged as ``loss_param`` says.

    ``loss_param``: ``normalization`` VALID (labels that are not ignored), FULL (all), BATCH_SIZE (images), NONE,
    PRE_FIXED (``pre_fixed_normalizer``, of the R-FCN fork); ``ignore_label``; the older ``normalize`` (true: VALID,
    false: BATCH_SIZE).
    """

    facts = Facts(loss=True, kind="loss", deploy="dropped")

    def normalization(self, default: int) -> int:
        """Return the mode, where ``default`` holds if nothing is set."""
        settings = self.param.loss_param
        if settings.HasField("normalization"):
            return int(settings.normalization)
        if settings.HasField("normalize"):
            return VALID if settings.normalize else BATCH_SIZE
        return default

    def normalization_by_labels(self, default: int) -> int:
        """Return the mode of a loss whose VALID counts labels: without a label that is ignored, that is FULL."""
        mode = self.normalization(default)
        return FULL if mode == VALID and self.ignored is None else mode

    @property
    def ignored(self) -> int | None:
        """The label that does not count."""
        settings = self.param.loss_param
        return int(settings.ignore_label) if settings.HasField("ignore_label") else None

    def label_error(self, label: float, classes: int) -> NoReturn:
        """Raise a DataError about a label (of the second bottom) that is no class."""
        place = self.where("bottom", 1)
        raise DataError(f"{place}: label {label:g} is not one of its {classes} classes (0 to {classes - 1})")

    def check_labels_of_images(self, scores: Shape, labels: Shape) -> None:
        """Raise ShapeError where there is not one label for each image."""
        if not scores or count(labels) != scores[0]:
            self.shape_error(
                f"takes one label an image: {text_of(scores)} does not go with {text_of(labels)}", "bottom", 1
            )

    def check_labels_of_rows(self, rows: int, labels: Shape) -> None:
        """Raise ShapeError where there is not one label for each row."""
        if count(labels) != rows:
            self.shape_error(f"takes one label a row: {rows}, not {text_of(labels)}", "bottom", 1)

    def class_checker(self, labels: np.ndarray, classes: int, ignored: int | None = None) -> Step:
        """Return the step that raises DataError where one of the labels (the second bottom) is no class."""

        def check() -> None:
            # Written so that NaN is wrong too.
            wrong = ~((labels > -1) & (labels < classes))
            if ignored is not None:
                wrong &= labels != ignored
            if wrong.any():
                self.label_error(labels[np.argmax(wrong)], classes)

        return check

    def divisor(self, mode: int, images: int, places: int, valid: int) -> float:
        """Return what the sum of losses is divided by; at least 1, so that a batch without labels has loss 0.

        Where a batch is divided: by this process's part of what the whole batch's is divided by (see ``of_batch``).
        """
        fixed = self.param.loss_param.pre_fixed_normalizer
        if mode in (FULL, BATCH_SIZE):
            return float(max(images * places if mode == FULL else images, 1))
        divisor = fixed if mode == PRE_FIXED else 1 if mode == NONE else float(self.context.over_batch(valid))
        return float(max(divisor, 1)) * self.context.part


class SoftmaxLoss(Loss):
    """A loss on the softmax of scores, with one label a prediction.

    Bottoms: scores (``N × C × …``, classes along ``softmax_param { axis: 1 }``), labels (``N × …``, whole numbers from
    0). Tops: the loss; the probabilities, if a second is named.
    """

    facts = Loss.facts.but(bottoms=2, tops=(0, 2), without_gradient=(1,), settings=("loss_param", "softmax_param"))

    def sizes(self, scores: Shape) -> tuple[int, int, int]:
        """Return how many predictions lie before the axis of the classes, the classes, and how many behind it."""
        return self.around(self.param.softmax_param.axis, scores)

    def images_meet(self, *bottoms: Shape) -> str:
        return ALONG_IMAGES if self.sizes(bottoms[0])[:2] == (1, bottoms[0][0]) else ""

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        scores, labels = bottoms[:2]
        outer, classes, inner = self.sizes(scores)
        if count(labels) != outer * inner:
            self.shape_error(
                f"takes one label a prediction: {text_of(scores)} makes {outer * inner} predictions of {classes} "
                f"classes, but the labels are {text_of(labels)}",
                "bottom",
                1,
            )
        return [(), scores][: max(len(self.param.top), 1)]
