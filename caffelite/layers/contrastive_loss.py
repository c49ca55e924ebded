"""ContrastiveLoss: pull pairs that belong together, push the others apart."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import losses
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import Loss
from caffelite.words import Shape, count, text_of


@layer("ContrastiveLoss")
class ContrastiveLoss(Loss):
    """``1/2N sum of s d² + (1 - s) max(margin - d, 0)²`` with d the distance of a pair, s = 1 if it belongs together.

    Bottoms: features a and b (``N × C``), s (N). ``contrastive_loss_param``: ``margin`` (1); ``legacy_version``
    (``max(margin - d², 0)``, as Caffe once computed).

    Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping", 2006.
    """

    facts = Loss.facts.but(
        bottoms=3, tops=(0, 1), without_gradient=(2,), refuses_gradient=False, settings=("contrastive_loss_param",)
    )

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        a, b, s = bottoms
        if a != b or not a:
            self.shape_error(
                f"its first two bottoms must have the same shape, not {text_of(a)} and {text_of(b)}", "bottom", 1
            )
        if count(s) != a[0]:
            self.shape_error(f"takes one similarity a pair: {a[0]}, not {text_of(s)}", "bottom", 2)
        return [()]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        a, b, s = bottoms
        settings = self.param.contrastive_loss_param
        margin, legacy, rows = settings.margin, settings.legacy_version, a.shape[0]
        self.difference = arrays.zeros(a.shape, a.data.dtype)
        self.squares = np.zeros(rows, a.data.dtype)
        similar, out = s.flat, tops[0].flat

        def finish() -> None:
            apart = np.maximum(margin - (self.squares if legacy else np.sqrt(self.squares)), 0)
            parts = np.where(similar.astype(np.int64) != 0, self.squares, apart if legacy else apart * apart)
            out[0] = parts.sum(dtype=np.float64) / (2 * rows)

        return [losses.difference(a.data, b.data, self.difference, self.squares), finish]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        settings = self.param.contrastive_loss_param
        margin, legacy, rows = settings.margin, settings.legacy_version, bottoms[0].shape[0]
        weight, similar = tops[0].flat_diff, bottoms[2].flat
        factors, opposite = np.zeros_like(self.squares), np.zeros_like(self.squares)

        def prepare() -> None:
            if legacy:
                apart = np.where(margin - self.squares > 0, -1.0, 0.0)
            else:
                distance = np.sqrt(self.squares)
                apart = np.where(margin - distance > 0, -(margin - distance) / (distance + 1e-4), 0.0)
            factors[:] = np.where(similar.astype(np.int64) != 0, 1.0, apart) * (weight[0] / rows)
            np.negative(factors, out=opposite)

        steps: list[Step] = [prepare]
        for blob, scale in zip(bottoms[:2], (factors, opposite), strict=True):
            if blob.diff is not None:
                steps.append(losses.scaled_rows(self.difference, scale, blob.diff))
        return steps
