"""InfogainLoss: the logarithms of what is predicted, by a matrix of what confusions cost."""

from collections.abc import Sequence

import numpy as np

from caffelite.errors import SchemaError, WeightsError
from caffelite.kernels import softmax as kernels
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import LEAST_PROBABILITY, VALID, SoftmaxLoss
from caffelite.schema.blobs import read_blob
from caffelite.words import Shape, count, text_of


@layer("InfogainLoss")
class InfogainLoss(SoftmaxLoss):
    """``-sum over k of H[label, k] log p[k]``, averaged, with p the softmax of the scores.

    Bottoms: scores (``N × C × …``, classes along ``infogain_loss_param { axis: 1 }``), labels (``N × …``), H (``C ×
    C``; without it, the blob of the file ``infogain_loss_param { source }``). Tops: the loss; the probabilities, if a
    second is named. ``loss_param``: see Loss; VALID by default. With H the identity this is SoftmaxWithLoss.
    """

    facts = SoftmaxLoss.facts.but(
        bottoms=(2, 3), without_gradient=(1, 2), settings=("infogain_loss_param", "loss_param")
    )

    def setup(self) -> None:
        settings = self.param.infogain_loss_param
        self.matrix: np.ndarray | None = None
        if len(self.param.bottom) < 3:
            if not settings.source:
                self.error("needs the matrix H: a third bottom, or infogain_loss_param { source }")
            try:
                self.matrix = read_blob(settings.source)
            except (SchemaError, WeightsError, OSError) as error:
                self.error(f"source: {error}", "source")

    def sizes(self, scores: Shape) -> tuple[int, int, int]:
        return self.around(self.param.infogain_loss_param.axis, scores, "infogain_loss_param axis")

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        tops = super().shapes(*bottoms)
        _, classes, _ = self.sizes(bottoms[0])
        given = bottoms[2] if self.matrix is None else self.matrix.shape
        if count(given) != classes * classes:
            self.shape_error(f"H must have {classes} × {classes} values, not {text_of(given)}")
        return tops

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        scores, labels = bottoms[:2]
        outer, classes, inner = self.sizes(scores.shape)
        dtype = scores.data.dtype
        self.h = (bottoms[2].data if self.matrix is None else self.matrix.astype(dtype)).reshape(classes, classes)
        self.probabilities = tops[1].data if len(tops) > 1 else arrays.zeros(scores.shape, dtype)
        p = self.probabilities.reshape(outer, classes, inner)
        mode, out, ignored = self.normalization_by_labels(VALID), tops[0].flat, self.ignored
        index = labels.data.reshape(outer, inner)
        self.valid = np.ones((outer, inner), bool)
        self.divided_by = 1.0
        check = self.class_checker(labels.flat, classes, ignored)

        def forward() -> None:
            if ignored is not None:
                np.not_equal(index.astype(np.int64), ignored, out=self.valid)
            total = 0.0
            for n in range(outer):
                rows = self.h[np.where(self.valid[n], index[n], 0).astype(np.int64)]
                parts = (rows.T * np.log(np.maximum(p[n], LEAST_PROBABILITY))).sum(axis=0, dtype=np.float64)
                total -= float(parts[self.valid[n]].sum())
            self.divided_by = self.divisor(mode, outer, inner, int(self.valid.sum()))
            out[0] = total / self.divided_by

        return [kernels.forward(scores.data, self.probabilities, outer, classes, inner), check, forward]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        scores, labels = bottoms[:2]
        if scores.diff is None:
            return []
        outer, classes, inner = self.sizes(scores.shape)
        weight = tops[0].flat_diff
        p = self.probabilities.reshape(outer, classes, inner)
        index = labels.data.reshape(outer, inner)
        dx = scores.diff.reshape(outer, classes, inner)

        def backward() -> None:
            sums = self.h.sum(axis=1)
            scale = weight[0] / self.divided_by
            for n in range(outer):
                chosen = np.where(self.valid[n], index[n], 0).astype(np.int64)
                np.multiply(p[n], sums[chosen], out=dx[n])
                dx[n] -= self.h[chosen].T
                dx[n] *= self.valid[n] * scale

        return [backward]
