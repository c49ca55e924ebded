"""EuclideanLoss: half the mean squared distance."""

from collections.abc import Sequence

import numpy as np

from caffelite.kernels import losses
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.loss import Loss
from caffelite.words import Shape, count, text_of


@layer("EuclideanLoss")
class EuclideanLoss(Loss):
    """``sum of (a - b)² / (2 N)`` for N images; both bottoms can be learned.

    The bottoms must agree in N and in the number of values: ``N × 1`` predictions go with ``N`` targets.
    """

    facts = Loss.facts.but(bottoms=2, tops=(0, 1), backward_reads=frozenset())

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if bottoms[0][:1] != bottoms[1][:1] or count(bottoms[0]) != count(bottoms[1]):
            self.shape_error(
                f"its bottoms must have as many images and as many values, not {text_of(bottoms[0])} and "
                f"{text_of(bottoms[1])}",
                "bottom",
                1,
            )
        return [()]

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        a, b = bottoms
        self.difference = arrays.zeros(a.shape, a.data.dtype)
        rows = a.shape[0] if a.shape else 1
        sums, out = np.zeros(rows, a.data.dtype), tops[0].flat

        def finish() -> None:
            out[0] = sums.sum(dtype=np.float64) / (2 * rows)

        return [losses.difference(a.data, b.data, self.difference, sums), finish]

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        rows = bottoms[0].shape[0] if bottoms[0].shape else 1
        weight = tops[0].flat_diff
        steps: list[Step] = []
        for sign, blob in zip((1, -1), bottoms, strict=True):
            if blob.diff is not None:
                steps += self._scaled(sign / rows, weight, rows, blob.diff)
        return steps

    def _scaled(self, factor: float, weight: np.ndarray, rows: int, target: np.ndarray) -> list[Step]:
        factors = np.zeros(rows, self.difference.dtype)
        return [lambda: factors.fill(weight[0] * factor), losses.scaled_rows(self.difference, factors, target)]
