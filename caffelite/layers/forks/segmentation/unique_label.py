"""UniqueLabel: which labels an image has."""

from collections.abc import Sequence

import numpy as np

from caffelite.errors import DataError
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.words import Shape, text_of


@layer("UniqueLabel")
class UniqueLabel(Layer):
    """The labels of each image (``N × 1 × H × W``), each once and in order, then -1: ``N × max_labels × 1 × 1``.

    ``unique_label_param``: ``max_labels``; ``ignore_label`` (any number of them, left out); ``force_label`` (always
    among them). DeepLab and PSPNet.
    """

    facts = Facts(differentiable=False, settings=("unique_label_param",))

    def setup(self) -> None:
        self.settings = self.param.unique_label_param
        if self.settings.max_labels <= len(set(self.settings.force_label)):
            self.error(
                f"max_labels is {self.settings.max_labels}, expected more than the forced labels, of which there are "
                f"{len(set(self.settings.force_label))}",
                "max_labels",
            )

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        x = bottoms[0]
        if len(x) < 2 or x[1] != 1:
            self.shape_error(f"takes labels of one channel (images × 1 × height × width), not {text_of(x)}")
        return [(x[0], self.settings.max_labels, 1, 1)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        images = bottoms[0].shape[0]
        labels, out = bottoms[0].data.reshape(images, -1), tops[0].data.reshape(images, -1)
        ignored = np.array(self.settings.ignore_label, labels.dtype)
        forced = np.array(self.settings.force_label, labels.dtype)

        def collect() -> None:
            out.fill(-1)
            for n, row in enumerate(labels):
                distinct = np.unique(row)
                distinct = np.union1d(distinct[~np.isin(distinct, ignored)], forced)
                if len(distinct) > out.shape[1]:
                    raise DataError(
                        f"{self.where()}: image {n} of the batch has {len(distinct)} labels, more than max_labels, "
                        f"{out.shape[1]}"
                    )
                out[n, : len(distinct)] = distinct

        return [collect]
