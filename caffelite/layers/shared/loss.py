"""What losses share: what their sum is divided by."""

from typing import Any

import numpy as np

from caffelite.errors import DataError
from caffelite.layers.contract.blobs import Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer

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
        settings: Any = self.param.loss_param
        if settings.HasField("normalization"):
            return int(settings.normalization)
        if settings.HasField("normalize"):
            return VALID if settings.normalize else BATCH_SIZE
        return default

    @property
    def ignored(self) -> int | None:
        """The label that does not count."""
        settings: Any = self.param.loss_param
        return int(settings.ignore_label) if settings.HasField("ignore_label") else None

    def class_checker(self, labels: np.ndarray, classes: int, ignored: int | None = None) -> Step:
        """Return the step that raises DataError where one of the labels (the second bottom) is no class."""

        def check() -> None:
            # Written so that NaN is wrong too.
            wrong = ~((labels > -1) & (labels < classes))
            if ignored is not None:
                wrong &= labels != ignored
            if wrong.any():
                label = labels[np.argmax(wrong)]
                place = self.where("bottom", 1)
                raise DataError(f"{place}: label {label:g} is not one of its {classes} classes (0 to {classes - 1})")

        return check

    def divisor(self, mode: int, images: int, places: int, valid: int) -> float:
        """Return what the sum of losses is divided by; at least 1, so that a batch without labels has loss 0."""
        fixed = self.param.loss_param.pre_fixed_normalizer
        divisors = {FULL: images * places, VALID: valid, BATCH_SIZE: images, NONE: 1, PRE_FIXED: fixed}
        return float(max(divisors[mode], 1))
