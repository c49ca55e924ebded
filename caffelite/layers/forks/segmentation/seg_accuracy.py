"""SegAccuracy: how well each place of an image is labelled."""

from collections.abc import Sequence

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.labels import class_numbers
from caffelite.words import Shape, text_of


@layer("SegAccuracy")
class SegAccuracy(Layer):
    """Share of the places that are right, mean share over the classes, and mean intersection over union.

    Bottoms: scores (``N × C × H × W``), labels (``N × 1 × H × W``). The top, ``1 × 1 × 1 × 3``: places whose highest
    score is that of the label; the mean of that share over the classes that occur; the mean over all classes of the
    places that are of the class and found to be, by those that are or are found to be (1 where there are none).
    ``seg_accuracy_param``: ``ignore_label`` (any number of them); ``reset`` (true; false: what was counted in earlier
    passes stays). Of equal scores the last class has the highest; a place with a
    score that is NaN is found to be of no class. ``metric`` is not read, as in the forks.

    DeepLab and PSPNet.
    """

    facts = Facts(bottoms=2, differentiable=False, kind="measure", settings=("seg_accuracy_param",))

    def setup(self) -> None:
        self.settings = self.param.seg_accuracy_param

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        scores, labels = bottoms
        if len(scores) != 4 or not scores[1]:
            self.shape_error(f"takes scores of 4 axes (images × classes × height × width), not {text_of(scores)}")
        if labels != (scores[0], 1, *scores[2:]):
            self.shape_error(
                f"takes one label a place: {text_of((scores[0], 1, *scores[2:]))}, not {text_of(labels)}", "bottom", 1
            )
        return [(1, 1, 1, 3)]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        scores, labels, out = bottoms[0].data, bottoms[1].flat, tops[0].flat
        classes, ignored = scores.shape[1], list(self.settings.ignore_label)
        #: How many places are of a class (rows) and found to be of a class (columns).
        counts = np.zeros((classes, classes), np.int64)
        #: How many places of a class are found to be of none.
        lost = np.zeros(classes, np.int64)
        if not self.settings.reset:
            self.state |= {"counts": counts, "lost": lost}

        def measure() -> None:
            own, counted = class_numbers(self, labels, classes, ignored)
            best = (classes - 1 - scores[:, ::-1].argmax(1)).reshape(-1)
            scored = counted & ~np.isnan(scores).any(axis=1).reshape(-1)
            if self.settings.reset:
                counts.fill(0)
                lost.fill(0)
            pairs = np.bincount(own[scored] * classes + best[scored], minlength=classes * classes)
            counts.reshape(-1)[:] += self.context.over_batch(pairs).astype(np.int64)
            lost[:] += self.context.over_batch(np.bincount(own[counted & ~scored], minlength=classes)).astype(np.int64)
            out[:] = self._measures(counts, lost)

        return [measure]

    @staticmethod
    def _measures(counts: np.ndarray, lost: np.ndarray) -> tuple[float, float, float]:
        right, labelled, predicted = np.diag(counts), counts.sum(1) + lost, counts.sum(0)
        occurs = labelled > 0
        recall = (right[occurs] / labelled[occurs]).mean() if occurs.any() else 0.0
        union = labelled + predicted - right
        overlap = np.where(union > 0, right / np.maximum(union, 1), 1.0)
        return right.sum() / max(labelled.sum(), 1), recall, overlap.mean()
